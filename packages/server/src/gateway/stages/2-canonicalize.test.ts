// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Entrance } from "../http/messages.ts";
import { canonicalPath, canonicalize, parseAuthority } from "./2-canonicalize.ts";

const door: Entrance = { kind: "door", authorities: ["127.0.0.1:7117", "localhost:7117"] };
const tunnel = (serverName?: string): Entrance => ({
  kind: "tunnel",
  host: "api.openai.com",
  port: 443,
  serverName,
});

const request = (target: string, host: string, entrance: Entrance = door) =>
  canonicalize(
    { method: "POST", target, headers: [["Host", host]], body: (async function* () {})() },
    entrance,
  );

describe("canonical target", () => {
  it("takes the server workload's name from a base URL", () => {
    expect(request("/openai/v1/models?limit=1", "127.0.0.1:7117")).toEqual({
      ok: true,
      value: {
        method: "POST",
        scheme: "https",
        workloadName: "openai",
        path: "/v1/models",
        query: "?limit=1",
        mode: "base-url",
      },
    });
  });

  it.each([
    ["base URL with another Host", "/openai/v1/models", "api.openai.com", door],
    ["base URL with a foreign port", "/openai/v1/models", "127.0.0.1:80", door],
    ["no server workload", "/", "127.0.0.1:7117", door],
    ["asterisk", "*", "127.0.0.1:7117", door],
    ["absolute-form against Host", "https://api.openai.com/v1", "evil.example", door],
    ["absolute-form with another port in Host", "https://api.openai.com/v1", "api.openai.com:8443", door],
    ["user information", "https://user@api.openai.com/v1", "api.openai.com", door],
    [
      "user information that looks like the host",
      "https://api.openai.com@evil.example/v1",
      "api.openai.com",
      door,
    ],
    ["backslash in the authority", "https://api.openai.com\\.evil.example/v1", "api.openai.com", door],
    ["trailing dot", "https://api.openai.com./v1", "api.openai.com.", door],
    ["Host against CONNECT", "/v1/models", "evil.example", tunnel("api.openai.com")],
    ["Host port against CONNECT", "/v1/models", "api.openai.com:444", tunnel("api.openai.com")],
    ["SNI against CONNECT", "/v1/models", "api.openai.com", tunnel("evil.example")],
    ["absolute-form against CONNECT", "https://evil.example/v1", "api.openai.com", tunnel("api.openai.com")],
    [
      "plain http inside a tunnel",
      "http://api.openai.com:443/v1",
      "api.openai.com",
      tunnel("api.openai.com"),
    ],
    ["fragment", "/openai/v1?x#y", "127.0.0.1:7117", door],
  ] as const)("refuses %s", (_name, target, host, entrance) => {
    expect(request(target, host, entrance)).toMatchObject({
      ok: false,
      reason: { code: "target_not_canonical" },
    });
  });

  it("accepts forms that agree, in either case of the host", () => {
    for (const [target, host, entrance] of [
      ["https://API.openai.com/v1/models", "api.OPENAI.com:443", door],
      ["/v1/models", "api.openai.com", tunnel("api.openai.com")],
      ["/v1/models", "API.openai.com:443", tunnel()],
      ["https://api.openai.com/v1/models", "api.openai.com", tunnel("API.openai.com")],
    ] as const)
      expect(request(target, host, entrance)).toMatchObject({
        ok: true,
        value: { host: "api.openai.com", port: 443, path: "/v1/models" },
      });
  });
});

describe("canonical path", () => {
  it.each([
    ...["/a/../b", "/a/./b", "/..", "/a/%2e%2E/b", "/a/.%2e/b", "/a/..;x=1/b", "/a/%2e%2e;/b", "/a/..%3bx/b"],
    ...[
      "/a%2fb",
      "/a%5Cb",
      "/a\\b",
      "/a//b",
      "//a",
      "/a%00b",
      "/a%0d%0ab",
      "/a%252fb",
      "/a%",
      "/a%zz",
      "/a b",
      "/ä",
      "/a?b",
      "/a#b",
    ],
  ])("refuses %s", (path) => {
    expect(canonicalPath(path)).toMatchObject({ ok: false });
  });

  it.each([
    ["/v1/chat/completions", "/v1/chat/completions"],
    ["/v1/%63hat", "/v1/chat"],
    ["/a%c3%a4b", "/a%C3%A4b"],
    ["/v1beta/models/gemini-2.0:generateContent", "/v1beta/models/gemini-2.0:generateContent"],
    ["/a/...", "/a/..."],
    ["/", "/"],
  ])("spells %s as %s", (path, spelled) => {
    expect(canonicalPath(path)).toEqual({ ok: true, value: spelled });
  });

  it("gives a form that is its own canonical form, and that WHATWG URL parsing does not change", () => {
    const piece = fc.constantFrom(
      ...Array.from("abZ09-._~!$&'()*+,;=:@/%"),
      "%2e",
      "%2F",
      "%41",
      "%7e",
      "%E4",
      "..",
      "/../",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
        const result = canonicalPath("/" + pieces.join(""));
        if (!result.ok) return;
        expect(canonicalPath(result.value)).toEqual(result);
        expect(new URL("https://h.example" + result.value).pathname).toBe(result.value);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("authority", () => {
  it.each([
    "",
    ":443",
    "a:",
    "a:0",
    "a:65536",
    "a:99999",
    "a.:1",
    ".a",
    "-a",
    "a..b",
    "a_b",
    "a b",
    "[::1",
    "ä.example",
    "a:1:2",
  ])("refuses %j", (text) => {
    expect(parseAuthority(text, 443)).toBeUndefined();
  });
});
