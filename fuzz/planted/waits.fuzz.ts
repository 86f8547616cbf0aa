// SPDX-License-Identifier: Apache-2.0
/** For the runner's own test: an answer that never comes. */
import type { FuzzTarget } from "../target.ts";

const target: FuzzTarget = {
  parsers: [],
  property: "Every input gets an answer.",
  check: (input) => (input.includes("\0") ? new Promise<void>(() => {}) : undefined),
};
export default target;
