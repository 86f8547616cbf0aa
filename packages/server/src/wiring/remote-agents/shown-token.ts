// SPDX-License-Identifier: Apache-2.0
/**
 * Where in a request does a remote agent show its JWT-SVID?
 *
 * As the password of the proxy where it uses the gateway as one, and where the API key belongs where it calls a base
 * URL. Whatever stands in these places never leaves: stage 7 takes all of them off.
 */
import type { HeaderList } from "../../gateway/http/messages.ts";
import { ok, refuse, type Result } from "../../kernel/result.ts";

/** Where SDKs put the key that they are given. */
const KEY_HEADERS: ReadonlySet<string> = new Set(["authorization", "api-key", "x-api-key", "x-goog-api-key"]);
/** Three parts of base64url: what a key of a provider, or a placeholder, never is. */
const COMPACT_JWS = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** Undefined where there is none. A place that holds something else than a token holds a placeholder. */
export function shownToken(headers: HeaderList): Result<string | undefined, string> {
  const asProxy = headers.filter(([name]) => name === "proxy-authorization");
  if (asProxy.length > 1) return refuse("token_repeated");
  const [first] = asProxy;
  if (first !== undefined) {
    const token = tokenIn(first[1]);
    return token === undefined ? refuse("token_malformed") : ok(token);
  }
  const tokens = headers.flatMap(([name, value]) => (KEY_HEADERS.has(name) ? (tokenIn(value) ?? []) : []));
  // Two readers could take different ones for the caller's.
  return new Set(tokens).size > 1 ? refuse("token_repeated") : ok(tokens[0]);
}

function tokenIn(value: string): string | undefined {
  const [, scheme, rest] = /^(?:(bearer|basic) +)?(\S+)$/i.exec(value) ?? [];
  if (rest === undefined) return undefined;
  const text = scheme?.toLowerCase() === "basic" ? passwordOf(rest) : rest;
  return COMPACT_JWS.test(text) ? text : undefined;
}

/** RFC 7617 §2: the user is whatever the client had to write there. */
function passwordOf(credentials: string): string {
  const plain = Buffer.from(credentials, "base64").toString("latin1");
  return plain.slice(plain.indexOf(":") + 1);
}
