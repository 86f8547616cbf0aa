// SPDX-License-Identifier: Apache-2.0
/** For the runner's own test: memory that a few bytes can ask for without end. */
import type { FuzzTarget } from "../target.ts";

const target: FuzzTarget = {
  parsers: [],
  property: "No input takes more memory than its length.",
  check(input) {
    const kept: string[][] = [];
    while (input.includes("\0")) kept.push(Array.from({ length: 1000 }, () => "x"));
  },
};
export default target;
