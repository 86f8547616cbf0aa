// SPDX-License-Identifier: Apache-2.0
/**
 * Stage 1: is this one unambiguous request?
 *
 * Node's parser has refused broken framing already; here is what it accepts and two readers could read
 * in two ways.
 */
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { HeaderList, RawRequest } from "../http/messages.ts";
import { type Refusal, refusal } from "./refusal.ts";

/** Headers of which there may be one at most. */
const SINGLE = ["host", "content-length", "transfer-encoding", "content-type", "expect", "content-encoding"];

/** More than any client sends; what a parser does with very many is its own affair. */
const MOST_HEADERS = 200;

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

export function readRequest(request: RawRequest): Result<RawRequest, Refusal> {
  const malformed = (detail: string): Result<never, Refusal> => refuse(refusal("request_malformed", detail));
  if (!METHODS.has(request.method)) return malformed("the method is not one that the gateway forwards");
  if (request.headers.length > MOST_HEADERS) return malformed(`there are more than ${MOST_HEADERS} headers`);
  for (const name of SINGLE) {
    if (headerValues(request.headers, name).length > 1) return malformed(`the header ${name} is repeated`);
  }
  if (headerValues(request.headers, "host").length === 0) return malformed("the header host is missing");
  const transferEncoding = headerValues(request.headers, "transfer-encoding")[0];
  if (transferEncoding !== undefined) {
    if (transferEncoding.toLowerCase() !== "chunked")
      return malformed("transfer-encoding is not chunked alone");
    if (headerValues(request.headers, "content-length").length > 0)
      return malformed("content-length and transfer-encoding are both there");
  }
  // Names that a CGI-like upstream would fold into others, and bytes that two parsers read differently.
  for (const [name, value] of request.headers) {
    if (name.includes("_")) return malformed("a header name holds an underscore");
    if (/[^\t\x20-\x7e\x80-\xff]/.test(value))
      return malformed(`the header ${name.toLowerCase()} holds a control character`);
  }
  const expect = headerValues(request.headers, "expect")[0];
  if (expect !== undefined && expect.toLowerCase() !== "100-continue")
    return malformed("the expectation is unknown");
  const upgrade = headerValues(request.headers, "upgrade")[0];
  if (upgrade !== undefined)
    return refuse(refusal("upgrade_unsupported", "the gateway forwards plain HTTP/1.1 requests only"));
  return ok(request);
}

/** Values of a header, compared without case, in order. */
export function headerValues(headers: HeaderList, name: string): string[] {
  return headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
}
