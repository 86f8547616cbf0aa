// SPDX-License-Identifier: Apache-2.0
/**
 * An event as the bytes that are logged and hashed: canonical JSON (RFC 8785).
 *
 * For objects whose members stand in the canonical order already, that is what `JSON.stringify` writes: the
 * same numbers, the same escapes, nothing for what is undefined. Events that come with each request are built
 * in that order; all others go through the library, which costs ten times as much.
 */
import canonicalize from "canonicalize";
import { type Result, ok, refuse } from "../kernel/result.ts";
import type { AuditEvent, EventValue } from "./event-frame.ts";
import { MAX_ENTRY_BYTES } from "./tile-paths.ts";

export function encodeEvent(event: AuditEvent): Result<Buffer, string> {
  let text: string | undefined;
  try {
    text = isInOrder(event) ? JSON.stringify(event) : canonicalize(event);
  } catch {
    return refuse("the audit event has no canonical form");
  }
  const bytes = Buffer.from(text ?? "", "utf8");
  return bytes.length === 0 || bytes.length > MAX_ENTRY_BYTES
    ? refuse(`the audit event has ${bytes.length} bytes; an entry holds 1 to ${MAX_ENTRY_BYTES}`)
    : ok(bytes);
}

/** Whether the members of all objects in it are sorted by UTF-16 units (RFC 8785 §3.2.3), and all numbers finite. */
function isInOrder(value: EventValue): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object") return true;
  if (Array.isArray(value)) return value.every(isInOrder);
  const members = value as Readonly<Record<string, EventValue>>;
  let last = "";
  for (const name in members) {
    if (name < last) return false;
    last = name;
    const member = members[name];
    if (typeof member !== "string" && !isInOrder(member)) return false;
  }
  return true;
}
