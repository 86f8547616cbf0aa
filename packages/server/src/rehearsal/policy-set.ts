// SPDX-License-Identifier: Apache-2.0
/** Which policies would be in force after a change, compiled exactly as the control plane compiles them? */
import { type Place, type Resource, resourceSchema } from "@postern/contract";
import { ok, refuse, type Result } from "../kernel/result.ts";
import { type CompiledPolicies, compilePolicies } from "../policy/compile.ts";
import { parseResources } from "../resources/parse.ts";
import { placesOf } from "../resources/places.ts";
import { ResourceSet } from "../resources/resource-set.ts";
import type { SourceFile } from "../resources/yaml-document.ts";

export interface PolicySet {
  readonly resources: ResourceSet;
  readonly policies: CompiledPolicies;
}

/** `base` with the resources of `files` put in and those `without` taken out. */
export function policySet(
  base: ResourceSet,
  files: readonly SourceFile[],
  without: readonly string[] = [],
): Result<PolicySet, Place[]> {
  const parsed = parseResources(files);
  if (!parsed.ok) return parsed;
  const resources = base.with({
    put: parsed.value.map(({ resource }) => resource),
    remove: without.map((name) => ({ kind: "AccessPolicy", name })),
  });
  const compiled = compilePolicies(resources);
  if (compiled.ok) return ok({ resources, policies: compiled.value });
  const placeOf = placesOf(parsed.value);
  return refuse(
    compiled.reason.map(({ kind, name, path, message }) => ({
      ...placeOf(resources.get(kind, name)!, path),
      message,
    })),
  );
}

/** The resources of `postern get --json`, or undefined where it is something else. */
export function storedResources(answer: unknown): ResourceSet | undefined {
  const rows = (answer as { resources?: unknown } | null)?.resources;
  if (!Array.isArray(rows)) return undefined;
  const resources: Resource[] = [];
  for (const row of rows) {
    const parsed = resourceSchema.safeParse((row as { resource?: unknown } | null)?.resource);
    if (!parsed.success) return undefined;
    resources.push(parsed.data);
  }
  return new ResourceSet(resources);
}
