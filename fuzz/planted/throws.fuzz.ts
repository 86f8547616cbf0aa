// SPDX-License-Identifier: Apache-2.0
/** For the runner's own test: a parser that fails behind three conditions, as a real one would. */
import { demand, type FuzzTarget } from "../target.ts";

const target: FuzzTarget = {
  parsers: [],
  property: "No input holds `<`, then `!`, then a digit.",
  words: ["!", "7"],
  check(input) {
    const at = input.indexOf("<");
    if (at < 0) return;
    if (input[at + 1] !== 0x21) return;
    const digit = input[at + 2] ?? 0;
    demand(digit < 0x30 || digit > 0x39, "the planted defect was reached");
  },
};
export default target;
