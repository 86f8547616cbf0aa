// SPDX-License-Identifier: Apache-2.0
/** Which resources are there? A small immutable collection by kind and name. */
import { type Resource, RESOURCE_KINDS, type ResourceKind, type ResourceOf } from "@postern/contract";

export interface ResourceRef {
  readonly kind: ResourceKind;
  readonly name: string;
}

export interface ResourceChanges {
  /** Added, or put in the place of those with the same kind and name. */
  readonly put?: readonly Resource[];
  /** Taken away first; what is not there is no error. */
  readonly remove?: readonly ResourceRef[];
}

export class ResourceSet implements Iterable<Resource> {
  static readonly empty = new ResourceSet([]);
  readonly #byKind: ReadonlyMap<ResourceKind, ReadonlyMap<string, Resource>>;

  /** Of several with the same kind and name the last counts. */
  constructor(resources: Iterable<Resource>) {
    const byKind = new Map<ResourceKind, Map<string, Resource>>(
      RESOURCE_KINDS.map((kind) => [kind, new Map()]),
    );
    for (const resource of resources) byKind.get(resource.kind)?.set(resource.metadata.name, resource);
    this.#byKind = byKind;
  }

  get<K extends ResourceKind>(kind: K, name: string): ResourceOf<K> | undefined {
    const found = this.#byKind.get(kind)?.get(name);
    return found !== undefined && isKind(found, kind) ? found : undefined;
  }

  /** By name. */
  all<K extends ResourceKind>(kind: K): readonly ResourceOf<K>[] {
    return [...(this.#byKind.get(kind)?.values() ?? [])]
      .filter((resource) => isKind(resource, kind))
      .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  /** A new set; this one stays as it is. */
  with({ put = [], remove = [] }: ResourceChanges): ResourceSet {
    const gone = new Set(remove.map(({ kind, name }) => `${kind}/${name}`));
    const kept = [...this].filter(({ kind, metadata }) => !gone.has(`${kind}/${metadata.name}`));
    return new ResourceSet([...kept, ...put]);
  }

  /** In the order in which kinds refer to each other, then by name. */
  *[Symbol.iterator](): Iterator<Resource> {
    for (const kind of RESOURCE_KINDS) yield* this.all(kind);
  }
}

function isKind<K extends ResourceKind>(resource: Resource, kind: K): resource is ResourceOf<K> {
  return resource.kind === kind;
}
