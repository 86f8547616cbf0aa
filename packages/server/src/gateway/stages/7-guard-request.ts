// SPDX-License-Identifier: Apache-2.0
/**
 * Stage 7: what may leave?
 *
 * Everything that can carry authentication is taken off, whatever the agent put there; so is what belongs
 * to the hop, and what some servers take for another method or path. If a placeholder is left anywhere
 * after that, it would have gone out in place of a credential: the request is refused.
 */
import { holdsPlaceholder, PlaceholderWatch } from "../../guard/placeholder.ts";
import { Fault } from "../../kernel/fault.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { HeaderList, RawRequest } from "../http/messages.ts";
import { headerValues } from "./1-read-request.ts";
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
/** Written anew by `inject`. */
const REWRITTEN = ["host", "content-length", "accept-encoding"];
/** Taken for authentication by one server or another. */
const CREDENTIAL_CARRIERS = [
  ...["authorization", "x-api-key", "api-key", "apikey", "x-goog-api-key", "x-auth-token", "x-access-token"],
  ...["x-amz-security-token", "private-token", "job-token", "x-csrf-token", "x-vault-token", "dd-api-key"],
  ...["dd-application-key", "ocp-apim-subscription-key", "cookie", "cookie2"],
];
/** Lets some servers see another method, path or client than the one that was decided. */
const OVERRIDES = [
  ...["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"],
  ...["x-original-host", "x-original-uri", "x-host", "forwarded", "x-real-ip", "via"],
  ...["x-remote-user", "x-client-ip", "true-client-ip", "x-cluster-client-ip"],
];
const ALWAYS_STRIPPED: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  ...REWRITTEN,
  ...CREDENTIAL_CARRIERS,
  ...OVERRIDES,
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

export function guardRequest(request: RawRequest, matched: MatchedRequest): Result<GuardedRequest, Refusal> {
  const headers = strippedHeaders(request.headers, matched);
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
  const contentLength = headerValues(request.headers, "content-length")[0];
  const hasBody =
    contentLength !== undefined || headerValues(request.headers, "transfer-encoding").length > 0;
  return ok({
    method: request.method,
    path: matched.canonical.path,
    query,
    headers,
    body: matched.body ?? (hasBody ? watched(request.body) : undefined),
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
  return headers.filter(([name]) => {
    const key = name.toLowerCase();
    return !ALWAYS_STRIPPED.has(key) && !carriers.has(key) && !key.startsWith("x-forwarded-");
  });
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

function placeholderLeft(
  headers: HeaderList,
  path: string,
  query: string,
  body: Buffer | undefined,
): string | undefined {
  const header = headers.find(([name, value]) => holdsPlaceholder(value) || holdsPlaceholder(name));
  if (header !== undefined) return `the header ${header[0].toLowerCase()}`;
  if (holdsPlaceholder(path)) return "the path";
  if (holdsPlaceholder(plain(query))) return "the query";
  return body !== undefined && new PlaceholderWatch().seesIn(body) ? "the body" : undefined;
}

/** A streamed body, broken off where a placeholder appears. */
async function* watched(body: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  const watch = new PlaceholderWatch();
  for await (const chunk of body) {
    if (watch.seesIn(chunk)) throw new Fault("content_refused", "a placeholder would leave in the body");
    yield chunk;
  }
}
