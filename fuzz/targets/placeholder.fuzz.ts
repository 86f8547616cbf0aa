// SPDX-License-Identifier: Apache-2.0
/** Is a placeholder seen in a stream exactly where it is seen in the whole? */
import {
  PLACEHOLDER_MARKER,
  PlaceholderWatch,
  holdsPlaceholder,
} from "../../packages/server/src/guard/placeholder.ts";
import { Choices } from "../choices.ts";
import { demandEqual, type FuzzTarget } from "../target.ts";

/** The first 16 bytes choose the cuts. */
function check(input: Buffer): void {
  const choose = new Choices(input.subarray(0, 16));
  const body = input.subarray(16);
  const watch = new PlaceholderWatch();
  let seen = -1;
  for (let at = 0; at < body.length && seen < 0;) {
    const piece = body.subarray(at, at + (choose.isOver ? 7 : choose.below(24)));
    at += piece.length;
    if (watch.seesIn(piece)) seen = at;
  }
  const first = body.indexOf(PLACEHOLDER_MARKER, 0, "latin1");
  demandEqual(seen >= 0, first >= 0, "a placeholder in the body");
  if (first >= 0)
    demandEqual(seen >= first + PLACEHOLDER_MARKER.length, true, "seen when it was there as a whole");
  const text = body.toString("latin1");
  demandEqual(holdsPlaceholder(text), /PosternPlaceholder/i.test(text), "a placeholder in a text");
}

const HALVES = [
  PLACEHOLDER_MARKER,
  PLACEHOLDER_MARKER.slice(0, 9),
  PLACEHOLDER_MARKER.slice(9),
  "PosternP",
  "Postern",
];

const target: FuzzTarget = {
  parsers: ["packages/server/src/guard/placeholder.ts"],
  property: "However a body is cut, a placeholder is seen, and nothing else is taken for one.",
  words: [...HALVES, PLACEHOLDER_MARKER.toLowerCase()],
  make: (choose) =>
    Buffer.concat([
      Buffer.from(Array.from({ length: 16 }, () => choose.below(24))),
      ...choose.list(8, () =>
        Buffer.from(choose.pick([...HALVES, "x", choose.bytes(3).toString("latin1")]), "latin1"),
      ),
    ]),
  check,
};
export default target;
