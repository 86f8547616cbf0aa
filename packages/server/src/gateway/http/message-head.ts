// SPDX-License-Identifier: Apache-2.0
/**
 * Reads the head of an HTTP/1.1 message (RFC 9112 §2–6), in the one strict way: whatever two readers could
 * read differently is refused. Pure; the codecs on both sides use it.
 */
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { HeaderList } from "./messages.ts";

/** How the end of a body is known (RFC 9112 §6.3). */
export type Framing =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly length: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "until-close" };

export interface MessageHead {
  /** Names in lower case. */
  readonly headers: HeaderList;
  /** False for HTTP/1.0, which knows no chunks and closes by default. */
  readonly isHttp11: boolean;
  readonly framing: Framing;
  /** Whether the connection may carry another message after this one. */
  readonly keepsAlive: boolean;
}

export interface RequestHead extends MessageHead {
  readonly method: string;
  readonly target: string;
}

export interface AnswerHeadRead extends MessageHead {
  readonly status: number;
}

/** What was disliked, in words that do not repeat what was sent. */
export type Complaint = string;

const REQUEST_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) ([\x21-\x7e]+) HTTP\/1\.([01])$/;
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const NOT_IN_VALUES = /[^\t\x20-\x7e\x80-\xff]/;
/** Headers of which no peer sends this many; Node's and others' limits are of this order. */
const MOST_HEADERS = 1000;

const NONE: Framing = { kind: "none" };
const CHUNKED: Framing = { kind: "chunked" };
const UNTIL_CLOSE: Framing = { kind: "until-close" };

/** `text` is the head without the empty line at its end. */
export function readRequestHead(text: string): Result<RequestHead, Complaint> {
  const lineEnd = endOfLine(text, 0);
  const line = REQUEST_LINE.exec(text.slice(0, lineEnd));
  if (line === null) return refuse("the request line is not METHOD TARGET HTTP/1.1");
  const [, method, target, minor] = line as unknown as [string, string, string, string];
  const fields = readFields(text, lineEnd + 2);
  if (!fields.ok) return fields;
  const { headers, contentLength, transferEncoding, connection } = fields.value;
  const isHttp11 = minor === "1";
  const framing = framingOf(contentLength, transferEncoding, isHttp11);
  if (!framing.ok) return framing;
  const keepsAlive = staysOpen(isHttp11, connection);
  return ok({ method, target, headers, isHttp11, framing: framing.value ?? NONE, keepsAlive });
}

/** `method` is that of the request: what it asked for says whether there is a body. */
export function readAnswerHead(text: string, method: string): Result<AnswerHeadRead, Complaint> {
  const lineEnd = endOfLine(text, 0);
  const line = STATUS_LINE.exec(text.slice(0, lineEnd));
  if (line === null) return refuse("the status line is not HTTP/1.1 STATUS");
  const fields = readFields(text, lineEnd + 2);
  if (!fields.ok) return fields;
  const { headers, contentLength, transferEncoding, connection } = fields.value;
  const isHttp11 = line[1] === "1";
  const status = Number(line[2]);
  const framing = framingOf(contentLength, transferEncoding, isHttp11);
  if (!framing.ok) return framing;
  const hasNoBody = method === "HEAD" || status < 200 || status === 204 || status === 304;
  const read = hasNoBody ? NONE : (framing.value ?? UNTIL_CLOSE);
  const keepsAlive = read.kind !== "until-close" && staysOpen(isHttp11, connection);
  return ok({ status, headers, isHttp11, framing: read, keepsAlive });
}

/** The fields of a trailer section; they are read to be refused or dropped (RFC 9112 §7.1.2). */
export function readTrailers(text: string): Result<HeaderList, Complaint> {
  const fields = readFields(text, 0);
  if (!fields.ok) return fields;
  const { headers, contentLength, transferEncoding } = fields.value;
  // It would come too late to say how long the body is, and some believe it (RFC 9110 §6.5.1).
  return contentLength === undefined && transferEncoding === undefined
    ? ok(headers)
    : refuse("a trailer says how long the body is");
}

interface Fields {
  readonly headers: HeaderList;
  /** Undefined where there is none; the text of all where there are several. */
  readonly contentLength: string | undefined;
  readonly transferEncoding: string | undefined;
  readonly connection: string | undefined;
}

function readFields(text: string, from: number): Result<Fields, Complaint> {
  const headers: [string, string][] = [];
  let contentLength: string | undefined;
  let transferEncoding: string | undefined;
  let connection: string | undefined;
  for (let at = from; at < text.length;) {
    const end = endOfLine(text, at);
    const colon = text.indexOf(":", at);
    if (colon === -1 || colon >= end) return refuse("a header line is not NAME: VALUE");
    // A line that starts with a space continues the one before it in older practice (RFC 9112 §5.2).
    const name = fieldName(text.slice(at, colon));
    if (name === undefined) return refuse("a header name holds a character that is not allowed in one");
    const value = trimmed(text, colon + 1, end);
    if (NOT_IN_VALUES.test(value)) return refuse(`the header ${name} holds a control character`);
    headers.push([name, value]);
    if (headers.length > MOST_HEADERS) return refuse(`there are more than ${MOST_HEADERS} headers`);
    if (name === "content-length") contentLength = joined(contentLength, value);
    else if (name === "transfer-encoding") transferEncoding = joined(transferEncoding, value);
    else if (name === "connection") connection = joined(connection, value);
    at = end + 2;
  }
  return ok({ headers, contentLength, transferEncoding, connection });
}

const joined = (before: string | undefined, value: string): string =>
  before === undefined ? value : `${before}, ${value}`;

/** Where the line that starts at `at` ends: before its CR LF, or at the end of the text. */
function endOfLine(text: string, at: number): number {
  const end = text.indexOf("\r\n", at);
  return end === -1 ? text.length : end;
}

/** Without the optional white space around it (RFC 9110 §5.5). */
function trimmed(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;

/** Names come again and again: each is checked and put into lower case once. */
const names = new Map<string, string>();
const MOST_NAMES = 4096;
const LONGEST_KEPT = 64;

function fieldName(text: string): string | undefined {
  const known = names.get(text);
  if (known !== undefined) return known;
  if (!TOKEN.test(text)) return undefined;
  const name = text.toLowerCase();
  if (text.length <= LONGEST_KEPT) {
    if (names.size >= MOST_NAMES) names.clear();
    // A copy: the name is a slice of the whole head, which would stay in memory with it.
    names.set(Buffer.from(text, "latin1").toString("latin1"), Buffer.from(name, "latin1").toString("latin1"));
  }
  return name;
}

/** Undefined where neither header is there. One length or one coding, in one spelling; both at once is an attack. */
function framingOf(
  contentLength: string | undefined,
  transferEncoding: string | undefined,
  isHttp11: boolean,
): Result<Framing | undefined, Complaint> {
  if (transferEncoding !== undefined) {
    if (contentLength !== undefined) return refuse("content-length and transfer-encoding are both there");
    if (transferEncoding.toLowerCase() !== "chunked" || !isHttp11)
      return refuse("transfer-encoding is not chunked alone");
    return ok(CHUNKED);
  }
  if (contentLength === undefined) return ok(undefined);
  if (!/^[0-9]{1,15}$/.test(contentLength)) return refuse("content-length is not one number");
  const length = Number(contentLength);
  return ok(length === 0 ? NONE : { kind: "length", length });
}

function staysOpen(isHttp11: boolean, connection: string | undefined): boolean {
  if (connection === undefined) return isHttp11;
  const options = connection.toLowerCase().split(/\s*,\s*/);
  return isHttp11 ? !options.includes("close") : options.includes("keep-alive") && !options.includes("close");
}
