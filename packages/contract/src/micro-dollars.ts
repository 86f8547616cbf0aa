// SPDX-License-Identifier: Apache-2.0
/** Money is counted in whole micro-dollars; people write dollars. */

const MICRO = 1_000_000;

/** Undefined where it has more than six decimals, or cannot be counted exactly. */
export function microDollars(dollars: number): number | undefined {
  const micro = Math.round(dollars * MICRO);
  // A decimal number of six places is the one nearest to its whole number of millionths.
  return Number.isSafeInteger(micro) && micro / MICRO === dollars ? micro : undefined;
}
