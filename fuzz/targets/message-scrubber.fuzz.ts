// SPDX-License-Identifier: Apache-2.0
/** Are secrets masked over the frames of a message, and over messages, as far as they have not gone yet? */
import { MessageScrubber } from "../../packages/server/src/guard/message-scrubber.ts";
import { PatternMatcher } from "../../packages/server/src/guard/pattern-matcher.ts";
import { Choices } from "../choices.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const ALPHABETS = ["ab", "aB1", "abcdefgh\0\xff"];

function text(choose: Choices, most: number): string {
  const alphabet = choose.pick(ALPHABETS);
  return choose.list(most, () => alphabet[choose.below(alphabet.length)]!).join("");
}

const folded = (value: string): string => value.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());

/** By its meaning: when a secret is whole, what of it stands in the message that made it so is masked. */
function slowlyMasked(secrets: readonly string[], messages: readonly string[]): string[] {
  const all = messages.join("");
  const ends = messages.map((_, index) => messages.slice(0, index + 1).join("").length);
  const out = all.split("");
  for (const secret of secrets.map(folded)) {
    for (let at = folded(all).indexOf(secret); at >= 0; at = folded(all).indexOf(secret, at + 1)) {
      const end = at + secret.length;
      const message = ends.findIndex((each) => each >= end);
      for (let byte = Math.max(at, ends[message - 1] ?? 0); byte < end; byte++) out[byte] = "*";
    }
  }
  return messages.map((_, index) => out.slice(ends[index - 1] ?? 0, ends[index]).join(""));
}

/** All bytes are choices. */
function check(input: Buffer): void {
  const choose = new Choices(input);
  const secrets = choose.list(4, () => `${text(choose, 9)}abab`);
  const matcher = PatternMatcher.of(secrets.map((secret) => Buffer.from(secret, "latin1")));
  const messages = choose.list(6, () =>
    choose
      .list(4, () => (choose.once(2) && secrets.length > 0 ? choose.pick(secrets) : text(choose, 30)))
      .join(""),
  );
  // Some secrets lie across messages.
  if (choose.once(2) && secrets.length > 0) messages.push(...choose.pick(secrets).split(""), "x");
  const scrubber = new MessageScrubber();
  const clean = messages.map((message) => {
    const bytes = Buffer.from(message, "latin1");
    const pieces: Buffer[] = [];
    let [given, passed] = [0, 0];
    for (const step = 1 + choose.below(12); bytes.length - given > step; given += step) {
      const piece = scrubber.push(bytes.subarray(given, given + step), false, matcher);
      passed += piece.length;
      pieces.push(piece);
      demand(given + step - passed <= 2 * matcher.longest, "more is held back than two patterns are long");
    }
    return Buffer.concat([...pieces, scrubber.push(bytes.subarray(given), true, matcher)]).toString("latin1");
  });
  demandEqual(clean, slowlyMasked(secrets, messages), "what passed");
}

const target: FuzzTarget = {
  parsers: ["packages/server/src/guard/message-scrubber.ts"],
  property:
    "However messages are cut, each passes whole at its end, and of a secret that is whole by then nothing of this message.",
  make: (choose) => choose.rest(),
  check,
};
export default target;
