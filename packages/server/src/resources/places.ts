// SPDX-License-Identifier: Apache-2.0
/** Where in the operator's files does something stand? */
import type { Place, Resource } from "@postern/contract";

export type ResourcePath = readonly (string | number)[];

export type PlaceWithoutMessage = Omit<Place, "message">;

/** A resource with the memory of where it was written. */
export interface ParsedResource {
  readonly resource: Resource;
  /** The place of `path`, or of the nearest thing around it that is there. */
  place(path: ResourcePath): PlaceWithoutMessage;
}

/** Something against a resource, before its place is looked up. */
export interface Finding {
  readonly resource: Resource;
  readonly path: ResourcePath;
  readonly message: string;
}

export type PlaceOf = (resource: Resource, path: ResourcePath) => PlaceWithoutMessage;

/** `spec.allow.models[0]`; the empty path is the empty string. */
export function pathText(path: ResourcePath): string {
  return path
    .map((step, index) => (typeof step === "number" ? `[${step}]` : `${index === 0 ? "" : "."}${step}`))
    .join("");
}

/** Places of resources just parsed; anything else is said to be stored. */
export function placesOf(parsed: readonly ParsedResource[]): PlaceOf {
  const known = new Map(parsed.map((entry) => [keyOf(entry.resource), entry]));
  return (resource, path) =>
    known.get(keyOf(resource))?.place(path) ?? {
      file: `(stored ${resource.kind} ${resource.metadata.name})`,
      line: 1,
      column: 1,
      path: pathText(path),
    };
}

const keyOf = ({ kind, metadata }: Resource): string => `${kind}/${metadata.name}`;
