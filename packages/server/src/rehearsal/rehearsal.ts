// SPDX-License-Identifier: Apache-2.0
/** What the command line uses of this server to decide without it (docs/adr/0016). */
export { type PolicySet, policySet, storedResources } from "./policy-set.ts";
export type { RecordedDecision } from "../policy/recorded-decision.ts";
export { readDecisions } from "./read-decisions.ts";
export { type ChangeGroup, type Simulation, Simulator } from "./simulate.ts";
export { ResourceSet } from "../resources/resource-set.ts";
