// SPDX-License-Identifier: Apache-2.0
/**
 * Stage 12: no secret of the vault comes back. Works on each piece as it passes, never on the whole.
 *
 * The reason phrase of the status line is not forwarded, nor are trailers and interim answers.
 */
import { type Duplex, pipeline } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from "node:zlib";
import type { Matcher } from "../../guard/pattern-matcher.ts";
import { holdsPattern, Scrubber, scrubText } from "../../guard/scrubber.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { wholeBody } from "../http/body-queue.ts";
import type { HeaderList, MessageBody, UpstreamAnswer } from "../http/messages.ts";
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
  readonly body: MessageBody;
  /** Patterns replaced so far. */
  scrubbed(): number;
}

/** `turn` is asked before each piece of a long answer: a flood of them must leave others time. */
export function guardResponse(
  answer: UpstreamAnswer,
  matcher: Matcher,
  turn: () => Promise<void> | undefined = () => undefined,
): Result<GuardedAnswer, Refusal> {
  // Two parts of one text, asked for one after the other, could hold a secret that neither of them shows.
  if (answer.status === 206)
    return refuse(refusal("upstream_failed", "the upstream answered in part, and the whole was asked for"));
  const encodings = headerValues(answer.headers, "content-encoding")
    .flatMap((value) => value.toLowerCase().split(/\s*,\s*/))
    .filter((value) => value !== "" && value !== "identity");
  const decoder = encodings[0] === undefined ? undefined : DECODERS.get(encodings[0]);
  if (encodings.length > 1 || (encodings.length === 1 && decoder === undefined))
    return refuse(
      refusal("upstream_failed", "the upstream answered in an encoding that cannot be searched for secrets"),
    );
  const scrubber = new Scrubber(matcher);
  const kept = answer.headers.filter(([name]) => !isDropped(name, decoder !== undefined));
  const { headers, found } = cleanHeaders(kept, matcher);
  const plain = decoder === undefined ? answer.body : decoded(answer.body, decoder);
  return ok({
    status: answer.status,
    headers,
    contentType: (headerValues(answer.headers, "content-type")[0] ?? "").toLowerCase(),
    body: scrubbedBody(plain, scrubber, turn),
    scrubbed: () => found + scrubber.found,
  });
}

const isDropped = (key: string, isDecoded: boolean): boolean =>
  DROPPED.has(key) || (isDecoded && (key === "content-encoding" || key === "content-length"));

/** Secrets leave values; a header with one in its name goes as a whole. */
function cleanHeaders(headers: HeaderList, matcher: Matcher): { headers: HeaderList; found: number } {
  // Nearly always there is nothing in any: one search instead of two for each.
  if (!holdsPattern(matcher, Buffer.from(headers.flat().join("\n"), "latin1"))) return { headers, found: 0 };
  let found = 0;
  const clean: [string, string][] = [];
  for (const [name, value] of headers) {
    const inName = scrubText(matcher, name).found;
    const inValue = scrubText(matcher, value);
    found += inName + inValue.found;
    if (inName === 0) clean.push([name, inValue.text]);
  }
  return { headers: clean, found };
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

function scrubbedBody(
  body: MessageBody,
  scrubber: Scrubber,
  turn: () => Promise<void> | undefined,
): MessageBody {
  const { whole } = body;
  if (whole === undefined) return scrubbedPieces(body, scrubber, turn);
  const first = scrubber.push(whole);
  const rest = scrubber.end();
  return wholeBody(rest.length === 0 ? first : Buffer.concat([first, rest]));
}

async function* scrubbedPieces(
  body: AsyncIterable<Buffer>,
  scrubber: Scrubber,
  turn: () => Promise<void> | undefined,
): AsyncIterable<Buffer> {
  for await (const chunk of body) {
    const wait = turn();
    if (wait !== undefined) await wait;
    const clean = scrubber.push(chunk);
    if (clean.length > 0) yield clean;
  }
  const rest = scrubber.end();
  if (rest.length > 0) yield rest;
}
