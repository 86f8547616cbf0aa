// SPDX-License-Identifier: Apache-2.0
/** Where time comes from; tests pass their own. */

/** Milliseconds since 1970-01-01T00:00:00Z. */
export type Instant = number;

export interface Clock {
  now(): Instant;
}

export const systemClock: Clock = { now: () => Date.now() };
