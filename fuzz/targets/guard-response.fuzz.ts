// SPDX-License-Identifier: Apache-2.0
/** Does an answer come through stage 12 decoded and clean, or not at all, however it was encoded, broken and cut? */
import {
  brotliCompressSync,
  brotliDecompressSync,
  deflateSync,
  gunzipSync,
  gzipSync,
  inflateSync,
  zstdCompressSync,
  zstdDecompressSync,
} from "node:zlib";
import { PatternMatcher } from "../../packages/server/src/guard/pattern-matcher.ts";
import { secretPatterns } from "../../packages/server/src/guard/secret-patterns.ts";
import { guardResponse } from "../../packages/server/src/gateway/stages/12-guard-response.ts";
import { Choices } from "../choices.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const SECRET = "sk-proj-4f9c2e71b0a8d653";
const matcher = PatternMatcher.of(secretPatterns(Buffer.from(SECRET)));
const CODINGS = {
  gzip: [gzipSync, gunzipSync],
  "x-gzip": [gzipSync, gunzipSync],
  deflate: [deflateSync, inflateSync],
  br: [brotliCompressSync, brotliDecompressSync],
  zstd: [zstdCompressSync, zstdDecompressSync],
} as const;
const names = Object.keys(CODINGS) as (keyof typeof CODINGS)[];

const PARTS = [
  "x",
  " ",
  "\n",
  SECRET,
  SECRET.slice(0, 12),
  SECRET.slice(12),
  SECRET.toUpperCase(),
  Buffer.from(SECRET).toString("base64"),
  Buffer.from(SECRET).toString("hex"),
];

/** What is not clean holds the secret as it is, in base64 or in hexadecimal. */
const isClean = (text: string): boolean =>
  ![SECRET, Buffer.from(SECRET).toString("hex"), Buffer.from(SECRET).toString("base64")].some((form) =>
    text.toLowerCase().includes(form.toLowerCase()),
  );

/** All bytes are choices: coding, body, damage, cuts. */
async function check(input: Buffer): Promise<void> {
  const choose = new Choices(input);
  const coding = choose.pick([undefined, ...names]);
  const plain = Buffer.from(
    choose.list(20, () => choose.pick([...PARTS, "y".repeat(choose.below(5000))])).join(""),
  );
  let body: Buffer = coding === undefined ? plain : CODINGS[coding][0](plain);
  for (let left = choose.pick([0, 0, 1, 3]); left > 0; left--) body = damaged(body, choose);
  const most = 1 + choose.below(choose.pick([2, 50, 5000]));
  const header = choose.pick([
    coding ?? "identity",
    coding?.toUpperCase() ?? "",
    `identity, ${coding ?? "identity"}`,
    "gzip, br",
    "unknown",
  ]);
  const result = guardResponse(
    {
      status: 200,
      headers: [
        ["content-encoding", header],
        [`x-${SECRET}`, "1"],
        ["x-echo", `a${SECRET}b`],
      ],
      body: pieces(body, most),
      discard: () => {},
    },
    matcher,
  );
  if (!result.ok)
    return demand(header === "gzip, br" || header === "unknown", `refused: ${result.reason.detail}`);
  demand(isClean(JSON.stringify(result.value.headers)), "a secret in a header");
  const found = await readAll(result.value.body);
  demand(isClean(found.text), "a secret in the body");
  if (header === "gzip, br" || header === "unknown") throw new Error("an unknown coding was let through");
  const whole = decodedAtOnce(coding, body);
  if (found.isWhole && whole !== undefined)
    demandEqual(
      found.text.replaceAll("*", "").length <= whole.length && found.text.length,
      whole.length,
      "the length of the body",
    );
  // What zlib refuses as a whole may begin well, but it is not ended as if it were whole.
  if (whole === undefined)
    demand(!found.isWhole || body.length === 0, "a broken body ended as if it were whole");
}

function damaged(body: Buffer, choose: Choices): Buffer {
  const at = choose.below(body.length + 1);
  if (choose.once(2)) return body.subarray(0, at);
  const copy = Buffer.from(body);
  if (at < copy.length) copy[at]! ^= 1 << choose.below(8);
  return copy;
}

async function* pieces(body: Buffer, most: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < body.length; at += most) yield body.subarray(at, at + most);
}

async function readAll(body: AsyncIterable<Buffer>): Promise<{ text: string; isWhole: boolean }> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of body) chunks.push(chunk);
    return { text: Buffer.concat(chunks).toString("latin1"), isWhole: true };
  } catch {
    return { text: Buffer.concat(chunks).toString("latin1"), isWhole: false };
  }
}

function decodedAtOnce(coding: keyof typeof CODINGS | undefined, body: Buffer): Buffer | undefined {
  try {
    return coding === undefined ? body : CODINGS[coding][1](body);
  } catch {
    return undefined;
  }
}

const target: FuzzTarget = {
  parsers: ["packages/server/src/gateway/stages/12-guard-response.ts"],
  property:
    "No secret comes through in header or body; a body that cannot be decoded to its end is broken off, and one that can comes whole.",
  make: (choose) => choose.rest(),
  largest: 1024,
  slowest: 1500,
  check,
};
export default target;
