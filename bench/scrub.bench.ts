// SPDX-License-Identifier: Apache-2.0
/**
 * What does scrubbing cost with 10,000 secrets in the vault? `npm run bench -- scrub` prints JSON.
 *
 * "shared prefix": all secrets begin alike. "hostile": a text made to hit what secrets have in common.
 */
import { randomBytes } from "node:crypto";
import process from "node:process";
import { PatternMatcher } from "../packages/server/src/guard/pattern-matcher.ts";
import { Scrubber } from "../packages/server/src/guard/scrubber.ts";
import { secretPatterns } from "../packages/server/src/guard/secret-patterns.ts";

const SECRETS = 10_000;
const MEGABYTES = 48;
const PREFIX = "sk-ant-api03-";

const secretsOf = (prefix: string): Buffer[] =>
  Array.from({ length: SECRETS }, () =>
    // With characters that the encodings write in different ways.
    Buffer.from(`${prefix}${randomBytes(24).toString("base64")}/+&"`),
  );

function build(secrets: readonly Buffer[]) {
  const before = process.memoryUsage();
  const started = performance.now();
  let patterns = 0;
  const steps = PatternMatcher.build(
    (function* () {
      for (const secret of secrets)
        for (const pattern of secretPatterns(secret)) {
          patterns++;
          yield pattern;
        }
    })(),
  );
  let longestPauseMs = 0;
  let last = started;
  let step = steps.next();
  for (; step.done !== true; step = steps.next()) {
    longestPauseMs = Math.max(longestPauseMs, performance.now() - last);
    last = performance.now();
  }
  const buildMs = performance.now() - started;
  globalThis.gc?.();
  const memoryMb = (process.memoryUsage().arrayBuffers - before.arrayBuffers) / 1e6;
  return { matcher: step.value, figures: { patterns, buildMs, longestPauseMs, memoryMb } };
}

/** Megabytes in a second, best of three. */
function speed(matcher: PatternMatcher, text: Buffer, chunk: number): number {
  let best = 0;
  for (let round = 0; round < 3; round++) {
    const scrubber = new Scrubber(matcher);
    const started = performance.now();
    for (let at = 0; at < text.length; at += chunk) scrubber.push(text.subarray(at, at + chunk));
    scrubber.end();
    best = Math.max(best, text.length / 1000 / (performance.now() - started));
  }
  return best;
}

const filled = (piece: string | Buffer, megabytes = MEGABYTES): Buffer =>
  Buffer.alloc(megabytes * 1_000_000, piece);

const json = filled(
  Array.from(
    { length: 400 },
    (_, index) =>
      `data: {"id":"chatcmpl-${index}${randomBytes(9).toString("base64url")}","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" word${index}"}}]}\n\n`,
  ).join(""),
);
const base64 = filled(randomBytes(3_000_000).toString("base64"));
const event = Buffer.from('data: {"choices":[{"index":0,"delta":{"content":" and"}}]}\n\n');

const random = build(secretsOf(""));
const secrets = secretsOf(PREFIX);
const shared = build(secrets);
const one = PatternMatcher.of(secretPatterns(secrets[0]!));
const repeated = secrets[1]!;

function microsecondsPerEvent(matcher: PatternMatcher): number {
  const scrubber = new Scrubber(matcher);
  const rounds = 200_000;
  const started = performance.now();
  for (let round = 0; round < rounds; round++) scrubber.push(event);
  return ((performance.now() - started) * 1000) / rounds;
}

const rounded = (_: string, value: unknown): unknown =>
  typeof value === "number" ? Math.round(value * 100) / 100 : value;

process.stdout.write(
  `${JSON.stringify(
    {
      node: process.version,
      scrubMbPerSecond: speed(shared.matcher, json, 16_384),
      randomSecrets: {
        ...random.figures,
        jsonMbPerSecond: speed(random.matcher, json, 16_384),
        base64MbPerSecond: speed(random.matcher, base64, 16_384),
      },
      sharedPrefix: {
        ...shared.figures,
        base64MbPerSecond: speed(shared.matcher, base64, 16_384),
        binaryMbPerSecond: speed(shared.matcher, filled(randomBytes(1_000_000)), 16_384),
        smallChunksMbPerSecond: speed(shared.matcher, json, 1400),
        eventUs: microsecondsPerEvent(shared.matcher),
      },
      hostile: {
        prefixMbPerSecond: speed(shared.matcher, filled(PREFIX), 16_384),
        almostSecretMbPerSecond: speed(shared.matcher, filled(repeated.subarray(0, -1)), 16_384),
        secretMbPerSecond: speed(shared.matcher, filled(repeated), 16_384),
        prefixInBytesMbPerSecond: speed(shared.matcher, filled(PREFIX, 1), 1),
        almostSecretInBytesMbPerSecond: speed(shared.matcher, filled(repeated.subarray(0, -1), 1), 1),
      },
      oneSecret: { jsonMbPerSecond: speed(one, json, 16_384), eventUs: microsecondsPerEvent(one) },
    },
    rounded,
    2,
  )}\n`,
);
