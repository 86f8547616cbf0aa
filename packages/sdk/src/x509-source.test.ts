// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { constraints, names, usage } from "@postern/identity/svid.fixture";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { SpiffeError } from "./spiffe-error.ts";
import { answerFor, liveKey, LiveDomain, svidMessage, x509Response } from "./trust-domain.fixture.ts";
import { FakeWorkloadApi } from "./workload-api.fixture.ts";
import { X509Source } from "./x509-source.ts";

const METHOD = "FetchX509SVID";
const UNAVAILABLE = 14;
const DENIED = 7;
const INVALID_ARGUMENT = 3;

const domain = new LiveDomain();
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function startApi(...how: Parameters<typeof FakeWorkloadApi.start>): Promise<FakeWorkloadApi> {
  const api = await FakeWorkloadApi.start(...how);
  cleanups.push(() => api.stop());
  return api;
}

async function openSource(api: FakeWorkloadApi, problems: SpiffeError[] = []): Promise<X509Source> {
  const source = await X509Source.open({ endpoint: api.endpoint, onProblem: (each) => problems.push(each) });
  cleanups.push(() => source.close());
  return source;
}

const nextChange = (source: X509Source): Promise<void> =>
  new Promise((resolve) => {
    const stop = source.onChange(() => (stop(), resolve()));
  });

describe("the way to the Workload API", () => {
  it("EP-1: is found by SPIFFE_ENDPOINT_SOCKET", async () => {
    const api = (await startApi()).answer(METHOD, { message: answerFor(domain) });
    vi.stubEnv("SPIFFE_ENDPOINT_SOCKET", api.endpoint);
    const source = await X509Source.open();
    cleanups.push(() => source.close());
    expect(source.svid.id.uri).toBe("spiffe://example.org/workload");
  });

  it("EP-2: is taken with the security header on every call", async () => {
    const api = (await startApi()).answer(METHOD, { status: UNAVAILABLE }, { message: answerFor(domain) });
    await openSource(api);
    expect(api.calls.length).toBe(2);
    for (const { headers } of api.calls) expect(headers["workload.spiffe.io"]).toBe("true");
  });

  it("EP-3: may be TCP", async () => {
    const api = (await startApi("tcp")).answer(METHOD, { message: answerFor(domain) });
    expect((await openSource(api)).svid.id.path).toBe("/workload");
  });

  it.each([
    ["EP-5", UNAVAILABLE],
    ["EP-6", DENIED],
  ])("%s, W15: is tried again after status %3$s, later each time", async (_, status) => {
    const refusal = { status };
    const api = (await startApi()).answer(METHOD, refusal, refusal, refusal, { message: answerFor(domain) });
    const problems: SpiffeError[] = [];
    await openSource(api, problems);
    const times = api.calls.map(({ at }) => at);
    expect(problems.map((each) => each.status)).toEqual([status, status, status]);
    const pauses = times.slice(1).map((at, index) => at - times[index]!);
    expect(Math.min(...pauses)).toBeGreaterThan(50);
  });

  it("EP-7, W15: is given up after InvalidArgument", async () => {
    const api = (await startApi()).answer(METHOD, { status: INVALID_ARGUMENT });
    await expect(openSource(api)).rejects.toMatchObject({ code: "workload_api", status: INVALID_ARGUMENT });
    expect(api.calls.length).toBe(1);
  });

  it("EP-8: is tried again where nobody listens yet", async () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-sdk-"));
    cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "late.sock");
    const lost = Promise.withResolvers<SpiffeError>();
    const opening = X509Source.open({ endpoint: `unix://${path}`, onProblem: lost.resolve });
    expect(await lost.promise).toMatchObject({ code: "workload_api", status: UNAVAILABLE });
    const api = await startApi("unix", path);
    api.answer(METHOD, { message: answerFor(domain) });
    const source = await opening;
    cleanups.push(() => source.close());
    expect(source.svids.length).toBe(1);
  });

  it("ends when the caller gives up waiting", async () => {
    const api = (await startApi()).answer(METHOD, { silent: true });
    const waiting = new AbortController();
    const opening = X509Source.open({ endpoint: api.endpoint, signal: waiting.signal });
    waiting.abort();
    await expect(opening).rejects.toMatchObject({ code: "workload_api", status: 1 });
  });
});

describe("a stream that ends", () => {
  it("WA-1, W15: is opened again, and what was given stays until then", async () => {
    const api = (await startApi()).answer(METHOD, { message: answerFor(domain) });
    const source = await openSource(api);
    api.answer(METHOD, { message: answerFor(domain, domain.svid("/second")) });
    api.end(METHOD, UNAVAILABLE);
    expect(source.svid.id.path).toBe("/workload");
    await nextChange(source);
    expect(source.svid.id.path).toBe("/second");
  });

  it("WA-4, W7: with PermissionDenied takes the identity and all trust away", async () => {
    const api = (await startApi()).answer(METHOD, { message: answerFor(domain) });
    const source = await openSource(api);
    api.answer(METHOD, { status: DENIED });
    api.end(METHOD, DENIED);
    await nextChange(source);
    expect(() => source.svid).toThrow(expect.objectContaining({ code: "no_identity" }) as Error);
    expect(source.bundleOf("example.org")).toBeUndefined();
  });
});

describe("an answer", () => {
  const svid = domain.svid();
  const empty = Buffer.alloc(0);
  const other = new LiveDomain();
  const broken = Buffer.concat(svid.chain);
  broken[broken.length - 1]! ^= 1;
  const of = (...message: Parameters<typeof svidMessage>): Buffer => x509Response([svidMessage(...message)]);
  const HOUR = 3_600_000;

  it.each([
    ["WA-2, W15: without svids", empty],
    ["WA-2, W15: with an empty spiffe_id", of(svid, [domain.authority], { spiffeId: "" })],
    ["WA-2, W15: with an empty x509_svid", of(svid, [domain.authority], { chain: empty })],
    ["WA-2, W15: with an empty x509_svid_key", of(svid, [domain.authority], { key: empty })],
    ["WA-2, W15: with an empty bundle", of(svid, [])],
    ["HX-1: with a wrong signature", of(svid, [domain.authority], { chain: broken })],
    ["HX-2: that does not lead to its own bundle", of(svid, [other.authority])],
    ["HX-3: that has ended", of(domain.svid("/a", { notAfter: Date.now() - HOUR }), [domain.authority])],
    ["HX-4: of an authority", of(domain.svid("/a", { constraints: constraints(true) }), [domain.authority])],
    ["HX-5: that may sign", of(domain.svid("/a", { usage: usage(0x84, 2) }), [domain.authority])],
    [
      "HX-6: with two URIs",
      of(domain.svid("/a", { names: names(["spiffe://example.org/a", "spiffe://example.org/b"]) }), [
        domain.authority,
      ]),
    ],
    [
      "HX-7: with a URI of another scheme",
      of(domain.svid("/a", { names: names(["https://example.org/a"]) }), [domain.authority]),
    ],
    ["HX-8: with the key of somebody else", of(svid, [domain.authority], { key: liveKey().pkcs8 })],
    ["with a key that is none", of(svid, [domain.authority], { key: Buffer.from("no key") })],
    [
      "HX-9: with another ID than its certificate",
      of(svid, [domain.authority], { spiffeId: "spiffe://example.org/b" }),
    ],
    ["with an ID that is none", of(svid, [domain.authority], { spiffeId: "spiffe://Example.org/b" })],
    ["that is cut off", answerFor(domain).subarray(0, 40)],
    [
      "with one good SVID behind a bad one",
      x509Response([
        svidMessage(svid, [domain.authority], { key: liveKey().pkcs8 }),
        svidMessage(domain.svid("/b"), [domain.authority]),
      ]),
    ],
  ])("%s is not taken, and what was there stays", async (_, message) => {
    const first = domain.svid("/first");
    const api = (await startApi()).answer(METHOD, { message: answerFor(domain, first) });
    const problems: SpiffeError[] = [];
    const source = await openSource(api, problems);
    const seen: string[] = [];
    source.onChange(() => seen.push(source.svids.map(({ id }) => id.path).join()));
    const changed = nextChange(source);
    api.push(METHOD, message);
    api.push(METHOD, answerFor(domain, domain.svid("/barrier")));
    await changed;
    expect(seen).toEqual(["/barrier"]);
    expect(problems.map(({ code }) => code)).toEqual(["response_invalid"]);
    expect(JSON.stringify(problems.map(String))).not.toContain(
      first.key.pkcs8.toString("base64").slice(0, 20),
    );
  });

  it("WA-3, W10: names the default identity first", async () => {
    const [a, b] = [domain.svid("/a"), domain.svid("/b")].map((each) =>
      svidMessage(each, [domain.authority]),
    );
    const api = (await startApi()).answer(METHOD, { message: x509Response([a!, b!]) });
    const source = await openSource(api);
    expect(source.svid.id.path).toBe("/a");
    const changed = nextChange(source);
    api.push(METHOD, x509Response([b!, a!]));
    await changed;
    expect(source.svid.id.path).toBe("/b");
  });

  it("W9: with a hint twice means the first", async () => {
    const messages = ["/a", "/b", "/c"].map((path, index) =>
      svidMessage(domain.svid(path), [domain.authority], { hint: index === 0 ? "external" : "internal" }),
    );
    const api = (await startApi()).answer(METHOD, { message: x509Response(messages) });
    const source = await openSource(api);
    expect(source.svidWithHint("internal")?.id.path).toBe("/b");
    expect(source.svidWithHint("none")).toBeUndefined();
  });

  it("W7: wipes every identity and every trust domain that it does not name", async () => {
    const message = (paths: readonly string[], federated = {}) =>
      x509Response(
        paths.map((path) => svidMessage(domain.svid(path), [domain.authority])),
        federated,
      );
    const partner = new LiveDomain("partner.org");
    const api = (await startApi()).answer(METHOD, {
      message: message(["/a", "/b"], { "partner.org": [partner.authority] }),
    });
    const source = await openSource(api);
    expect(source.svids.length).toBe(2);
    expect(source.bundleOf("partner.org")?.x509Authorities.length).toBe(1);
    const changed = nextChange(source);
    api.push(METHOD, message(["/a"]));
    await changed;
    expect(source.svids.length).toBe(1);
    expect(source.bundleOf("partner.org")).toBeUndefined();
  });

  it("F9, X10: keeps a partner from speaking for the own trust domain", async () => {
    const api = (await startApi()).answer(METHOD, {
      message: x509Response([svidMessage(svid, [domain.authority])], { "example.org": [other.authority] }),
    });
    const source = await openSource(api);
    const [authority, ...more] = source.bundleOf("example.org")!.x509Authorities;
    expect(more).toEqual([]);
    expect(authority!.der.equals(domain.authority.der)).toBe(true);
  });
});

describe("an identity", () => {
  it("is nobody's any more once it has ended", async () => {
    const soon = domain.svid("/soon", { notAfter: Date.now() + 1000 });
    const api = (await startApi()).answer(METHOD, { message: answerFor(domain, soon) });
    const source = await openSource(api);
    expect(source.svid.id.path).toBe("/soon");
    await nextChange(source);
    expect(source.svids).toEqual([]);
  });

  it("is not shown by whoever prints the source or an error about it", async () => {
    const api = (await startApi()).answer(METHOD, { message: answerFor(domain) });
    const source = await openSource(api);
    const scalar = source.svid.privateKey.export({ format: "jwk" }).d!;
    const shown = inspect(source.svid, { depth: 9, showHidden: true }) + JSON.stringify(source.svid);
    for (const form of ["base64url", "base64", "hex"] as const)
      expect(shown).not.toContain(Buffer.from(scalar, "base64url").toString(form).slice(0, 16));
    expect(shown).toContain("PrivateKeyObject");
  });
});
