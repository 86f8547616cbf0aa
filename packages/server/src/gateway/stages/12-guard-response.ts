// SPDX-License-Identifier: Apache-2.0
/** Stage 12: nothing of the credential comes back. Works on each piece as it passes, never on the whole. */
import { type Duplex, pipeline } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from "node:zlib";
import { type PatternMatcher, Scrubber, scrubText } from "../../guard/scrubber.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { HeaderList, UpstreamAnswer } from "../http/messages.ts";
import { headerValues } from "./1-read-request.ts";
import { type Refusal, refusal } from "./refusal.ts";

/** Belong to the hop, or would hand the agent upstream state and other ways in. */
const DROPPED = new Set([
  ...["connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "trailer", "upgrade"],
  ...["proxy-authenticate", "proxy-authorization", "set-cookie", "set-cookie2", "alt-svc", "proxy-status"],
  // Only the gateway says which entry of the log is this answer's.
  "postern-audit-id",
]);

export interface GuardedAnswer {
  readonly status: number;
  readonly headers: HeaderList;
  readonly contentType: string;
  readonly body: AsyncIterable<Buffer>;
  /** Patterns replaced so far. */
  scrubbed(): number;
}

export function guardResponse(
  answer: UpstreamAnswer,
  matcher: PatternMatcher,
): Result<GuardedAnswer, Refusal> {
  const encodings = headerValues(answer.headers, "content-encoding")
    .flatMap((value) => value.toLowerCase().split(/\s*,\s*/))
    .filter((value) => value !== "" && value !== "identity");
  const decoder = encodings[0] === undefined ? undefined : DECODERS.get(encodings[0]);
  if (encodings.length > 1 || (encodings.length === 1 && decoder === undefined))
    return refuse(
      refusal("upstream_failed", "the upstream answered in an encoding that cannot be searched for secrets"),
    );
  const scrubber = new Scrubber(matcher);
  let inHeaders = 0;
  const headers: [string, string][] = [];
  for (const [name, value] of answer.headers) {
    const key = name.toLowerCase();
    if (DROPPED.has(key)) continue;
    if (encodings.length > 0 && (key === "content-encoding" || key === "content-length")) continue;
    const clean = scrubText(matcher, value);
    inHeaders += clean.found + scrubText(matcher, name).found;
    if (scrubText(matcher, name).found === 0) headers.push([name, clean.text]);
  }
  const plain = decoder === undefined ? answer.body : decoded(answer.body, decoder);
  return ok({
    status: answer.status,
    headers,
    contentType: (headerValues(answer.headers, "content-type")[0] ?? "").toLowerCase(),
    body: scrubbedBody(plain, scrubber),
    scrubbed: () => inHeaders + scrubber.found,
  });
}

const DECODERS: ReadonlyMap<string, () => Duplex> = new Map<string, () => Duplex>([
  ["gzip", createGunzip],
  ["x-gzip", createGunzip],
  ["deflate", createInflate],
  ["br", createBrotliDecompress],
  ["zstd", createZstdDecompress],
]);

/** A body that is not there is left so: answers to HEAD, and 304, announce an encoding all the same. */
async function* decoded(body: AsyncIterable<Buffer>, createDecoder: () => Duplex): AsyncIterable<Buffer> {
  const reader = body[Symbol.asyncIterator]();
  const first = await reader.next();
  if (first.done === true) return;
  const encoded = async function* (): AsyncIterable<Buffer> {
    yield first.value;
    yield* { [Symbol.asyncIterator]: () => reader };
  };
  // The reader of the decoder sees the error; here it only must not go unheard.
  yield* pipeline(encoded, createDecoder(), () => {}) as AsyncIterable<Buffer>;
}

async function* scrubbedBody(body: AsyncIterable<Buffer>, scrubber: Scrubber): AsyncIterable<Buffer> {
  for await (const chunk of body) {
    const clean = scrubber.push(chunk);
    if (clean.length > 0) yield clean;
  }
  const rest = scrubber.end();
  if (rest.length > 0) yield rest;
}
