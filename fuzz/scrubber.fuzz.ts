// SPDX-License-Identifier: Apache-2.0
/**
 * Does the scrubber mask what a slow search finds, and nothing else, whatever secrets, texts and splits?
 * `node fuzz/scrubber.fuzz.ts [SECONDS] [SEED]` prints JSON, and the seed of a round that differs.
 *
 * A short run of the same property is in `scrubber.test.ts`.
 */
import process from "node:process";
import { PatternMatcher } from "../packages/server/src/guard/pattern-matcher.ts";
import { Scrubber } from "../packages/server/src/guard/scrubber.ts";
import { secretPatterns } from "../packages/server/src/guard/secret-patterns.ts";

type Random = (below: number) => number;

/** The same numbers for the same seed (xorshift32). */
function randomFrom(seed: number): Random {
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const PREFIXES = ["", "", "sk-proj-", "sk-ant-api03-", "-----BEGIN KEY-----\n", "aaaaaaaa", "\0\0"];
const ALPHABETS = [
  "ab",
  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
  'aA1/+=~:&<>"\\ ü\n\0-_.!*',
];

const pick = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!;

function text(random: Random, length: number): string {
  const alphabet = pick(random, ALPHABETS);
  return Array.from({ length }, () => alphabet[random(alphabet.length)]!).join("");
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
function piece(random: Random, secrets: readonly string[]): string {
  const secret = secrets.length === 0 ? "" : pick(random, secrets);
  const encoded = pick(random, ENCODINGS)(text(random, random(3)) + secret + text(random, random(3)));
  switch (random(4)) {
    case 0:
      return encoded.slice(0, random(encoded.length + 1));
    case 1:
      return encoded.slice(random(encoded.length + 1));
    case 2:
      return text(random, random(20));
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

function masked(matcher: PatternMatcher, data: Buffer, random: Random): { out: Buffer; held: number } {
  const scrubber = new Scrubber(matcher);
  const pieces: Buffer[] = [];
  let held = 0;
  let given = 0;
  const most = 1 + random(pick(random, [2, 8, 200]));
  for (let at = 0; at < data.length;) {
    const next = at + 1 + random(most);
    const clean = scrubber.push(data.subarray(at, next));
    pieces.push(clean);
    given += clean.length;
    at = Math.min(next, data.length);
    held = Math.max(held, at - given);
  }
  return { out: Buffer.concat([...pieces, scrubber.end()]), held };
}

/** True where both ways agree. */
function agrees(seed: number): boolean {
  const random = randomFrom(seed);
  const secrets = Array.from({ length: random(pick(random, [3, 60])) }, () =>
    pick(random, PREFIXES).concat(text(random, random(24))),
  );
  const patterns = secrets.flatMap((secret) => secretPatterns(Buffer.from(secret)));
  const matcher = PatternMatcher.of(patterns);
  const data = Buffer.from(Array.from({ length: random(12) }, () => piece(random, secrets)).join(""));
  const { out, held } = masked(matcher, data, random);
  return out.equals(slowlyMasked(patterns, data)) && held <= Math.max(0, matcher.longest - 1);
}

const [seconds = "10", firstSeed = String(Date.now() % 1_000_000_000)] = process.argv.slice(2);
const until = performance.now() + Number(seconds) * 1000;
const differing: number[] = [];
let rounds = 0;
for (; performance.now() < until && differing.length < 5; rounds++)
  if (!agrees(Number(firstSeed) + rounds)) differing.push(Number(firstSeed) + rounds);
process.stdout.write(`${JSON.stringify({ firstSeed: Number(firstSeed), rounds, differing })}\n`);
process.exitCode = differing.length === 0 ? 0 : 1;
