// SPDX-License-Identifier: Apache-2.0
/**
 * Which words may a Cedar policy use? The schema of namespace `Postern`, and the names built from it.
 *
 * The version enters the digest of every compiled set: a decision replays only against the schema it was made with.
 */
import type { EntityUidJson } from "@cedar-policy/cedar-wasm/nodejs";

export const CEDAR_SCHEMA_VERSION = 2;

export const CEDAR_SCHEMA = `namespace Postern {
  entity Agent;
  entity ServerWorkload;
  action call appliesTo {
    principal: [Agent],
    resource: [ServerWorkload],
    context: { operation?: String, model?: String, method: String, path: String, conditions: Set<String> }
  };
}`;

export const AGENT_TYPE = "Postern::Agent";
export const SERVER_WORKLOAD_TYPE = "Postern::ServerWorkload";

export const agentUid = (id: string): EntityUidJson => ({ type: AGENT_TYPE, id });
export const serverWorkloadUid = (id: string): EntityUidJson => ({ type: SERVER_WORKLOAD_TYPE, id });
export const CALL_ACTION: EntityUidJson = { type: "Postern::Action", id: "call" };
