// SPDX-License-Identifier: Apache-2.0
/** What the command line uses of this server to decide without it (docs/adr/0017). */
export { loadProfiles } from "../profiles/profile.ts";
export { parseDecision, type RecordedDecision } from "../policy/recorded-decision.ts";
export { ResourceSet } from "../resources/resource-set.ts";
export { Learner } from "./learn.ts";
export { learnedYaml } from "./learned-yaml.ts";
export { OperationPaths } from "./operation-paths.ts";
export { type PolicySet, policySet, storedResources } from "./policy-set.ts";
export { fixtureOf, parsePolicyTests, type PolicyTestResult, runPolicyTest } from "./policy-test.ts";
export { readDecisions } from "./read-decisions.ts";
export { type Grant, Reviewer } from "./review.ts";
export { type ChangeGroup, type Simulation, Simulator } from "./simulate.ts";
