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
    { method: "POST", target, headers: [["host", host]], body: (async function* () {})() },
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

/** Spellings of the host, and whether they name the tunnel's. Absent is no absolute form, or no server name. */
const SPELLINGS = [
  ["api.openai.com", true],
  ["API.OPENAI.COM", true],
  ["evil.example", false],
  ["api.openai.com.", false],
  ["api.openai.com.evil.example", false],
  ["evil-api.openai.com", false],
  ["openai.com", false],
  ["", false],
] as const;
const PORTS = [
  ["", true],
  [":443", true],
  [":8443", false],
  [":0443", false],
  [":", false],
] as const;
const AUTHORITIES = SPELLINGS.flatMap(([host, isHost]) =>
  PORTS.map(([port, isPort]) => ({ text: host + port, isSame: isHost && isPort })),
);
const NONE = { text: undefined, isSame: true };

describe("CONNECT, server name, absolute form and Host", () => {
  it("are one place in every combination that passes, and no other combination passes", () => {
    const names = [NONE, ...SPELLINGS.map(([text, isSame]) => ({ text, isSame }))];
    let passed = 0;
    for (const serverName of names)
      for (const absolute of [NONE, ...AUTHORITIES])
        for (const host of AUTHORITIES) {
          const target = `${absolute.text === undefined ? "" : `https://${absolute.text}`}/v1/models`;
          const result = request(target, host.text, tunnel(serverName.text));
          const agree = serverName.isSame && absolute.isSame && host.isSame;
          expect([serverName.text, target, host.text, result.ok]).toEqual([
            serverName.text,
            target,
            host.text,
            agree,
          ]);
          if (result.ok) passed++;
        }
    // 3 server names, 5 absolute forms, 4 hosts.
    expect(passed).toBe(60);
  });

  it("of a proxy request: absolute form and Host agree, or it is refused", () => {
    for (const absolute of AUTHORITIES)
      for (const host of AUTHORITIES) {
        const result = request(`https://${absolute.text}/v1/models`, host.text);
        // Two other places that agree are one place too: whether it is registered is asked later.
        const agree =
          spellOut(absolute.text) !== undefined && spellOut(absolute.text) === spellOut(host.text);
        expect([absolute.text, host.text, result.ok]).toEqual([absolute.text, host.text, agree]);
      }
  });
});

/** The place that an authority names, written without the code under test. */
function spellOut(text: string): string | undefined {
  const [host = "", port] = text.toLowerCase().split(":");
  if (host === "" || host.endsWith(".") || port === "" || port?.startsWith("0") === true) return undefined;
  return `${host}:${port ?? "443"}`;
}

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
    ...[
      "a:0443",
      "a:00443",
      "a:+443",
      "a:443 ",
      "a:4a",
      "user@a",
      "user:x@a",
      "a/",
      "a?",
      "a#",
      "a\\b",
      "a\tb",
    ],
    ...["a-.b", "a.-b", "-", ".", "..", "*.a", "%61", "a%2eb", "a\0", "a,b", "a;b", "\u00df.b", "\u0430pi.b"],
    ...["\uff41.b", "a\u3002b", "a\u00adb", `${"a".repeat(64)}.b`, `${"a.".repeat(127)}aa`, "1::2", "::1"],
    ...["[::1", "::1]", "[]", "[::1%eth0]", "[::1%25eth0]", "[v1.a]"],
  ])("refuses %j", (text) => {
    expect(parseAuthority(text, 443)).toBeUndefined();
  });

  it.each([
    ["A.Example", { host: "a.example", port: 443 }],
    ["a.example:8443", { host: "a.example", port: 8443 }],
    ["XN--FA-HIA.example", { host: "xn--fa-hia.example", port: 443 }],
    ["0x7f.1", { host: "0x7f.1", port: 443 }],
    ["[::FFFF:127.0.0.1]:1", { host: "[::ffff:127.0.0.1]", port: 1 }],
    [`${"a".repeat(63)}.b`, { host: `${"a".repeat(63)}.b`, port: 443 }],
  ])("reads %j, which then has to be registered as it is", (text, authority) => {
    expect(parseAuthority(text, 443)).toEqual(authority);
  });
});
