// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { HeaderList } from "../http/messages.ts";
import { rawRequest } from "../request.fixture.ts";
import { headerValues, readRequest } from "./1-read-request.ts";

const malformed = { ok: false, reason: { code: "request_malformed" } };

describe("a request that could be read in two ways", () => {
  it.each<[string, HeaderList]>([
    ["a second Host", [["hOsT", "evil.example"]]],
    [
      "two Content-Lengths",
      [
        ["Content-Length", "1"],
        ["content-length", "1"],
      ],
    ],
    [
      "two Content-Types",
      [
        ["Content-Type", "a/b"],
        ["content-type", "a/b"],
      ],
    ],
    [
      "two Content-Encodings",
      [
        ["Content-Encoding", "gzip"],
        ["Content-Encoding", "identity"],
      ],
    ],
    [
      "length and chunks",
      [
        ["Content-Length", "1"],
        ["Transfer-Encoding", "chunked"],
      ],
    ],
    ["chunks that are not all", [["Transfer-Encoding", "gzip, chunked"]]],
    ["chunks twice", [["Transfer-Encoding", "chunked, chunked"]]],
    ["an underscore in a name", [["x_api_key", "1"]]],
    ["NUL in a value", [["x-a", "b\0"]]],
    ["a line feed in a value", [["x-a", "b\nc: d"]]],
    ["DEL in a value", [["x-a", "b\x7f"]]],
    ["a character beyond Latin-1", [["x-a", "b\u0100"]]],
    ["an expectation that nobody knows", [["Expect", "200-ok"]]],
    ["201 headers", Array.from({ length: 200 }, (_, i) => [`x-${i}`, "1"] as const)],
  ])("is refused: %s", (_name, headers) => {
    expect(readRequest(rawRequest(headers))).toMatchObject(malformed);
  });

  it.each(["TRACE", "CONNECT", "get", "", "PROPFIND", "GET "])("is refused with method %j", (method) => {
    expect(readRequest(rawRequest([], { method }))).toMatchObject(malformed);
  });

  it("is refused without Host", () => {
    expect(readRequest(rawRequest([], { headers: [] }))).toMatchObject(malformed);
  });

  it("says the reason without repeating what was sent", () => {
    const result = readRequest(rawRequest([["x-a", "b\0sk-secret"]]));
    expect(JSON.stringify(result)).not.toContain("sk-secret");
  });
});

describe("an upgrade", () => {
  const asks = (upgrade: string): HeaderList => [
    ["Upgrade", upgrade],
    ["Connection", "Upgrade"],
    ["Sec-WebSocket-Version", "13"],
    ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="],
  ];

  it.each(["h2c", "", "TLS/1.3", "websocket, h2c"])("to %j is refused as such", (value) => {
    expect(readRequest(rawRequest(asks(value), { method: "GET" }))).toMatchObject({
      ok: false,
      reason: { code: "upgrade_unsupported" },
    });
  });

  it("to WebSocket passes as a handshake, and only as one", () => {
    const request = rawRequest(asks("websocket"), { method: "GET" });
    expect(readRequest(request)).toEqual({ ok: true, value: request });
    expect(readRequest(rawRequest(asks("websocket"), { method: "POST" }))).toMatchObject(malformed);
    expect(
      readRequest(rawRequest([...asks("websocket"), ["Upgrade", "h2c"]], { method: "GET" })),
    ).toMatchObject(malformed);
  });
});

describe("an ordinary request", () => {
  it.each<[string, HeaderList]>([
    ["nothing more", []],
    ["a length", [["Content-Length", "5"]]],
    ["chunks", [["Transfer-Encoding", "Chunked"]]],
    ["the one expectation there is", [["Expect", "100-Continue"]]],
    [
      "a repeated header that may be",
      [
        ["Accept", "a/b"],
        ["Accept", "c/d"],
      ],
    ],
    ["a tab and Latin-1", [["x-a", "b\tc \xe4"]]],
    ["200 headers", Array.from({ length: 199 }, (_, i) => [`x-${i}`, "1"] as const)],
  ])("passes with %s", (_name, headers) => {
    const request = rawRequest(headers);
    expect(readRequest(request)).toEqual({ ok: true, value: request });
  });

  it("gives the values of a header in order", () => {
    expect(
      headerValues(
        [
          ["a", "1"],
          ["b", "2"],
          ["a", "3"],
        ],
        "a",
      ),
    ).toEqual(["1", "3"]);
  });
});
