// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseSpiffeId, trustDomainProblem, trustDomainUri } from "./spiffe-id.ts";

/** Row of the standard's rules, text that must be refused. */
const REFUSED: readonly (readonly [string, string])[] = [
  ["ID1: another scheme", "https://td/a"],
  ["ID1: no scheme", "td/a"],
  ["ID1: nothing", ""],
  ["ID1: the scheme alone", "spiffe://"],
  ["ID1: one slash only", "spiffe:/td/a"],
  ["ID1: an empty trust domain", "spiffe:///a"],
  ["ID1: a query", "spiffe://td/a?b=c"],
  ["ID1: an empty query", "spiffe://td/a?"],
  ["ID1: a query without a path", "spiffe://td?a"],
  ["ID1: a fragment", "spiffe://td/a#b"],
  ["ID1: a fragment without a path", "spiffe://td#b"],
  ["ID2: a port", "spiffe://td:8080/a"],
  ["ID2: a user", "spiffe://user@td/a"],
  ["ID2: a user and a password", "spiffe://user:word@td/a"],
  ["ID2: an IPv6 address", "spiffe://[::1]/a"],
  ["ID3: upper case in the trust domain", "spiffe://Td/a"],
  ["ID3: a percent-encoding in the trust domain", "spiffe://t%41/a"],
  ["ID3: a sub-delimiter in the trust domain", "spiffe://t$d/a"],
  ["ID3: a letter beyond ASCII in the trust domain", "spiffe://tд/a"],
  ["ID3: a space in the trust domain", "spiffe://t d/a"],
  ["ID4: an empty segment", "spiffe://td/a//b"],
  ["ID4: a slash at the end", "spiffe://td/a/"],
  ["ID4: a slash alone", "spiffe://td/"],
  ["ID4: a dot segment", "spiffe://td/./a"],
  ["ID4: a dot segment at the end", "spiffe://td/a/."],
  ["ID4: a double dot segment", "spiffe://td/a/../b"],
  ["ID4: a percent-encoding in the path", "spiffe://td/a%2fb"],
  ["ID4: a letter beyond ASCII in the path", "spiffe://td/ä"],
  ["ID4: a sub-delimiter in the path", "spiffe://td/a;b"],
  ["ID4: a backslash", "spiffe://td/a\\b"],
  ["ID4: a NUL", "spiffe://td/a\0"],
  ["ID4: a line break at the end", "spiffe://td/a\n"],
  ["ID5: more than 2048 bytes", `spiffe://td/${"a".repeat(2037)}`],
  ["ID5: a trust domain of more than 255 bytes", `spiffe://${"a".repeat(256)}/a`],
  ["ID7: an upper-case scheme", "SPIFFE://td/a"],
];

const ACCEPTED: readonly (readonly [string, string, string, string])[] = [
  ["ID1: a trust domain alone", "spiffe://td", "td", ""],
  ["ID4: every character that a path may have", "spiffe://td/AZaz09.-_/x", "td", "/AZaz09.-_/x"],
  ["ID4: dots that make no dot segment", "spiffe://td/.../..a/a..", "td", "/.../..a/a.."],
  ["ID3: every character that a trust domain may have", "spiffe://az09.-_/a", "az09.-_", "/a"],
  ["ID5: 2048 bytes", `spiffe://td/${"a".repeat(2036)}`, "td", `/${"a".repeat(2036)}`],
  ["ID5: a trust domain of 255 bytes", `spiffe://${"a".repeat(255)}/a`, "a".repeat(255), "/a"],
  ["ID6: a trust domain that looks like an address", "spiffe://10.0.0.1/a", "10.0.0.1", "/a"],
];

describe("SPIFFE IDs", () => {
  it.each(REFUSED)("refuse %s", (_, text) => {
    expect(parseSpiffeId(text)).toEqual({ ok: false, reason: expect.any(String) });
  });

  it.each(ACCEPTED)("accept %s", (_, uri, trustDomain, path) => {
    expect(parseSpiffeId(uri)).toEqual({ ok: true, value: { uri, trustDomain, path } });
  });

  it("ID7: keep the case of the path", () => {
    expect(parseSpiffeId("spiffe://td/A")).not.toEqual(parseSpiffeId("spiffe://td/a"));
  });

  it("ID8: are taken only where the parser of the URL standard reads the same, and never where it repairs", () => {
    const piece = fc.constantFrom("/", ".", "..", "a", "B", "%2e", "?", "#", "@", ":", "td", "\t", "\\", "é");
    const text = fc.array(piece, { maxLength: 12 }).map((pieces) => `spiffe://${pieces.join("")}`);
    fc.assert(
      fc.property(text, (candidate) => {
        const parsed = parseSpiffeId(candidate);
        if (!parsed.ok) return;
        const url = new URL(candidate);
        expect(url.href).toBe(candidate);
        expect(url.host).toBe(parsed.value.trustDomain);
        expect(url.pathname).toBe(parsed.value.path);
      }),
      { numRuns: 2000 },
    );
    expect(new URL("spiffe://td/a/../b").pathname).toBe("/b");
  });

  it("name a trust domain that is a trust domain", () => {
    expect(trustDomainProblem("corp.example")).toBeUndefined();
    for (const wrong of ["", "Corp", "corp:80", "spiffe://corp", "a/b"])
      expect(trustDomainProblem(wrong)).toEqual(expect.any(String));
    expect(parseSpiffeId(trustDomainUri("corp"))).toMatchObject({ ok: true, value: { path: "" } });
  });
});
