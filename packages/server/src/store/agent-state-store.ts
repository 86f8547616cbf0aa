// SPDX-License-Identifier: Apache-2.0
/** Which agents are cut off, by whom and why. Independent of the `Agent` resource: a new one of the same name stays cut. */
import type { Instant } from "../kernel/clock.ts";

export interface AgentState {
  readonly agent: string;
  readonly state: "active" | "cut";
  readonly reason: string;
  readonly changedBy: string;
  readonly changedAt: Instant;
}

export interface AgentStateStore {
  set(change: Omit<AgentState, "changedAt">): Promise<AgentState>;
  /** Undefined for an agent that never was cut: it is active. */
  get(agent: string): Promise<AgentState | undefined>;
  /** All that were ever set, by name. */
  list(): Promise<readonly AgentState[]>;
}
