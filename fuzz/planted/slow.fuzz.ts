// SPDX-License-Identifier: Apache-2.0
/** For the runner's own test: time that grows with the fourth power of the input. */
import { demand, type FuzzTarget } from "../target.ts";

const target: FuzzTarget = {
  parsers: [],
  property: "Time grows with the input's length only.",
  words: ["aaaa"],
  slowest: 50,
  check(input) {
    const letters = input.filter((byte) => byte === 0x61).length;
    let sum = 0;
    for (let left = Math.min(letters ** 4, 300_000_000); left > 0; left--) sum += left;
    demand(sum >= 0, "a sum of numbers is no number");
  },
};
export default target;
