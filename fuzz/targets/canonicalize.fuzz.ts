// SPDX-License-Identifier: Apache-2.0
/** Does everybody read a target that stage 2 accepts as the one thing that was decided? */
import { globMatches } from "../../packages/server/src/policy/glob.ts";
import type { CanonicalRequest, Entrance } from "../../packages/server/src/gateway/http/messages.ts";
import { hostProblem } from "../../packages/server/src/resources/host-name.ts";
import { canonicalize, parseAuthority } from "../../packages/server/src/gateway/stages/2-canonicalize.ts";
import type { Choices } from "../choices.ts";
import { cutParameters, decodedOnce, READINGS, WITHOUT_PARAMETERS } from "../path-readings.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const AUTHORITIES = ["127.0.0.1:7117", "localhost:7117"];

/** Three lines: `door`, or `tunnel HOST PORT SERVERNAME`; the target; the header Host. */
interface Input {
  readonly entrance: Entrance;
  readonly target: string;
  readonly host: string;
}

function read(input: Buffer): Input {
  const [how = "", target = "", ...host] = input.toString("latin1").split("\n");
  const [kind, tunnelHost = "api.example.com", port = "443", serverName] = how.split(" ");
  const entrance: Entrance =
    kind === "tunnel"
      ? {
          kind,
          host: parseAuthority(tunnelHost, 443)?.host ?? "api.example.com",
          port: Number(port) || 443,
          serverName,
        }
      : { kind: "door", authorities: AUTHORITIES };
  return { entrance, target, host: host.join("\n") };
}

const request = ({ target, host }: Pick<Input, "target" | "host">) => ({
  method: "GET",
  target,
  headers: [["host", host]] as const,
  body: (async function* () {})(),
});

function check(bytes: Buffer): void {
  const input = read(bytes);
  const result = canonicalize(request(input), input.entrance);
  if (!result.ok) return demand(!isPlain(input), `a plain request was refused: ${result.reason.detail}`);
  const canonical = result.value;
  checkPath(canonical.path);
  checkQuery(input, canonical);
  checkAgainstRaw(input, canonical);
  if (canonical.host !== undefined) checkHost(input, canonical.host, canonical.port!);
  const again = canonicalize(request(written(input, canonical)), input.entrance);
  demandEqual(again, result, "the canonical form of the canonical form");
}

/** What hardly a client could write more plainly. */
const isPlain = ({ entrance, target, host }: Input): boolean =>
  entrance.kind === "door" &&
  host === AUTHORITIES[0] &&
  /^\/[a-z0-9]{1,60}(\/[A-Za-z0-9_-]{1,100}){1,20}(\?[a-z]{1,10}=[a-z0-9]{0,100})?$/.test(target);

/** No server finds another path in it: not after one more decoding, nor by resolving dots. */
function checkPath(path: string): void {
  const plain = path.slice(1).split("/").map(decodedOnce);
  for (const [name, reading] of Object.entries(READINGS))
    demandEqual(reading(path), plain, `read by: ${name}`);
  const cut = plain.map(cutParameters);
  for (const [name, reading] of Object.entries(WITHOUT_PARAMETERS))
    demandEqual(reading(path)?.map(cutParameters), cut, `read by: ${name}`);
  // A policy's prefix holds in each of these readings.
  for (const prefix of ["/v1/", "/v1/allowed/", "/openai/v1/"]) {
    if (!globMatches(`${prefix}*`, path)) continue;
    for (const [name, reading] of Object.entries(READINGS))
      demand(`/${reading(path)!.join("/")}`.startsWith(prefix), `outside of ${prefix}: ${name}`);
  }
}

function checkQuery({ target }: Input, { query }: CanonicalRequest): void {
  const mark = target.indexOf("?");
  const raw = mark === -1 ? "" : target.slice(mark);
  demandEqual(query, raw === "?" ? "" : raw, "the query");
  const url = new URL(`https://host/${query}`);
  // WHATWG encodes an apostrophe and angle brackets: the same text.
  demandEqual(decodedOnce(url.search), decodedOnce(query), "the query as WHATWG reads it");
  demandEqual([url.pathname, url.hash], ["/", ""], "path and fragment beside the query");
}

/** What came, as a browser's parser reads it, is what goes on. */
function checkAgainstRaw({ target, entrance }: Input, canonical: CanonicalRequest): void {
  const url = URL.parse(/^https?:/i.test(target) ? target : `https://host${target}`);
  demand(url !== null, "WHATWG reads no URL");
  const segments = url.pathname.slice(1).split("/").map(decodedOnce);
  if (canonical.mode === "base-url") {
    demandEqual(segments.shift(), canonical.workloadName, "the server workload in the first segment");
    if (segments.length === 0) segments.push("");
  }
  demandEqual(canonical.path.slice(1).split("/").map(decodedOnce), segments, "the path that came");
  if (canonical.mode === "proxy") demandEqual(`${canonical.scheme}:`, url.protocol, "the scheme");
  if (canonical.mode === "connect" && entrance.kind === "tunnel")
    demandEqual([canonical.host, canonical.port], [entrance.host, entrance.port], "the tunnel");
}

/** A host that no operator can register leads nowhere, whatever somebody else would read in it. */
const isRegistrable = (host: string): boolean => hostProblem(host) === undefined;

/** Every place that names a host names this one. */
function checkHost({ target, host: header, entrance }: Input, host: string, port: number): void {
  if (!isRegistrable(host)) return;
  const scheme = /^http:/i.test(target) ? "http" : "https";
  const places = [`${scheme}://${header}/`, ...(/^https?:\/\//i.test(target) ? [target] : [])];
  for (const place of places) {
    const url = URL.parse(place);
    demand(url !== null, "WHATWG reads no URL");
    demandEqual([url.username, url.password], ["", ""], "user information");
    demandEqual(url.hostname, host, "the host as WHATWG reads it");
    demandEqual(url.port === "" ? { http: 80, https: 443 }[scheme] : Number(url.port), port, "the port");
  }
  if (entrance.kind === "tunnel" && entrance.serverName !== undefined)
    demandEqual(entrance.serverName.toLowerCase(), host, "the server name of TLS");
}

function written({ host, target }: Input, canonical: CanonicalRequest): Pick<Input, "target" | "host"> {
  const { path, query, mode, workloadName, scheme } = canonical;
  if (mode === "base-url") return { host, target: `/${workloadName}${path}${query}` };
  const isAbsolute = /^https?:\/\//i.test(target);
  return { host, target: isAbsolute ? `${scheme}://${host}${path}${query}` : `${path}${query}` };
}

const HOSTS = [
  ...[
    "127.0.0.1:7117",
    "localhost:7117",
    "api.example.com",
    "API.example.com:443",
    "api.example.com:80",
    "[::1]",
  ],
  ...[
    "127.1",
    "0x7f.1",
    "1.2.3.4",
    "xn--a",
    "api.example.com.",
    "user@api.example.com",
    "a_b",
    "[::ffff:1.2.3.4]:443",
    "a:0443",
  ],
];
const PIECES = [
  ..."/ a A . .. ... ; ;x=1 ..; %2e %2E%2e %2f %5c \\ // %00 %25 %252f %c0%ae %e0%80%af %C3%A4 ä %zz % %7e ~ : @ ! $ & ' ( ) * + , =".split(
    " ",
  ),
  ...'v1 /v1/ allowed /openai/ models %ef%bc%8f %ef%bc%8e %E2%80%A6 %E2%84%80 %ef%bd%a1 %0d%0a %09 %7f %3b %3B %3f %23 ? # " < > { } | ^ `'.split(
    " ",
  ),
  " ",
];

function make(choose: Choices): string {
  const host = choose.pick(HOSTS);
  const how = choose.pick(["door", "door", `tunnel ${host}`, `tunnel ${host} 443 ${host}`]);
  const named = choose.once(4) ? choose.pick(HOSTS) : host;
  const start = choose.pick([
    "",
    "/openai",
    "/v1/allowed",
    `https://${named}`,
    `http://${named}`,
    `HTTPS://${named}`,
  ]);
  const path = choose.list(12, () => choose.pick(PIECES)).join("");
  return `${how}\n${start}${choose.once(3) ? "" : "/"}${path}\n${host}`;
}

const target: FuzzTarget = {
  parsers: ["packages/server/src/gateway/stages/2-canonicalize.ts"],
  property:
    "What is accepted is its own canonical form, and has one host, port, path and query for WHATWG, RFC 3986 and lenient readers, so that no policy on a prefix is left.",
  words: [...HOSTS, ...PIECES, "https://", "door", "tunnel "],
  make,
  check,
};
export default target;
