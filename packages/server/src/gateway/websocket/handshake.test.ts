// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { HeaderList } from "../http/messages.ts";
import { rawRequest, streamOf } from "../request.fixture.ts";
import { checkHandshake, checkSwitch, offer, subprotocolsOf, switchHeaders } from "./handshake.ts";

/** RFC 6455 §1.3. */
const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const ASKS: HeaderList = [
  ["upgrade", "websocket"],
  ["connection", "upgrade"],
  ["sec-websocket-version", "13"],
  ["sec-websocket-key", KEY],
];

/** `ASKS` with one header in place of its namesake, or without it. */
const asking = (name: string, ...values: string[]): HeaderList => [
  ...ASKS.filter(([key]) => key.toLowerCase() !== name),
  ...values.map((value) => [name, value] as const),
];

const checked = (headers: HeaderList, method = "GET") => checkHandshake(rawRequest(headers, { method }));

describe("a handshake of an agent", () => {
  it.each<[string, HeaderList]>([
    ["h2c", asking("upgrade", "h2c")],
    ["nothing", asking("upgrade", "")],
    ["one of two", asking("upgrade", "websocket, h2c")],
    ["two in two headers", asking("upgrade", "websocket", "h2c")],
    ["the same twice", asking("upgrade", "websocket", "websocket")],
    ["TLS", asking("upgrade", "TLS/1.0")],
    ["version 8", asking("sec-websocket-version", "8")],
    ["two versions", asking("sec-websocket-version", "13", "13")],
    ["a list of versions", asking("sec-websocket-version", "13, 8")],
    ["no version", asking("sec-websocket-version")],
  ])("is refused as unsupported: %s", (_name, headers) => {
    expect(checked(headers)).toMatchObject({ ok: false, reason: { code: "upgrade_unsupported" } });
  });

  it.each<[string, HeaderList, string?]>([
    ["POST", ASKS, "POST"],
    ["HEAD", ASKS, "HEAD"],
    ["a connection that is kept alive", asking("connection", "keep-alive")],
    ["no word on the connection", asking("connection")],
    ["a connection that only sounds like it", asking("connection", "upgrade-insecure")],
    ["a body", [...ASKS, ["content-length", "0"]]],
    ["chunks", [...ASKS, ["transfer-encoding", "chunked"]]],
    ["no key", asking("sec-websocket-key")],
    ["two keys", asking("sec-websocket-key", KEY, KEY)],
    ["a key of 15 bytes", asking("sec-websocket-key", Buffer.alloc(15).toString("base64"))],
    ["a key of 17 bytes", asking("sec-websocket-key", Buffer.alloc(17).toString("base64"))],
    ["a key in base64url", asking("sec-websocket-key", "-_GhlIHNhbXBsZSBub25jZ==")],
    ["a subprotocol that is no name", [...ASKS, ["sec-websocket-protocol", "a b"]]],
    ["a subprotocol twice", [...ASKS, ["sec-websocket-protocol", "a"], ["sec-websocket-protocol", "b, a"]]],
  ])("is refused as malformed: %s", (_name, headers, method) => {
    expect(checked(headers, method)).toMatchObject({ ok: false, reason: { code: "request_malformed" } });
  });

  it("passes, its values in any case of letters, with extensions, subprotocols and other options", () => {
    const headers: HeaderList = [
      ["upgrade", "WebSocket"],
      ["connection", "keep-alive, UPGRADE"],
      ["sec-websocket-version", "13"],
      ["sec-websocket-key", KEY],
      ["sec-websocket-extensions", "permessage-deflate"],
      ["sec-websocket-protocol", "a, b"],
      ["sec-websocket-protocol", "c"],
    ];
    expect(checked(headers)).toEqual({ ok: true, value: undefined });
    expect(subprotocolsOf(headers)).toEqual(["a", "b", "c"]);
  });
});

describe("the offer to the upstream", () => {
  const request = {
    method: "GET",
    target: "/",
    headers: [["sec-websocket-protocol", "a, b"]] as const,
    body: undefined,
  };
  const answer = (key: string, change: HeaderList = [], without = "") => {
    // Computed by somebody else's rule: the key and the constant of RFC 6455 §1.3.
    const accept = key === KEY ? ACCEPT : "";
    const all: HeaderList = [
      ["upgrade", "WebSocket"],
      ["connection", "upgrade"],
      ["sec-websocket-accept", accept],
    ];
    return {
      status: 101,
      headers: [...all.filter(([name]) => name !== without), ...change],
      body: streamOf(),
      discard: () => {},
    };
  };
  const offered = { request, key: KEY };

  it("has a key of its own each time, and no extension", () => {
    const [first, second] = [offer(request), offer(request)];
    expect(first.key).not.toBe(second.key);
    expect(Buffer.from(first.key, "base64")).toHaveLength(16);
    expect(first.request.headers).toEqual([
      ["sec-websocket-protocol", "a, b"],
      ["connection", "Upgrade"],
      ["upgrade", "websocket"],
      ["sec-websocket-version", "13"],
      ["sec-websocket-key", first.key],
    ]);
  });

  it("is taken with or without one of its subprotocols", () => {
    expect(checkSwitch(answer(KEY), offered).ok).toBe(true);
    expect(checkSwitch(answer(KEY, [["sec-websocket-protocol", "b"]]), offered).ok).toBe(true);
  });

  it.each<[string, HeaderList, string?]>([
    ["no upgrade", [], "upgrade"],
    ["another protocol", [["upgrade", "h2c"]], "upgrade"],
    ["another protocol too", [["upgrade", "h2c"]]],
    ["no connection", [], "connection"],
    ["no accept", [], "sec-websocket-accept"],
    ["two accepts", [["sec-websocket-accept", ACCEPT]]],
    [
      "the accept of another key",
      [["sec-websocket-accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="]],
      "Sec-WebSocket-Accept",
    ],
    ["an extension", [["sec-websocket-extensions", "permessage-deflate"]]],
    ["a subprotocol that nobody offered", [["sec-websocket-protocol", "c"]]],
    ["a subprotocol in another case", [["sec-websocket-protocol", "A"]]],
    ["two subprotocols", [["sec-websocket-protocol", "a, b"]]],
    [
      "two headers of subprotocols",
      [
        ["sec-websocket-protocol", "a"],
        ["sec-websocket-protocol", "b"],
      ],
    ],
  ])("is refused when it is answered with %s", (_name, change, without) => {
    expect(checkSwitch(answer(KEY, change, without), offered)).toMatchObject({
      ok: false,
      reason: { code: "upstream_failed" },
    });
  });

  it("is answered to the agent by the agent's own key", () => {
    const switched = switchHeaders(rawRequest(ASKS), [
      ...answer("other", [["sec-websocket-protocol", "a"]]).headers,
      ["content-length", "0"],
      ["x-request-id", "r"],
    ]);
    expect(switched).toEqual([
      ["upgrade", "websocket"],
      ["connection", "Upgrade"],
      ["sec-websocket-accept", ACCEPT],
      ["sec-websocket-protocol", "a"],
      ["x-request-id", "r"],
    ]);
  });
});
