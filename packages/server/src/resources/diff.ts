// SPDX-License-Identifier: Apache-2.0
/** What would change, in words? For `postern apply` and `postern diff`. */
import type { Resource } from "@postern/contract";
import { pathText, type ResourcePath } from "./places.ts";
import type { ResourceRef, ResourceSet } from "./resource-set.ts";

export interface FieldChange {
  readonly path: string;
  /** Absent where there was nothing. */
  readonly before?: unknown;
  /** Absent where there is nothing any more. */
  readonly after?: unknown;
}

export interface ResourceChange extends ResourceRef {
  readonly change: "created" | "changed" | "unchanged" | "deleted";
  /** Only for `changed`. */
  readonly fields: readonly FieldChange[];
}

/** One change per resource of either set, deleted ones last. */
export function diffSets(before: ResourceSet, after: ResourceSet): ResourceChange[] {
  const present = [...after].map((resource) =>
    diffResource(before.get(resource.kind, resource.metadata.name), resource),
  );
  const deleted = [...before]
    .filter(({ kind, metadata }) => after.get(kind, metadata.name) === undefined)
    .map(({ kind, metadata }) => ({ kind, name: metadata.name, change: "deleted", fields: [] }) as const);
  return [...present, ...deleted];
}

/** From `before`, where there was one, to `after`. */
export function diffResource(before: Resource | undefined, after: Resource): ResourceChange {
  const ref = { kind: after.kind, name: after.metadata.name };
  if (before === undefined) return { ...ref, change: "created", fields: [] };
  const fields = diffValues(before, after, []);
  return { ...ref, change: fields.length === 0 ? "unchanged" : "changed", fields };
}

/** Maps field by field; lists as a whole, as their order has no name. */
function diffValues(before: unknown, after: unknown, path: ResourcePath): FieldChange[] {
  if (isMap(before) && isMap(after))
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) =>
      diffValues(before[key], after[key], [...path, key]),
    );
  if (orderedJson(before) === orderedJson(after)) return [];
  return [
    {
      path: pathText(path),
      ...(before === undefined ? {} : { before }),
      ...(after === undefined ? {} : { after }),
    },
  ];
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** JSON in which the order of keys makes no difference. */
function orderedJson(value: unknown): string | undefined {
  return JSON.stringify(value, (_, part: unknown) =>
    isMap(part) ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1))) : part,
  );
}

/** `changed AccessPolicy p` and a line `  path: old → new` per field. */
export function changeText({ kind, name, change, fields }: ResourceChange): string {
  const lines = fields.map(
    ({ path, before, after }) => `  ${path}: ${shortValue(before)} → ${shortValue(after)}\n`,
  );
  return `${change} ${kind} ${name}\n${lines.join("")}`;
}

const MAX_SHOWN = 200;

export function shortValue(value: unknown): string {
  if (value === undefined) return "(none)";
  const text = JSON.stringify(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}… (${text.length} characters)` : text;
}
