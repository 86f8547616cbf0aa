// SPDX-License-Identifier: Apache-2.0
/**
 * Stage 7: what may leave?
 *
 * Everything that can carry authentication is taken off, whatever the agent put there; so is what belongs
 * to the hop, and what some servers take for another method or path. If a placeholder is left anywhere
 * after that, it would have gone out in place of a credential: the request is refused. So is one that carries
 * a secret of the vault out; which one, nobody is told: the agent may only have guessed.
 */
import { MessageScrubber } from "../../guard/message-scrubber.ts";
import type { Matcher } from "../../guard/pattern-matcher.ts";
import { holdsPlaceholder, PlaceholderWatch } from "../../guard/placeholder.ts";
import { holdsPattern } from "../../guard/scrubber.ts";
import { Fault } from "../../kernel/fault.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { HeaderList, RawRequest } from "../http/messages.ts";
import { headerValues } from "./1-read-request.ts";
import { asksForUpgrade, offering, subprotocolsOf } from "../websocket/handshake.ts";
import type { MatchedRequest } from "./4-match-server-workload.ts";
import { type Refusal, refusal } from "./refusal.ts";

export interface GuardedRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  /** Without host, framing, hop-by-hop and authentication headers. */
  readonly headers: HeaderList;
  readonly body: Buffer | AsyncIterable<Buffer> | undefined;
  /** Declared length of a streamed body. */
  readonly contentLength: string | undefined;
}

/** RFC 9110 §7.6.1 and older practice: they concern one connection only. */
const HOP_BY_HOP = [
  ...["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"],
  ...["proxy-authenticate", "proxy-authorization", "proxy-authentication-info", "http2-settings", "expect"],
];
/** The handshake with the upstream is the gateway's own, without extensions; subprotocols are looked at one by one. */
const HANDSHAKE = /^sec-websocket-/;
/** Browsers cannot set headers, so credentials travel as subprotocols: `openai-insecure-api-key.KEY`, `bearer, KEY`. */
const CARRIER_SUBPROTOCOL =
  /(^|[._-])(auth|authorization|bearer|token|api-?key|app-?key|access-?key|secret|password|credentials?)([._-]|$)/i;
/** Written anew by `inject`. */
const REWRITTEN = ["host", "content-length", "accept-encoding"];
/** Taken for authentication by one server or another. */
const CREDENTIAL_CARRIERS = ["cookie", "cookie2", "dd-application-key"];
/** Names that end so carry authentication somewhere, such as `x-api-key`, `private-token`, `x-auth`. */
const CARRIER_NAME =
  /(^|-)(auth|authorization|authentication|token|api-?key|app-?key|access-?key|subscription-?key|secret|password|credentials?|session(-?id)?|signature)$/;
/** Lets some servers see another method, path or client than the one that was decided. */
const OVERRIDES = [
  ...["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"],
  ...["x-original-host", "x-original-uri", "x-host", "forwarded", "x-real-ip", "via"],
  ...["x-remote-user", "x-client-ip", "true-client-ip", "x-cluster-client-ip"],
];
/**
 * An upstream that echoes would give a secret back in two parts that do not show it. A server may always
 * answer with the whole (RFC 9110 §14.2).
 */
const PARTS = ["range", "if-range"];
const ALWAYS_STRIPPED: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  ...REWRITTEN,
  ...CREDENTIAL_CARRIERS,
  ...OVERRIDES,
  ...PARTS,
]);
/** Google's APIs take each of their parameters with a dollar sign too. */
const QUERY_CARRIERS = [
  "access_token",
  "$access_token",
  "oauth_token",
  "auth_token",
  "api_key",
  "apikey",
  "api-key",
];

const NOTHING = Buffer.alloc(0);

/** `known` looks for all secrets of the vault. */
export function guardRequest(
  request: RawRequest,
  matched: MatchedRequest,
  known: Matcher,
): Result<GuardedRequest, Refusal> {
  const headers = [...strippedHeaders(request.headers, matched), ...keptSubprotocols(request.headers)];
  const query = strippedQuery(matched);
  const left = placeholderLeft(headers, matched.canonical.path, query, matched.body);
  if (left !== undefined)
    return refuse(
      refusal(
        "content_refused",
        `a placeholder would leave in ${left}: ${matched.workload.name} takes its credential elsewhere, and no grant puts one there`,
        ["placeholder_left"],
      ),
    );
  const leaving = secretLeaving(headers, matched.canonical.path, query, matched.body, known);
  if (leaving !== undefined)
    return refuse(
      refusal("content_refused", `a secret of the vault would leave in ${leaving}`, ["secret_leaving"]),
    );
  const contentLength = headerValues(request.headers, "content-length")[0];
  const hasBody =
    contentLength !== undefined || headerValues(request.headers, "transfer-encoding").length > 0;
  return ok({
    method: request.method,
    path: matched.canonical.path,
    query,
    headers,
    body: matched.body ?? (hasBody ? watched(request.body, known) : undefined),
    contentLength,
  });
}

function strippedHeaders(headers: HeaderList, { workload }: MatchedRequest): HeaderList {
  const nominated = headerValues(headers, "connection").flatMap((value) =>
    value.toLowerCase().split(/\s*,\s*/),
  );
  const carriers = new Set([...nominated, ...workload.profile.carriers.headers]);
  for (const { injection } of workload.injections)
    if (injection.kind === "header") carriers.add(injection.name);
  return headers.filter(([name]) => !isTakenOff(name) && !carriers.has(name));
}

/** What a WebSocket handshake offers, without what carries a credential or its placeholder. */
function keptSubprotocols(headers: HeaderList): HeaderList {
  if (!asksForUpgrade(headers)) return [];
  return offering(
    subprotocolsOf(headers).filter((name) => !CARRIER_SUBPROTOCOL.test(name) && !holdsPlaceholder(name)),
  );
}

/** Names come again and again: what each says is found out once. */
const takenOff = new Map<string, boolean>();
const MOST_NAMES = 4096;

function isTakenOff(name: string): boolean {
  const known = takenOff.get(name);
  if (known !== undefined) return known;
  const isIt =
    ALWAYS_STRIPPED.has(name) ||
    CARRIER_NAME.test(name) ||
    name.startsWith("x-forwarded-") ||
    HANDSHAKE.test(name);
  if (takenOff.size >= MOST_NAMES) takenOff.clear();
  if (name.length <= 64) takenOff.set(name, isIt);
  return isIt;
}

function strippedQuery({ canonical, workload }: MatchedRequest): string {
  if (canonical.query === "") return "";
  const carriers = new Set([...QUERY_CARRIERS, ...workload.profile.carriers.query]);
  for (const { injection } of workload.injections)
    if (injection.kind === "query") carriers.add(injection.name.toLowerCase());
  const kept = canonical.query
    .slice(1)
    .split("&")
    .filter((pair) => !carriers.has(plain(pair.split("=", 1)[0]!).toLowerCase()));
  return kept.length === 0 ? "" : `?${kept.join("&")}`;
}

function plain(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return text;
  }
}

/** Every escape that is one as its byte; what is none stays, and spares no other. */
const unescaped = (text: string): string =>
  text.replaceAll(/%([0-9A-Fa-f]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );

function placeholderLeft(
  headers: HeaderList,
  path: string,
  query: string,
  body: Buffer | undefined,
): string | undefined {
  const header = headers.find(([name, value]) => holdsPlaceholder(value) || holdsPlaceholder(name));
  if (header !== undefined) return `the header ${header[0]}`;
  if (holdsPlaceholder(path)) return "the path";
  if (holdsPlaceholder(unescaped(query))) return "the query";
  return body !== undefined && new PlaceholderWatch().seesIn(body) ? "the body" : undefined;
}

/** Where a secret stands: in the request as it is written, or with its escapes read. */
function secretLeaving(
  headers: HeaderList,
  path: string,
  query: string,
  body: Buffer | undefined,
  known: Matcher,
): string | undefined {
  const isIn = (text: string): boolean => holdsPattern(known, Buffer.from(text, "latin1"));
  const isInUrl = (text: string): boolean =>
    isIn(text) ||
    (/[%+]/.test(text) && (isIn(unescaped(text)) || isIn(unescaped(text.replaceAll("+", " ")))));
  // Nearly always there is nothing in any: one search for all of them.
  if (isIn(headers.flat().join("\n"))) {
    const header = headers.find((pair) => isIn(pair[0]) || isIn(pair[1]));
    // Its name could be the secret.
    return header === undefined || isIn(header[0]) ? "a header" : `the header ${header[0]}`;
  }
  if (isInUrl(path)) return "the path";
  if (isInUrl(query)) return "the query";
  return body !== undefined && holdsPattern(known, body) ? "the body" : undefined;
}

/**
 * A streamed body, broken off where a placeholder or a secret appears; no beginning of a secret leaves either. What
 * waits for more depends on lengths alone: an upstream that tells how far it has read would confirm guesses otherwise.
 */
async function* watched(body: AsyncIterable<Buffer>, known: Matcher): AsyncIterable<Buffer> {
  const watch = new PlaceholderWatch();
  const scrubber = new MessageScrubber();
  const searched = (piece: Buffer): Buffer => {
    if (scrubber.found > 0)
      throw new Fault("content_refused", "a secret of the vault would leave in the body");
    return piece;
  };
  for await (const chunk of body) {
    if (watch.seesIn(chunk)) throw new Fault("content_refused", "a placeholder would leave in the body");
    const piece = searched(scrubber.push(chunk, false, known));
    if (piece.length > 0) yield piece;
  }
  const rest = searched(scrubber.push(NOTHING, true, known));
  if (rest.length > 0) yield rest;
}
