// SPDX-License-Identifier: Apache-2.0
/**
 * What does Cedar say to one request, given one slice of policies?
 *
 * The library keeps parsed policy sets in a map per thread that has no delete, so its memory grows with every
 * new id. Hence ids ("slots") that are used again, of what was not asked lately, and a bound on what is in all of them.
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

/**
 * Characters of all sets together. A parsed set takes some 6 to 12 bytes for each, so this bounds them to about 200 MB;
 * 10,000 agents that each have a policy of their own take 90 MB.
 */
const MOST_CHARACTERS = 16 * 1024 * 1024;
/** What a set takes besides, in characters. */
const OVERHEAD = 300;
const SCHEMA_NAME = "postern";

interface Slot {
  readonly number: number;
  readonly size: number;
  /** Since it was looked at last when room was needed. */
  isUsed: boolean;
}

/** By content key, in the order in which they may have to go. One map per thread, as the library's own. */
const slotOf = new Map<string, Slot>();
const freeSlots: number[] = [];
let slots = 0;
let taken = 0;
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
    present.isUsed = true;
    return present.number;
  }
  prepareOwnSchema();
  const size = sizeOf(set);
  while (slotOf.size > 0 && taken + size > MOST_CHARACTERS) evictOne();
  const number = freeSlots.pop() ?? slots++;
  try {
    fill(number, set.cedar);
  } catch (error) {
    // The slot may still hold another slice's policies: it must belong to nobody.
    freeSlots.push(number);
    throw error;
  }
  taken += size;
  slotOf.set(set.key, { number, size, isUsed: false });
  return number;
}

/** The library's own form says the same in twice as many characters. */
function sizeOf({ cedar }: CedarSet): number {
  let size = OVERHEAD;
  for (const policy of Object.values(cedar))
    size += typeof policy === "string" ? 2 * policy.length : JSON.stringify(policy).length;
  return size;
}

/** The first that nobody used since room was needed last; what was used gets another turn. */
function evictOne(): void {
  for (const [key, slot] of slotOf) {
    slotOf.delete(key);
    if (slot.isUsed) {
      slot.isUsed = false;
      slotOf.set(key, slot);
      continue;
    }
    taken -= slot.size;
    freeSlots.push(slot.number);
    fill(slot.number, {});
    return;
  }
}

function fill(number: number, cedar: CedarSet["cedar"]): void {
  const answer = preparsePolicySet(`slot${number}`, { staticPolicies: { ...cedar } });
  if (answer.type === "failure")
    throw new Error(`cedar refused a compiled set: ${answer.errors[0]?.message}`);
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
