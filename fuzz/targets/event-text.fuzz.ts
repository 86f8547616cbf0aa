// SPDX-License-Identifier: Apache-2.0
/** Does whatever an agent sends become one printable entry of the log of bounded length? */
import { eventLine } from "../../packages/cli/src/commands/event-line.ts";
import { decisionEvent } from "../../packages/server/src/audit/events.ts";
import { text } from "../../packages/server/src/audit/event-frame.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

/** Two bytes a character, so that lone surrogates come as well. */
function check(input: Buffer): void {
  const value = input.subarray(0, input.length & ~1).toString("utf16le");
  for (const most of [1, 64, 256]) {
    const clean = text(value, most);
    demand(clean.isWellFormed(), "not well formed");
    demand(clean.length <= most + 14, `longer than ${most} and the count behind it`);
    demand(!/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u.test(clean), "a control character");
    if (value.length <= most && /^[ -~]*$/.test(value)) demandEqual(clean, value, "plain text");
  }
  const event = decisionEvent({
    id: "01890000-0000-7000-8000-000000000001",
    time: 1_767_225_600_000,
    agent: value,
    selectors: [value, value],
    serverWorkload: value,
    method: value,
    host: value,
    path: value,
    model: value,
    operation: value,
    outcome: "deny",
    code: "access_denied",
    detail: value,
    reasons: [value],
    policies: Array.from({ length: 200 }, () => value),
    mode: "base-url",
  });
  const entry = JSON.stringify(event);
  demand(Buffer.byteLength(entry) <= 65_535, "larger than an entry may be");
  demand(!/[\r\n]/.test(entry), "more than one line");
  demand(
    !/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u.test(
      eventLine(JSON.parse(entry) as Record<string, unknown>),
    ),
    "a control character on the terminal",
  );
}

const target: FuzzTarget = {
  parsers: ["packages/server/src/audit/event-frame.ts", "packages/cli/src/commands/event-line.ts"],
  property:
    "Every text gives one line of bounded length, well formed, without anything that moves a cursor or turns a text around.",
  words: ["\ud800", "\udc00", "\u202e", "\u2028", "\u001b[2J", "\n", "\u0085", "\u{1f600}", "\ufeff"].map(
    (word) => Buffer.from(word, "utf16le").toString("latin1"),
  ),
  make: (choose) =>
    Buffer.from(
      choose
        .list(60, () =>
          choose.pick([
            "a",
            "\ud83d",
            "\ude00",
            "\u202e",
            "\u001b",
            "\u0000",
            "\u2066",
            "é",
            String.fromCharCode(choose.below(65_536)),
          ]),
        )
        .join("")
        .repeat(choose.pick([1, 1, 40])),
      "utf16le",
    ),
  check,
};
export default target;
