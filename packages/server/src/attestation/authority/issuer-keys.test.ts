// SPDX-License-Identifier: Apache-2.0
import { createTestAuthority, type IssuerFault, startTokenIssuer, type TokenIssuer } from "@postern/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { callHttps } from "./call-https.ts";
import { discoveredKeys, IssuerKeys } from "./issuer-keys.ts";

const authority = await createTestAuthority();
let server: TokenIssuer;
beforeAll(
  async () => void (server = await startTokenIssuer({ authority, issuer: "https://issuer.example" })),
);
afterEach(() => server.setFault(undefined));
afterAll(() => server.close());

const LOOPBACK = ["127.0.0.0/8"];
const reach = () => ({
  allowedNetworks: LOOPBACK,
  caCertificates: authority.certificate,
  connectTo: { address: "127.0.0.1", port: server.port },
});
const clock = { time: 1_000_000_000, now: () => clock.time };
const newKeys = (more: object = {}) =>
  new IssuerKeys(discoveredKeys({ issuer: server.issuer, reach: { ...reach(), ...more } }), clock);
const kidOf = () => (JSON.parse(server.keySet()) as { keys: { kid: string }[] }).keys[0]!.kid;
const readsOf = async (work: () => Promise<unknown>) => {
  const before = server.requests.length;
  await work();
  return (server.requests.length - before) / 2;
};

describe("an issuer that cannot be trusted", () => {
  test.each<[IssuerFault, string]>([
    ["error", "authority_status_503"],
    ["redirect", "authority_redirects"],
    ["huge", "authority_answer_too_large"],
    ["compressed", "authority_answer_encoded"],
    ["no-json", "discovery_malformed"],
    ["another-issuer", "discovery_of_another_issuer"],
    ["keys-over-http", "discovery_malformed"],
  ])("with the fault %s gives no key, and the reason is %s", async (fault, reason) => {
    server.setFault(fault);
    expect(await newKeys().keysFor("k")).toEqual({ ok: false, reason });
  });

  test.each<[string, object, string]>([
    ["an address that is not listed", { allowedNetworks: [] }, "authority_address_prohibited"],
    ["a certificate of somebody else", { caCertificates: undefined }, "authority_tls_untrusted"],
    ["a port where nobody is", { connectTo: { address: "127.0.0.1", port: 1 } }, "authority_unreachable"],
  ])("at %s gives no key", async (_, more, reason) => {
    expect(await newKeys(more).keysFor("k")).toEqual({ ok: false, reason });
  });

  test("is refused where a name leads to an address that is not listed", async () => {
    const call = { url: new URL("https://localhost/"), method: "GET" } as const;
    expect(await callHttps(call, {}, AbortSignal.timeout(5000))).toEqual({
      ok: false,
      reason: "authority_address_prohibited",
    });
  });

  test("is refused where its certificate names another host", async () => {
    const call = { url: new URL("https://other.example/"), method: "GET" } as const;
    expect(await callHttps(call, reach(), AbortSignal.timeout(5000))).toEqual({
      ok: false,
      reason: "authority_tls_untrusted",
    });
  });

  test("is waited for no longer than the caller says", async () => {
    server.setFault("silence");
    const call = { url: new URL("https://issuer.example/"), method: "GET" } as const;
    expect(await callHttps(call, reach(), AbortSignal.timeout(100))).toEqual({
      ok: false,
      reason: "authority_timeout",
    });
  });
});

describe("the keys of an issuer", () => {
  test("are read once for all who ask at the same time", async () => {
    const keys = newKeys();
    const reads = await readsOf(() => Promise.all(Array.from({ length: 20 }, () => keys.keysFor(kidOf()))));
    expect(reads).toBe(1);
    expect(await keys.keysFor(kidOf())).toMatchObject({ ok: true, value: [{ id: kidOf() }] });
  });

  test("are not read again for every kid that a stranger makes up", async () => {
    const keys = newKeys();
    await keys.keysFor(kidOf());
    clock.time += 10_000;
    const reads = await readsOf(async () => {
      // eslint-disable-next-line no-await-in-loop
      for (let i = 0; i < 50; i++) expect(await keys.keysFor(`made-up-${i}`)).toMatchObject({ ok: true });
    });
    expect(reads).toBe(1);
  });

  test("are read again when a new one signs", async () => {
    const keys = newKeys();
    const old = kidOf();
    await keys.keysFor(old);
    server.rotate();
    clock.time += 10_000;
    expect(await keys.keysFor(kidOf())).toMatchObject({ ok: true, value: [{ id: kidOf() }] });
  });

  test("end where the issuer takes them back, five minutes later at most", async () => {
    const keys = newKeys();
    const kid = kidOf();
    await keys.keysFor(kid);
    server.setFault("no-keys");
    clock.time += 5 * 60_000;
    expect(await keys.keysFor(kid)).toEqual({ ok: true, value: [] });
  });

  test("that were taken back do not come back with a clock that is set back", async () => {
    const keys = newKeys();
    const kid = kidOf();
    await keys.keysFor(kid);
    server.setFault("no-keys");
    clock.time -= 86_400_000;
    expect(await keys.keysFor(kid)).toEqual({ ok: true, value: [] });
    server.setFault("error");
    clock.time -= 86_400_000;
    expect(await keys.keysFor(kid)).toEqual({ ok: false, reason: "authority_status_503" });
  });

  test("serve an hour while the issuer is down, those that are unknown not at all, and nobody afterwards", async () => {
    const keys = newKeys();
    await keys.keysFor(kidOf());
    server.setFault("error");
    clock.time += 59 * 60_000;
    expect(await keys.keysFor(kidOf())).toMatchObject({ ok: true, value: [{ id: kidOf() }] });
    expect(await keys.keysFor("unknown")).toEqual({ ok: false, reason: "authority_status_503" });
    clock.time += 2 * 60_000;
    expect(await keys.keysFor(kidOf())).toEqual({ ok: false, reason: "authority_status_503" });
    server.setFault(undefined);
    clock.time += 10_000;
    expect(await keys.keysFor(kidOf())).toMatchObject({ ok: true, value: [{ id: kidOf() }] });
  });
});
