// SPDX-License-Identifier: Apache-2.0
/**
 * Stage 2: the one canonical form that is matched, decided, audited and sent.
 *
 * Host, SNI, CONNECT target and absolute-form must agree. A path that a policy and an upstream could read
 * differently is refused, not repaired; what remains has exactly one spelling (RFC 3986 §6.2.2).
 */
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { CanonicalRequest, Entrance, RawRequest } from "../http/messages.ts";
import { headerValues } from "./1-read-request.ts";
import { type Refusal, refusal } from "./refusal.ts";

const notCanonical = (detail: string): Result<never, Refusal> =>
  refuse(refusal("target_not_canonical", detail));

export interface Authority {
  readonly host: string;
  readonly port: number;
}

/**
 * `host[:port]`, lower-cased; refuses what is not ASCII, user information, trailing dots, labels that DNS does not
 * have (RFC 1123 §2.1, RFC 1035 §2.3.4), brackets left open, and ports in another spelling than their own.
 */
export function parseAuthority(text: string, defaultPort: number): Authority | undefined {
  const match = /^([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([1-9][0-9]{0,4}))?$/.exec(text);
  if (match === null) return undefined;
  const host = match[1]!.toLowerCase();
  const port = match[2] === undefined ? defaultPort : Number(match[2]);
  if (port > 65_535) return undefined;
  const isName = host.split(".").every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(label));
  return isName || host.startsWith("[") ? { host, port } : undefined;
}

export function canonicalize(request: RawRequest, entrance: Entrance): Result<CanonicalRequest, Refusal> {
  if (entrance.kind === "tunnel") return canonicalizeTunnelled(request, entrance);
  return /^https?:\/\//i.test(request.target)
    ? canonicalizeAbsolute(request)
    : canonicalizeBaseUrl(request, entrance.authorities);
}

function canonicalizeTunnelled(
  request: RawRequest,
  tunnel: Extract<Entrance, { kind: "tunnel" }>,
): Result<CanonicalRequest, Refusal> {
  if (tunnel.serverName !== undefined && tunnel.serverName.toLowerCase() !== tunnel.host)
    return notCanonical("the TLS server name is not the host of the CONNECT");
  let target = request.target;
  if (/^https?:\/\//i.test(target)) {
    const absolute = splitAbsolute(target);
    if (absolute === undefined || absolute.scheme !== "https" || !same(absolute, tunnel))
      return notCanonical("the request target is not the host of the CONNECT");
    target = absolute.rest;
  }
  const host = parseAuthority(headerValues(request.headers, "host")[0] ?? "", 443);
  if (host === undefined || !same(host, tunnel))
    return notCanonical("the header host is not the host of the CONNECT");
  return withPath(request.method, target, {
    scheme: "https",
    host: tunnel.host,
    port: tunnel.port,
    mode: "connect",
  });
}

function canonicalizeAbsolute(request: RawRequest): Result<CanonicalRequest, Refusal> {
  const absolute = splitAbsolute(request.target);
  if (absolute === undefined) return notCanonical("the request target is not a plain absolute URL");
  const host = parseAuthority(
    headerValues(request.headers, "host")[0] ?? "",
    absolute.scheme === "https" ? 443 : 80,
  );
  if (host === undefined || !same(host, absolute))
    return notCanonical("the header host is not the host of the URL");
  const { scheme, port } = absolute;
  return withPath(request.method, absolute.rest, { scheme, host: absolute.host, port, mode: "proxy" });
}

function canonicalizeBaseUrl(
  request: RawRequest,
  authorities: readonly string[],
): Result<CanonicalRequest, Refusal> {
  const host = headerValues(request.headers, "host")[0] ?? "";
  if (!authorities.includes(host.toLowerCase()))
    return notCanonical("the header host is not the gateway's own address");
  const [, workloadName, rest] = /^\/([a-z0-9-]{1,63})(\/.*|\?.*)?$/s.exec(request.target) ?? [];
  if (workloadName === undefined)
    return notCanonical("a base URL starts with the name of a server workload, such as /openai/v1");
  const path = rest === undefined || rest.startsWith("?") ? `/${rest ?? ""}` : rest;
  return withPath(request.method, path, { scheme: "https", workloadName, mode: "base-url" });
}

function splitAbsolute(target: string): (Authority & { scheme: "http" | "https"; rest: string }) | undefined {
  const match = /^(https?):\/\/([^/?#]+)(.*)$/is.exec(target);
  if (match === null) return undefined;
  const scheme = match[1]!.toLowerCase() as "http" | "https";
  const authority = parseAuthority(match[2]!, scheme === "https" ? 443 : 80);
  if (authority === undefined) return undefined;
  const rest = match[3]!;
  return { ...authority, scheme, rest: rest.startsWith("/") ? rest : `/${rest}` };
}

const same = (a: Authority, b: Authority): boolean => a.host === b.host && a.port === b.port;

function withPath(
  method: string,
  target: string,
  rest: Omit<CanonicalRequest, "method" | "path" | "query">,
): Result<CanonicalRequest, Refusal> {
  if (!target.startsWith("/")) return notCanonical("the request target is not a path");
  if (target.length > 16_384) return notCanonical("the request target is too long");
  const mark = target.indexOf("?");
  const query = mark === -1 ? "" : target.slice(mark);
  if (!/^[\x21\x23-\x7e]*$/.test(query) || query.includes("#"))
    return notCanonical("the query holds a character that must be encoded");
  const path = canonicalPath(mark === -1 ? target : target.slice(0, mark));
  return path.ok ? ok({ method, path: path.value, query: query === "?" ? "" : query, ...rest }) : path;
}

function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}

/** One spelling for each path: unreserved characters plain, escapes in upper case, nothing to resolve. */
export function canonicalPath(path: string): Result<string, Refusal> {
  if (!/^[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*$/.test(path))
    return notCanonical("the path holds a character that must be encoded");
  if (/%(?![0-9A-Fa-f]{2})/.test(path)) return notCanonical("the path holds a broken percent-encoding");
  const spelled = path.replaceAll(/%[0-9A-Fa-f]{2}/g, (escape) => {
    const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
    return /[A-Za-z0-9\-._~]/.test(character) ? character : escape.toUpperCase();
  });
  // An encoded slash, backslash, NUL or percent sign, or control character reads differently after one more decoding.
  if (/%(?:2F|5C|25|[01][0-9A-F]|7F)/.test(spelled))
    return notCanonical("the path holds an encoded slash, backslash, percent sign or control character");
  // Among them overlong forms such as %C0%AE, which lenient decoders take for a dot (RFC 3629 §10).
  if (!isUtf8(spelled)) return notCanonical("the path holds bytes that are not UTF-8");
  if (spelled.includes("//")) return notCanonical("the path holds an empty segment");
  // `..;x` is a dot segment to servers that cut path parameters off.
  if (spelled.split("/").some((segment) => /^\.{1,2}(;.*)?$/.test(segment) || /^\.{1,2}%3B/.test(segment)))
    return notCanonical("the path holds a dot segment");
  return ok(spelled);
}
