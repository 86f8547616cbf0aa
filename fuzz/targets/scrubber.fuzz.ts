// SPDX-License-Identifier: Apache-2.0
/** Does the scrubber mask what a slow search finds, and nothing else, whatever secrets, texts and splits? */
import { PatternMatcher } from "../../packages/server/src/guard/pattern-matcher.ts";
import { Scrubber } from "../../packages/server/src/guard/scrubber.ts";
import { secretPatterns } from "../../packages/server/src/guard/secret-patterns.ts";
import { Choices } from "../choices.ts";
import { demand, type FuzzTarget } from "../target.ts";

const PREFIXES = ["", "", "sk-proj-", "sk-ant-api03-", "-----BEGIN KEY-----\n", "aaaaaaaa", "\0\0"];
const ALPHABETS = [
  "ab",
  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
  'aA1/+=~:&<>"\\ ü\n\0-_.!*',
];

function text(choose: Choices, most: number): string {
  const alphabet = choose.pick(ALPHABETS);
  return choose.list(most, () => alphabet[choose.below(alphabet.length)]!).join("");
}

const ENCODINGS: readonly ((value: string) => string)[] = [
  (value) => value,
  (value) => value.toUpperCase(),
  (value) => Buffer.from(value).toString("base64"),
  (value) => Buffer.from(value).toString("base64url"),
  (value) => Buffer.from(value).toString("hex"),
  (value) => encodeURIComponent(value),
  (value) => new URLSearchParams({ q: value }).toString(),
  (value) => JSON.stringify(value),
  (value) => JSON.stringify(JSON.stringify(value)).replaceAll("/", "\\/"),
];

/** Pieces of a text: encoded secrets, halves of them, and noise. */
function piece(choose: Choices, secrets: readonly string[]): string {
  const secret = secrets.length === 0 ? "" : choose.pick(secrets);
  const encoded = choose.pick(ENCODINGS)(text(choose, 2) + secret + text(choose, 2));
  switch (choose.below(4)) {
    case 0:
      return encoded.slice(0, choose.below(encoded.length + 1));
    case 1:
      return encoded.slice(choose.below(encoded.length + 1));
    case 2:
      return text(choose, 19);
    default:
      return encoded;
  }
}

const folded = (bytes: Buffer): string =>
  bytes.toString("latin1").replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());

function slowlyMasked(patterns: readonly Buffer[], data: Buffer): Buffer {
  const out = Buffer.from(data);
  const plain = folded(data);
  for (const pattern of patterns.map(folded))
    for (let at = plain.indexOf(pattern); at >= 0; at = plain.indexOf(pattern, at + 1))
      out.fill("*", at, at + pattern.length);
  return out;
}

function masked(matcher: PatternMatcher, data: Buffer, choose: Choices): { out: Buffer; held: number } {
  const scrubber = new Scrubber(matcher);
  const pieces: Buffer[] = [];
  let held = 0;
  let given = 0;
  const most = 1 + choose.below(choose.pick([2, 8, 200]));
  for (let at = 0; at < data.length;) {
    const next = at + 1 + choose.below(most);
    const clean = scrubber.push(data.subarray(at, next));
    pieces.push(clean);
    given += clean.length;
    at = Math.min(next, data.length);
    held = Math.max(held, at - given);
  }
  return { out: Buffer.concat([...pieces, scrubber.end()]), held };
}

/** All bytes are choices. */
function check(input: Buffer): void {
  const choose = new Choices(input);
  const secrets = choose.list(choose.pick([2, 2, 8, 40]), () =>
    choose.pick(PREFIXES).concat(text(choose, 23)),
  );
  const patterns = secrets.flatMap((secret) => secretPatterns(Buffer.from(secret)));
  const matcher = PatternMatcher.of(patterns);
  const data = Buffer.from(choose.list(11, () => piece(choose, secrets)).join(""));
  const { out, held } = masked(matcher, data, choose);
  demand(out.equals(slowlyMasked(patterns, data)), "not what a slow search masks");
  demand(held <= Math.max(0, matcher.longest - 1), "more is held back than a pattern is long");
}

const target: FuzzTarget = {
  parsers: [
    "packages/server/src/guard/pattern-matcher.ts",
    "packages/server/src/guard/anchor-index.ts",
    "packages/server/src/guard/scrubber.ts",
  ],
  property:
    "However a text is cut, exactly what a slow search finds is masked, and no more than a pattern is held back.",
  make: (choose) => choose.rest(),
  check,
};
export default target;
