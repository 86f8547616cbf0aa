// SPDX-License-Identifier: Apache-2.0
/** How a server notices what another one on the same database has changed. */

/** What can be changed independently of the rest. */
export type Area = "resources" | "agents" | "secrets" | "keys" | "authorities" | "posture";

export const AREAS: readonly Area[] = ["resources", "agents", "secrets", "keys", "authorities", "posture"];

/** A counter per area; another value means that something there was changed. */
export type Epochs = Readonly<Record<Area, number>>;

/** Where areas differ. Not only growth counts: a restored backup goes back. */
export const changedAreas = (before: Epochs, after: Epochs): Area[] =>
  AREAS.filter((area) => before[area] !== after[area]);

export interface ChangeListener {
  /** Called for one set of changes at a time; where it rejects, the same areas come again. */
  changed(areas: readonly Area[]): Promise<void>;
  /** The database was lost, with what was thrown, or is there again. Called at each turn only. */
  reachable(state: { readonly isReachable: boolean; readonly error?: unknown }): void;
}

export interface ChangeWatch {
  /** Milliseconds since the last moment at which it is certain that this server knew everything. */
  age(): number;
  stop(): Promise<void>;
}

/** Only a store that several servers share has one. */
export interface ChangeFeed {
  /** Areas that differ from `known` are reported first, so that nothing falls between reading and watching. */
  watch(known: Epochs, listener: ChangeListener): ChangeWatch;
}
