// SPDX-License-Identifier: Apache-2.0
/** Facts for tests of conditions. */
import { type CallerFacts, type ConditionFacts, NO_SOURCES } from "./facts.ts";

export const callerFacts = (more: Partial<CallerFacts> = {}): CallerFacts => ({
  agent: "a",
  run: "r",
  isolated: true,
  selectors: [],
  ...more,
});

export const conditionFacts = (more: Partial<ConditionFacts> = {}): ConditionFacts => ({
  now: 0,
  request: { agent: "a", serverWorkload: "s", method: "POST", path: "/v1/x" },
  caller: callerFacts(),
  sources: NO_SOURCES,
  ...more,
});
