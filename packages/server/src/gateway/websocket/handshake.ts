// SPDX-License-Identifier: Apache-2.0
/**
 * Is this the opening handshake of a WebSocket (RFC 6455 §4), and did the upstream agree to just that?
 *
 * Two handshakes, each with its own key. No extension is offered to the upstream: compressed messages could not be
 * searched for secrets.
 */
import { createHash, randomBytes } from "node:crypto";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { HeaderList, RawRequest, UpstreamAnswer, UpstreamRequest } from "../http/messages.ts";
import { type Refusal, refusal } from "../stages/refusal.ts";

/** RFC 6455 §1.3. */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const VERSION = "13";
const PROTOCOL = "sec-websocket-protocol";
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

const valuesOf = (headers: HeaderList, name: string): string[] =>
  headers.filter(([key]) => key === name).map(([, value]) => value);

/** The members of a list that may stand in several headers (RFC 9110 §5.6.1). */
const listOf = (headers: HeaderList, name: string): string[] =>
  valuesOf(headers, name)
    .flatMap((value) => value.split(","))
    .map((member) => member.trim())
    .filter((member) => member !== "");

/** Whether a request asks for another protocol. After `checkHandshake` that is WebSocket. */
export const asksForUpgrade = (headers: HeaderList): boolean => headers.some(([name]) => name === "upgrade");

/** Of all upgrades this one only, and only in the form of §4.1. */
export function checkHandshake({ method, headers }: RawRequest): Result<undefined, Refusal> {
  const malformed = (detail: string): Result<never, Refusal> => refuse(refusal("request_malformed", detail));
  const upgrade = valuesOf(headers, "upgrade");
  if (upgrade.length !== 1 || upgrade[0]!.toLowerCase() !== "websocket")
    return refuse(refusal("upgrade_unsupported", "the gateway speaks HTTP/1.1 and WebSocket only"));
  const version = valuesOf(headers, "sec-websocket-version");
  if (version.length !== 1 || version[0] !== VERSION)
    return refuse(refusal("upgrade_unsupported", `the gateway speaks version ${VERSION} of WebSocket only`));
  if (method !== "GET") return malformed("a WebSocket is asked for with GET");
  if (!listOf(headers, "connection").some((option) => option.toLowerCase() === "upgrade"))
    return malformed("the header connection does not name the upgrade");
  if (["content-length", "transfer-encoding"].some((name) => valuesOf(headers, name).length > 0))
    return malformed("a WebSocket is asked for without a body");
  const key = valuesOf(headers, "sec-websocket-key");
  if (key.length !== 1 || !/^[A-Za-z0-9+/]{22}==$/.test(key[0]!))
    return malformed("the header sec-websocket-key is not 16 bytes in base64");
  const offered = listOf(headers, PROTOCOL);
  if (!offered.every((name) => TOKEN.test(name)) || new Set(offered).size < offered.length)
    return malformed("a subprotocol is repeated or is not a name");
  return ok(undefined);
}

export const subprotocolsOf = (headers: HeaderList): string[] => listOf(headers, PROTOCOL);

/** The subprotocols to be offered, as the header that offers them. */
export const offering = (names: readonly string[]): HeaderList =>
  names.length === 0 ? [] : [[PROTOCOL, names.join(", ")]];

export interface Offer {
  readonly request: UpstreamRequest;
  readonly key: string;
}

/** The request to the upstream, with a key of its own. */
export function offer(request: UpstreamRequest): Offer {
  const key = randomBytes(16).toString("base64");
  const headers: HeaderList = [
    ...request.headers,
    ["connection", "Upgrade"],
    ["upgrade", "websocket"],
    ["sec-websocket-version", VERSION],
    ["sec-websocket-key", key],
  ];
  return { request: { ...request, headers }, key };
}

const acceptOf = (key: string): string =>
  createHash("sha1")
    .update(key + GUID)
    .digest("base64");

/** Whether a 101 agrees to what was offered and to nothing else (§4.1, "Client Requirements" 1 to 6). */
export function checkSwitch(
  { headers }: UpstreamAnswer,
  { request, key }: Offer,
): Result<undefined, Refusal> {
  const failed = (detail: string): Result<never, Refusal> => refuse(refusal("upstream_failed", detail));
  const upgrade = valuesOf(headers, "upgrade");
  if (upgrade.length !== 1 || upgrade[0]!.toLowerCase() !== "websocket")
    return failed("the upstream switched to another protocol than WebSocket");
  if (!listOf(headers, "connection").some((option) => option.toLowerCase() === "upgrade"))
    return failed("the upstream switched the protocol and does not say so for this connection");
  const accept = valuesOf(headers, "sec-websocket-accept");
  if (accept.length !== 1 || accept[0] !== acceptOf(key))
    return failed("the upstream did not answer this WebSocket handshake");
  if (valuesOf(headers, "sec-websocket-extensions").length > 0)
    return failed("the upstream agreed to a WebSocket extension that was not offered");
  const chosen = valuesOf(headers, PROTOCOL);
  if (chosen.length > 1 || !chosen.every((name) => subprotocolsOf(request.headers).includes(name)))
    return failed("the upstream chose a subprotocol that was not offered");
  return ok(undefined);
}

/** The head of the 101 to the agent, from that of the upstream's: its subprotocol and what else it says. */
export function switchHeaders(request: RawRequest, answered: HeaderList): HeaderList {
  const key = valuesOf(request.headers, "sec-websocket-key")[0]!;
  return [
    ["upgrade", "websocket"],
    ["connection", "Upgrade"],
    ["sec-websocket-accept", acceptOf(key)],
    ...offering(valuesOf(answered, PROTOCOL)),
    ...answered.filter(([name]) => !ABOUT_THE_SWITCH.test(name)),
  ];
}

/** Said anew for the agent's side; and a 101 has no content (RFC 9110 §15.2.2). */
const ABOUT_THE_SWITCH = /^(upgrade|connection|transfer-encoding|content-.*|sec-websocket-.*)$/;
