// SPDX-License-Identifier: Apache-2.0
/** What is left of an identity, and of trust, where the Workload API does anything but what the standard says? */
import { once } from "node:events";
import { createServer as createHttp2, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { field, mapField } from "@postern/identity/protobuf";
import { afterEach, describe, expect, it } from "vitest";
import { BundleSource } from "./bundle-source.ts";
import { JwtSource } from "./jwt-source.ts";
import type { SpiffeError } from "./spiffe-error.ts";
import { answerFor, LiveDomain, type LiveSvid, svidMessage, x509Response } from "./trust-domain.fixture.ts";
import { FakeWorkloadApi, grpcFrame } from "./workload-api.fixture.ts";
import { X509Source } from "./x509-source.ts";

const METHOD = "FetchX509SVID";
const DENIED = 7;
const domain = new LiveDomain();
const [first, second] = [domain.svid("/first"), domain.svid("/second")];

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const nextChange = (source: { onChange(listener: () => void): () => void }): Promise<void> =>
  new Promise((resolve) => {
    const stop = source.onChange(() => (stop(), resolve()));
  });

async function startApi(): Promise<FakeWorkloadApi> {
  const api = await FakeWorkloadApi.start();
  cleanups.push(() => api.stop());
  return api;
}

async function openSource(endpoint: string, onProblem?: (problem: SpiffeError) => void): Promise<X509Source> {
  const source = await X509Source.open({ endpoint, ...(onProblem && { onProblem }) });
  cleanups.push(() => source.close());
  return source;
}

type Misbehave = (stream: ServerHttp2Stream) => void;
const GRPC = { ":status": 200, "content-type": "application/grpc" };

/** Gives the first identity, then misbehaves on that stream; later streams get the second identity. */
async function startHostile(misbehave: Misbehave): Promise<string> {
  const server = createHttp2();
  const sessions = new Set<ServerHttp2Session>();
  let calls = 0;
  server.on("session", (session) => {
    session.on("error", () => {});
    sessions.add(session);
  });
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => {});
    stream.resume();
    stream.respond(GRPC, { waitForTrailers: true });
    const isFirst = calls++ === 0;
    stream.write(grpcFrame(answerFor(domain, isFirst ? first : second)), () => isFirst && misbehave(stream));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => (sessions.forEach((each) => each.destroy()), server.close()));
  return `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const frameOf = (length: number): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(length, 1);
  return head;
};

const MISBEHAVIOURS: readonly (readonly [string, Misbehave])[] = [
  ["resets the stream as a protocol error", (stream) => stream.close(1)],
  ["resets the stream as an internal error", (stream) => stream.close(2)],
  ["cancels the stream", (stream) => stream.close(8)],
  ["asks for calm", (stream) => stream.session!.goaway(11, 0, Buffer.from("calm"))],
  ["ends the session", (stream) => stream.session!.destroy()],
  ["tears the connection down", (stream) => stream.session!.socket.destroy()],
  ["announces four gigabytes", (stream) => stream.write(frameOf(0xffffffff))],
  ["announces one byte too many", (stream) => stream.write(frameOf(8_388_609))],
  ["announces a message and ends in the middle of it", (stream) => stream.end(frameOf(1000))],
  ["sends a compressed message", (stream) => stream.write(grpcFrame(Buffer.from("x"), 1))],
  [
    "has a status that is none",
    (stream) => {
      stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "-1" }));
      stream.end();
    },
  ],
  [
    "has a message that cannot be decoded",
    (stream) => {
      stream.once("wantTrailers", () =>
        stream.sendTrailers({ "grpc-status": "14", "grpc-message": "%E0%A4%A" }),
      );
      stream.end();
    },
  ],
];

describe("a Workload API that misbehaves behind a good answer", () => {
  it.each(MISBEHAVIOURS)("and %s takes nothing away, and is asked again", async (_, misbehave) => {
    const source = await openSource(await startHostile(misbehave));
    expect(source.svid.id.path).toBe("/first");
    await nextChange(source);
    expect(source.svid.id.path).toBe("/second");
  });

  it("closes its socket to whoever comes, and gives no identity that was not there", async () => {
    let connections = 0;
    const server = createServer((socket: Socket) => {
      connections++;
      socket.on("error", () => {});
      socket.resetAndDestroy();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanups.push(() => server.close());
    const waiting = new AbortController();
    const endpoint = `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
    let problems = 0;
    const onProblem = (): void => void (++problems === 3 && waiting.abort());
    await expect(X509Source.open({ endpoint, signal: waiting.signal, onProblem })).rejects.toMatchObject({
      code: "workload_api",
    });
    expect(connections).toBe(3);
  });
});

describe("an answer that is large", () => {
  const certificates = (count: number): Buffer =>
    Buffer.concat(Array<Buffer>(count).fill(domain.authority.der));
  const withBundle = (bundle: Buffer): Buffer => x509Response([svidMessage(second, [], { bundle })]);

  it.each([
    ["seven million bytes that mean nothing", Buffer.alloc(7_000_000, 0xff)],
    ["one field of seven million bytes", field(1, Buffer.alloc(7_000_000))],
    ["seven million empty fields", Buffer.alloc(7_000_000).fill(Buffer.from([0x22, 0x00]))],
    ["more authorities than anybody has", withBundle(certificates(1001))],
    [
      "a chain without end",
      x509Response([svidMessage(second, [domain.authority], { chain: certificates(1000) })]),
    ],
    ["a hundred thousand identities", Buffer.concat(Array<Buffer>(100_000).fill(field(1, "")))],
  ])("%s: is not taken, and what was there stays", async (_, message) => {
    const api = (await startApi()).answer(METHOD, { message: answerFor(domain, first) });
    const problems: SpiffeError[] = [];
    const source = await openSource(api.endpoint, (each) => problems.push(each));
    const seen: string[] = [];
    source.onChange(() => seen.push(source.svid.id.path));
    const changed = nextChange(source);
    api.push(METHOD, message);
    api.push(METHOD, answerFor(domain, second));
    await changed;
    expect(seen).toEqual(["/second"]);
    expect(problems.map(({ code }) => code)).toEqual(["response_invalid"]);
  });

  it("five hundred authorities are taken, and each is believed", async () => {
    const message = withBundle(certificates(500));
    const api = (await startApi()).answer(METHOD, { message });
    const source = await openSource(api.endpoint);
    expect(source.bundleOf("example.org")?.x509Authorities.length).toBe(500);
  });
});

describe("bundles", () => {
  const METHODS = { x509: "FetchX509Bundles", jwt: "FetchJWTBundles" } as const;
  const x509 = (bundles: Readonly<Record<string, Buffer>>): Buffer =>
    Buffer.concat(Object.entries(bundles).map(([name, bytes]) => mapField(2, name, bytes)));
  const jwt = (bundles: Readonly<Record<string, string>>): Buffer =>
    Buffer.concat(Object.entries(bundles).map(([name, text]) => mapField(1, name, Buffer.from(text))));

  it("B1: that are empty believe nobody, which is not the same as none", async () => {
    const api = await startApi();
    api.answer(METHODS.x509, { message: x509({ "spiffe://example.org": domain.authority.der }) });
    const source = await BundleSource.open({ endpoint: api.endpoint });
    cleanups.push(() => source.close());
    expect(source.bundleOf("example.org")?.x509Authorities.length).toBe(1);
    const changed = nextChange(source);
    api.push(METHODS.x509, Buffer.alloc(0));
    api.push(METHODS.x509, x509({ "spiffe://example.org": Buffer.alloc(0) }));
    await changed;
    expect(source.bundleOf("example.org")?.x509Authorities).toEqual([]);
  });

  it.each(["", "spiffe://", "spiffe://Example.org", "spiffe://example.org/a", "https://example.org", "a b"])(
    "under a name that is none are left out, and nothing else: %j",
    async (name) => {
      const api = await startApi();
      const good = { "spiffe://example.org": domain.authority.der };
      api.answer(METHODS.x509, { message: x509({ [name]: domain.authority.der, ...good }) });
      const problems: SpiffeError[] = [];
      const source = await BundleSource.open({
        endpoint: api.endpoint,
        onProblem: (each) => problems.push(each),
      });
      cleanups.push(() => source.close());
      expect(source.bundleOf("example.org")?.x509Authorities.length).toBe(1);
      expect(problems.map(({ code }) => code)).toEqual(["response_invalid"]);
    },
  );

  it.each(["", "{", "[]", "null", '{"keys":1}', '{"keys":[],"keys":[]}', "[".repeat(500_000)])(
    "for tokens that are no JWK Set leave their trust domain without anybody, %#",
    async (text) => {
      const api = await startApi();
      const bundles = { "spiffe://example.org": '{"keys":[]}', "spiffe://partner.org": text };
      api.answer(METHODS.jwt, { message: jwt(bundles) });
      const source = await JwtSource.open({ endpoint: api.endpoint });
      cleanups.push(() => source.close());
      expect(source.bundleOf("example.org")?.jwtAuthorities).toEqual([]);
      expect(source.bundleOf("partner.org")).toBeUndefined();
    },
  );
});

it("a rotation to another trust domain takes all trust in the one before away", async () => {
  const next = new LiveDomain("next.example");
  const api = (await startApi()).answer(METHOD, { message: answerFor(domain, first) });
  const source = await openSource(api.endpoint);
  const changed = nextChange(source);
  api.push(METHOD, answerFor(next, next.svid("/first")));
  await changed;
  expect(source.svid.id.uri).toBe("spiffe://next.example/first");
  expect(source.bundleOf("example.org")).toBeUndefined();
  expect(source.bundleOf("next.example")?.x509Authorities.length).toBe(1);
});

describe("somebody of our own who throws", () => {
  const answered = async (svid: LiveSvid): Promise<FakeWorkloadApi> =>
    (await startApi()).answer(METHOD, { message: answerFor(domain, svid) });

  it("when told of a change keeps nobody else from hearing of it", async () => {
    const api = await answered(first);
    const problems: SpiffeError[] = [];
    const source = await openSource(api.endpoint, (each) => problems.push(each));
    source.onChange(() => {
      throw new Error("a listener with a mistake");
    });
    const changed = nextChange(source);
    api.push(METHOD, answerFor(domain, second));
    await changed;
    expect(problems.map(({ code }) => code)).toEqual(["listener_failed"]);
  });

  it("when told of a problem does not keep an identity that was taken back", async () => {
    const api = await answered(first);
    const source = await openSource(api.endpoint, () => {
      throw new Error("the disk of the log is full");
    });
    api.answer(METHOD, { status: DENIED }, { message: answerFor(domain, second) });
    const changed = nextChange(source);
    api.end(METHOD, DENIED);
    await changed;
    expect(source.svids).toEqual([]);
    await nextChange(source);
    expect(source.svid.id.path).toBe("/second");
  });
});
