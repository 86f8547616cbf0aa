// SPDX-License-Identifier: Apache-2.0
/** For the runner's own test: a loop that does not end for some inputs. */
import type { FuzzTarget } from "../target.ts";

const target: FuzzTarget = {
  parsers: [],
  property: "Every input ends.",
  check(input) {
    for (let at = 0; at < input.length;) at += input[at] === 0 ? 0 : 1;
  },
};
export default target;
