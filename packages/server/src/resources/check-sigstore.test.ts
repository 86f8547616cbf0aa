// SPDX-License-Identifier: Apache-2.0
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import type { SigstoreSpec } from "@postern/contract";
import { createSigstore, signerByKey } from "@postern/testkit";
import { describe, expect, test } from "vitest";
import { sigstoreProblems } from "./check-sigstore.ts";

const { trustedRoot } = await createSigstore();
const ISSUER = "https://token.actions.githubusercontent.com";
const release = {
  name: "release",
  identity: "https://github.com/corp/a/.github/workflows/r.yml@refs/heads/main",
  issuer: ISSUER,
};
const keyed = { name: "key", publicKey: signerByKey().publicKey, requireLog: false };
const good: SigstoreSpec = { registries: [{ host: "ghcr.io" }], trustedRoot, signers: [release, keyed] };
const problems = (change: Partial<SigstoreSpec>) =>
  sigstoreProblems({ ...good, ...change }).map(([path, message]) => `${path.join(".")}: ${message}`);
const root = JSON.parse(trustedRoot) as Record<string, Record<string, unknown>[]>;
const pattern = (identityPattern: string, more = {}) => [
  { name: "r", identityPattern, issuer: ISSUER, ...more },
];

const pem = (key: KeyObject): string =>
  key.export({ format: "pem", type: key.type === "private" ? "pkcs8" : "spki" });

test("what can work is taken", () => {
  expect(problems({})).toEqual([]);
});

describe("a signer is refused", () => {
  test.each<[string, SigstoreSpec["signers"], RegExp]>([
    [
      "that is a private key, without quoting it",
      [{ ...keyed, publicKey: pem(generateKeyPairSync("ed25519").privateKey) }],
      /^signers\.0\.publicKey: holds a private key/,
    ],
    [
      "that is no key",
      [{ ...keyed, publicKey: "ssh-ed25519 AAAA" }],
      /^signers\.0\.publicKey: is no public key/,
    ],
    [
      "that is a weak key",
      [{ ...keyed, publicKey: pem(generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey) }],
      /^signers\.0\.publicKey: is no public key/,
    ],
    ["that is everybody", pattern("*"), /takes in strangers/],
    ["that is everybody of a host", pattern("https://github.com/*"), /takes in strangers/],
    [
      "that is everybody whose name begins alike",
      pattern("https://github.com/corp*/x"),
      /takes in strangers/,
    ],
    ["that is any host", pattern("https://*/corp/a"), /takes in strangers/],
    ["that is a user of another host", pattern("https://github.com@*/corp/a/"), /takes in strangers/],
    ["that is a domain that begins alike", pattern("*@corp.example*"), /takes in strangers/],
    ["that is half a domain", pattern("*corp.example"), /takes in strangers/],
  ])("%s", (_, signers, message) => {
    const found = problems({ signers });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
    expect(found[0]).not.toContain("MC4CAQ");
  });

  test("that needs a trusted root which is not there, or which holds no authority", () => {
    expect(problems({ trustedRoot: undefined })).toEqual([
      expect.stringContaining("signers.0.issuer: needs a `trustedRoot`"),
    ]);
    const bare = JSON.stringify({ mediaType: root["mediaType"] });
    expect(problems({ trustedRoot: bare })).toHaveLength(1);
    expect(problems({ trustedRoot: bare, signers: [{ ...keyed, requireLog: true }] })).toEqual([
      "signers.0.requireLog: needs a `trustedRoot` with a log",
    ]);
  });

  test("not where its owner is written out", () => {
    for (const each of ["https://github.com/corp/*", "*@corp.example", "spiffe://corp/*"])
      expect(problems({ signers: pattern(each) }), each).toEqual([]);
    expect(problems({ signers: pattern("https://github.com/*", { ownerId: "1" }) })).toEqual([]);
  });
});

describe("a trusted root is refused", () => {
  const [log] = root["tlogs"]!;
  const [authority] = root["certificateAuthorities"]!;
  const withLog = (change: object) => JSON.stringify({ ...root, tlogs: [{ ...log, ...change }] });
  const withAuthority = (change: object) =>
    JSON.stringify({ ...root, certificateAuthorities: [{ ...authority, ...change }] });
  const publicKey = log!["publicKey"] as object;
  test.each<[string, string, RegExp]>([
    ["that is no JSON", "{", /holds no JSON/],
    [
      "that says something twice",
      trustedRoot.replace("{", '{"tlogs":[],'),
      /holds no JSON object, or says something twice/,
    ],
    ["that is something else", "{}", /is no trusted root/],
    [
      "whose log always counted",
      withLog({ publicKey: { ...publicKey, validFor: {} } }),
      /log without `validFor.start`/,
    ],
    [
      "whose log ends some day",
      withLog({ publicKey: { ...publicKey, validFor: { start: "2020-01-01T00:00:00Z", end: "soon" } } }),
      /malformed/,
    ],
    [
      "whose log has no key",
      withLog({ publicKey: { ...publicKey, rawBytes: "AAAA" } }),
      /key cannot be read/,
    ],
    ["whose log has no id", withLog({ logId: {} }), /without `logId`/],
    ["whose log has no place", withLog({ baseUrl: "" }), /without `baseUrl`/],
    ["whose logs are no list", JSON.stringify({ ...root, tlogs: {} }), /no usable list of logs/],
    [
      "whose authority has no certificate",
      withAuthority({ certChain: { certificates: [] } }),
      /without certificates/,
    ],
    [
      "whose authority has a broken one",
      withAuthority({ certChain: { certificates: [{ rawBytes: "MAA=" }] } }),
      /certificate cannot be read/,
    ],
    [
      "whose authority always counted",
      withAuthority({ validFor: undefined }),
      /authority without `validFor.start`/,
    ],
  ])("%s", (_, text, message) => {
    expect(problems({ trustedRoot: text })).toEqual([expect.stringMatching(message)]);
  });
});

test("a registry is refused that is there twice, or that cannot be looked up by its name alone", () => {
  expect(problems({ registries: [{ host: "ghcr.io" }, { host: "ghcr.io" }] })).toEqual([
    expect.stringContaining("registries.1.host: is listed twice"),
  ]);
  expect(problems({ registries: [{ host: "registry:5000" }] })).toEqual([
    expect.stringContaining("registries.0.host: the host"),
  ]);
  expect(problems({ registries: [{ host: "localhost:5000" }] })).toHaveLength(1);
  expect(problems({ registries: [{ host: "ghcr.io", caCertificates: "x" }] })).toEqual([
    expect.stringContaining("registries.0.caCertificates"),
  ]);
});
