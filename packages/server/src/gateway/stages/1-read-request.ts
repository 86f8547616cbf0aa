// SPDX-License-Identifier: Apache-2.0
/**
 * Stage 1: is this one unambiguous request?
 *
 * The parser has refused broken framing already; here is what two readers could still read in two ways,
 * and once more what the stages behind rely on.
 */
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { HeaderList, RawRequest } from "../http/messages.ts";
import { checkHandshake } from "../websocket/handshake.ts";
import { type Refusal, refusal } from "./refusal.ts";

/** Headers of which there may be one at most. */
const SINGLE: ReadonlySet<string> = new Set([
  ...["host", "content-length", "transfer-encoding", "content-type", "expect", "content-encoding", "upgrade"],
]);
/** What is not visible ASCII, white space or Latin-1. */
const NOT_IN_VALUES = /[^\t\x20-\x7e\x80-\xff]/;

/** More than any client sends; what a parser does with very many is its own affair. */
const MOST_HEADERS = 200;

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

export function readRequest(request: RawRequest): Result<RawRequest, Refusal> {
  const { headers, method } = request;
  if (!METHODS.has(method)) return malformed("the method is not one that the gateway forwards");
  if (headers.length > MOST_HEADERS) return malformed(`there are more than ${MOST_HEADERS} headers`);
  const single = new Map<string, string>();
  for (const [name, value] of headers) {
    // Names that a CGI-like upstream would fold into others, and bytes that two parsers read differently.
    if (name.includes("_")) return malformed("a header name holds an underscore");
    if (NOT_IN_VALUES.test(value)) return malformed(`the header ${name} holds a control character`);
    if (!SINGLE.has(name)) continue;
    if (single.has(name)) return malformed(`the header ${name} is repeated`);
    single.set(name, value);
  }
  if (!single.has("host")) return malformed("the header host is missing");
  const transferEncoding = single.get("transfer-encoding");
  if (transferEncoding !== undefined) {
    if (transferEncoding.toLowerCase() !== "chunked")
      return malformed("transfer-encoding is not chunked alone");
    if (single.has("content-length")) return malformed("content-length and transfer-encoding are both there");
  }
  const expect = single.get("expect");
  if (expect !== undefined && expect.toLowerCase() !== "100-continue")
    return malformed("the expectation is unknown");
  if (!single.has("upgrade")) return ok(request);
  const handshake = checkHandshake(request);
  return handshake.ok ? ok(request) : handshake;
}

const malformed = (detail: string): Result<never, Refusal> => refuse(refusal("request_malformed", detail));

/** Values of a header, by its name in lower case, in order. */
export function headerValues(headers: HeaderList, name: string): string[] {
  return headers.filter(([key]) => key === name).map(([, value]) => value);
}
