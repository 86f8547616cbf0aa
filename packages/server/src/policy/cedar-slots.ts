// SPDX-License-Identifier: Apache-2.0
/**
 * What does Cedar say to one request, given one slice of policies?
 *
 * The library keeps parsed policy sets in a map per thread that has no delete, so its memory grows with every
 * new id. Hence a bounded number of ids ("slots") that are reused, least recently used first, by replacement.
 */
import {
  type AuthorizationAnswer,
  type Policy,
  preparsePolicySet,
  preparseSchema,
  type StatefulAuthorizationCall,
  statefulIsAuthorized,
} from "@cedar-policy/cedar-wasm/nodejs";
import type { AccessRequest } from "./access-request.ts";
import { agentUid, CALL_ACTION, CEDAR_SCHEMA, serverWorkloadUid } from "./cedar-schema.ts";

/** What is parsed together and evaluated together. */
export interface CedarSet {
  /** Digest of the content: equal keys mean equal policies. */
  readonly key: string;
  readonly cedar: Readonly<Record<string, Policy>>;
}

const SLOTS = 512;
const SCHEMA_NAME = "postern";

/** Content key → slot, least recently used first. One per thread, as the library's own cache. */
const slotOf = new Map<string, number>();
const freeSlots = Array.from({ length: SLOTS }, (_, index) => SLOTS - 1 - index);
let schemaReady = false;

/** A request as Cedar takes it. */
export type CedarQuestion = Pick<
  StatefulAuthorizationCall,
  "principal" | "action" | "resource" | "context" | "entities" | "preparsedSchemaName" | "validateRequest"
>;

export const questionOf = (request: AccessRequest): CedarQuestion => ({
  principal: agentUid(request.agent),
  action: CALL_ACTION,
  resource: serverWorkloadUid(request.serverWorkload),
  context: {
    method: request.method,
    path: request.path,
    conditions: [...(request.conditions ?? [])],
    ...(request.operation === undefined ? {} : { operation: request.operation }),
    ...(request.model === undefined ? {} : { model: request.model }),
  },
  preparsedSchemaName: SCHEMA_NAME,
  validateRequest: true,
  entities: [],
});

/** Cedar's answer as it is; throws where the library does. */
export const evaluateCedar = (set: CedarSet, question: CedarQuestion): AuthorizationAnswer =>
  statefulIsAuthorized({ ...question, preparsedPolicySetId: `slot${acquireSlot(set)}` });

function acquireSlot(set: CedarSet): number {
  const present = slotOf.get(set.key);
  if (present !== undefined) {
    slotOf.delete(set.key);
    slotOf.set(set.key, present);
    return present;
  }
  prepareOwnSchema();
  const slot = freeSlots.pop() ?? evictOldest();
  try {
    const answer = preparsePolicySet(`slot${slot}`, { staticPolicies: { ...set.cedar } });
    if (answer.type === "failure")
      throw new Error(`cedar refused a compiled set: ${answer.errors[0]?.message}`);
  } catch (error) {
    // The slot may still hold another slice's policies: it must belong to nobody.
    freeSlots.push(slot);
    throw error;
  }
  slotOf.set(set.key, slot);
  return slot;
}

function evictOldest(): number {
  const [oldest] = slotOf;
  if (oldest === undefined) throw new Error("no slot to evict");
  slotOf.delete(oldest[0]);
  return oldest[1];
}

function prepareOwnSchema(): void {
  if (schemaReady) return;
  prepareSchema(SCHEMA_NAME, CEDAR_SCHEMA);
  schemaReady = true;
}

/** Under a name that questions give; one that was there is replaced. Throws where the library refuses it. */
export function prepareSchema(name: string, schema: string): void {
  const answer = preparseSchema(name, schema);
  if (answer.type === "failure") throw new Error(`cedar refused the schema: ${answer.errors[0]?.message}`);
}
