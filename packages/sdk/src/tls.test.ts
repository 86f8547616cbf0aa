// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { connect as connectHttp2, createSecureServer, type ServerHttp2Stream } from "node:http2";
import { request as httpsRequest } from "node:https";
import type { AddressInfo } from "node:net";
import { connect, createServer, type Server, type TLSSocket } from "node:tls";
import * as certificate from "@postern/identity/certificate";
import * as der from "@postern/identity/der";
import { constraints, type HandMade, names, usage } from "@postern/identity/svid.fixture";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { anyId, anyOf, type Authorize, exactId, memberOf } from "./authorize.ts";
import { peerIdOf } from "./peer.ts";
import type { SpiffeError } from "./spiffe-error.ts";
import { connectTls, SpiffeAgent, spiffeFetch } from "./tls-client.ts";
import { admitOnly, createSpiffeServer, createSpiffeTlsServer, serverOptions } from "./tls-server.ts";
import {
  type LiveAuthority,
  LiveDomain,
  type LiveSvid,
  svidMessage,
  x509Response,
} from "./trust-domain.fixture.ts";
import { FakeWorkloadApi } from "./workload-api.fixture.ts";
import { X509Source } from "./x509-source.ts";

const METHOD = "FetchX509SVID";
const HOUR = 3_600_000;
const domain = new LiveDomain();
const partner = new LiveDomain("partner.org");
const stranger = new LiveDomain();
const address = new LiveDomain("10.0.0.1");
const FEDERATED = { "partner.org": [partner.authority], "10.0.0.1": [address.authority] };

const cleanups: (() => unknown)[] = [];
let api: FakeWorkloadApi;
let source: X509Source;
beforeEach(async () => {
  api = await FakeWorkloadApi.start();
  api.answer(METHOD, { message: withTrust([domain.authority], FEDERATED) });
  source = await X509Source.open({ endpoint: api.endpoint });
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  source.close();
  await api.stop();
});

const own = domain.svid("/own");
const withTrust = (
  authorities: readonly LiveAuthority[],
  federated: Readonly<Record<string, readonly LiveAuthority[]>> = {},
  svid = own,
): Buffer => x509Response([svidMessage(svid, authorities)], federated);

async function push(message: Buffer): Promise<void> {
  const changed = new Promise<void>((resolve) => {
    const stop = source.onChange(() => (stop(), resolve()));
  });
  api.push(METHOD, message);
  await changed;
}

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

const pem = (svid: LiveSvid) => ({
  cert: svid.chain.map((each) => certificate.certificatePem(each)).join(""),
  key: svid.key.privateKey.export({ format: "pem", type: "pkcs8" }),
});

/** Somebody's TLS client shows this certificate to our server; gives what our server answers, empty where it is refused. */
function present(
  port: number,
  svid: LiveSvid | undefined,
): Promise<{ answer: string; shown: Buffer | undefined }> {
  const { promise, resolve } = Promise.withResolvers<{ answer: string; shown: Buffer | undefined }>();
  const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...(svid && pem(svid)) });
  let answer = "";
  let shown: Buffer | undefined;
  socket.on("secureConnect", () => (shown = socket.getPeerX509Certificate()?.raw));
  socket.on("data", (chunk: Buffer) => (answer += chunk.toString()));
  socket.on("error", () => {});
  socket.on("close", () => resolve({ answer, shown }));
  return promise;
}

async function startServer(authorize: Authorize = anyId): Promise<{ port: number; refused: SpiffeError[] }> {
  const refused: SpiffeError[] = [];
  const rules = { source, authorize, onRefused: (problem: SpiffeError) => refused.push(problem) };
  const server = createSpiffeTlsServer(rules, (socket, peer) => {
    socket.on("error", () => {});
    socket.end(`${peer.uri}\n`);
  });
  return { port: await listen(server), refused };
}

/** Our client calls somebody's TLS server that shows this certificate; gives its ID, or why not. */
async function dial(svid: LiveSvid, authorize: Authorize = anyId): Promise<string> {
  const server = createServer({ ...pem(svid), requestCert: true, rejectUnauthorized: false }, (socket) => {
    socket.on("error", () => {});
    socket.end();
  });
  server.on("tlsClientError", () => {});
  const port = await listen(server);
  try {
    const socket = await connectTls({ host: "127.0.0.1", port, source, authorize });
    socket.destroy();
    return peerIdOf(socket).uri;
  } catch (error) {
    return (error as SpiffeError).reason ?? (error as SpiffeError).code;
  }
}

const dnsAndUri = (uri: string): Buffer =>
  certificate.extension(
    "2.5.29.17",
    true,
    der.sequence(der.implicit(2, Buffer.from("api.example.org")), der.implicit(6, Buffer.from(uri))),
  );

const leaf = (given: HandMade): LiveSvid => domain.svid("/peer", given);

const GOOD: readonly (readonly [string, LiveSvid])[] = [
  ["XV-1: the plain one", domain.svid("/peer")],
  ["XV-2: one below an intermediate", domain.svid("/peer", {}, domain.newIntermediate())],
  ["XV-3: one with a DNS name too", leaf({ names: dnsAndUri("spiffe://example.org/peer") })],
  ["XV-4: one without a subject and with critical names", leaf({ subject: der.sequence() })],
  ["one with a subject", leaf({ subject: certificate.name("peer") })],
  ["XF-1: one of a partner", partner.svid("/peer")],
  ["ID-2: one of a trust domain that looks like an address", address.svid("/peer")],
];

const BAD: readonly (readonly [string, string, LiveSvid])[] = [
  ["XV-5: of an authority that nobody believes", "not_signed_by_trust_domain", stranger.svid("/peer")],
  ["XV-6: that has ended", "expired", leaf({ notAfter: Date.now() - HOUR / 2 })],
  ["XV-7: that has not begun", "not_yet_valid", leaf({ notBefore: Date.now() + HOUR / 2 })],
  ["XV-8: of an authority", "leaf_is_authority", leaf({ constraints: constraints(true) })],
  ["XV-9: with keyCertSign", "leaf_usage_wrong", leaf({ usage: usage(0x84, 2) })],
  ["XV-10: with cRLSign", "leaf_usage_wrong", leaf({ usage: usage(0x82, 1) })],
  [
    "XV-11: with two URIs",
    "leaf_names_wrong",
    leaf({ names: names(["spiffe://example.org/peer", "spiffe://example.org/b"]) }),
  ],
  ["XV-12: without a URI", "leaf_names_wrong", leaf({ names: undefined, subject: certificate.name("peer") })],
  [
    "XV-13: with a URI of another scheme",
    "spiffe_id_malformed",
    leaf({ names: names(["https://example.org/a"]) }),
  ],
  ["XV-14: without a path", "spiffe_id_without_path", leaf({ names: names(["spiffe://example.org"]) })],
  [
    "XV-15: of a trust domain without a bundle, by an authority of ours",
    "trust_domain_unknown",
    leaf({ names: names(["spiffe://other.example.org/x"]) }),
  ],
  [
    "XF-2: of a partner, by an authority of ours",
    "not_signed_by_trust_domain",
    leaf({ names: names(["spiffe://partner.org/peer"]) }),
  ],
  [
    "XF-2: of ours, by an authority of a partner",
    "not_signed_by_trust_domain",
    partner.svid("/peer", { names: names(["spiffe://example.org/peer"]) }),
  ],
  [
    "ID-1: with an ID that is none",
    "spiffe_id_malformed",
    leaf({ names: names(["spiffe://example.org/a/../b"]) }),
  ],
  [
    "below an intermediate that is no authority",
    "authority_not_one",
    domain.svid("/peer", {}, domain.newIntermediate({ constraints: constraints(false) })),
  ],
];

describe("a peer's certificate", () => {
  it.each(BAD)("is refused by our server, %s", async (_, reason, svid) => {
    const { port, refused } = await startServer();
    expect((await present(port, domain.svid("/control"))).answer).toBe("spiffe://example.org/control\n");
    expect((await present(port, svid)).answer).toBe("");
    expect(refused).toMatchObject([{ code: "peer_untrusted", reason }]);
  });

  it.each(BAD)("is refused by our client, %s", async (_, reason, svid) => {
    expect(await dial(domain.svid("/control"))).toBe("spiffe://example.org/control");
    expect(await dial(svid)).toBe(reason);
  });

  it.each(GOOD)("is accepted by both, %s", async (_, svid) => {
    const { port } = await startServer();
    expect((await present(port, svid)).answer).toBe(`${svid.id}\n`);
    expect(await dial(svid)).toBe(svid.id);
  });

  it("is refused where there is none", async () => {
    const { port, refused } = await startServer();
    expect((await present(port, undefined)).answer).toBe("");
    expect(refused).toMatchObject([{ code: "peer_untrusted", reason: "no_certificate" }]);
  });
});

describe("our own certificate", () => {
  it("XS-1: is the one that the Workload API gave", async () => {
    const { port } = await startServer();
    const { shown } = await present(port, domain.svid("/peer"));
    expect(shown?.equals(own.chain[0]!)).toBe(true);
  });

  it("XS-2: comes with what is between it and the authority", async () => {
    const below = domain.svid("/below", {}, domain.newIntermediate());
    await push(withTrust([domain.authority], {}, below));
    const { port } = await startServer();
    const socket = connect({
      port,
      host: "127.0.0.1",
      ca: certificate.certificatePem(domain.authority.der),
      ...pem(own),
      checkServerIdentity: () => undefined,
    });
    await once(socket, "secureConnect");
    expect(socket.authorized).toBe(true);
    socket.destroy();
  });

  it("XS-3: is the new one for connections that come after a rotation, without a restart", async () => {
    const { port } = await startServer();
    await present(port, domain.svid("/peer"));
    const rotated = domain.svid("/rotated");
    await push(withTrust([domain.authority], {}, rotated));
    expect((await present(port, domain.svid("/peer"))).shown?.equals(rotated.chain[0]!)).toBe(true);
  });

  it("WA-4: is shown to nobody once it was taken back", async () => {
    const { port } = await startServer();
    expect((await present(port, domain.svid("/peer"))).shown).toBeDefined();
    const changed = new Promise<void>((resolve) => source.onChange(resolve));
    api.answer(METHOD, { status: 7 });
    api.end(METHOD, 7);
    await changed;
    expect((await present(port, domain.svid("/peer"))).shown).toBeUndefined();
    await expect(connectTls({ host: "127.0.0.1", port, source, authorize: anyId })).rejects.toMatchObject({
      code: "no_identity",
    });
  });
});

describe("trust", () => {
  const second = domain.newAuthority();
  const bySecond = domain.svid("/second", {}, second);
  const alone = { ...bySecond, chain: [bySecond.chain[0]!] };

  it("XS-4: is in every authority of a bundle", async () => {
    await push(withTrust([domain.authority, second]));
    const { port } = await startServer();
    expect((await present(port, alone)).answer).toBe(`${alone.id}\n`);
    expect((await present(port, domain.svid("/peer"))).answer).not.toBe("");
    expect(await dial(alone)).toBe(alone.id);
  });

  it("XS-5: ends with the authority, for new connections", async () => {
    await push(withTrust([domain.authority, second]));
    const { port } = await startServer();
    expect((await present(port, alone)).answer).not.toBe("");
    await push(withTrust([domain.authority]));
    expect((await present(port, alone)).answer).toBe("");
    expect(await dial(alone)).toBe("not_signed_by_trust_domain");
  });

  it("XF-3: ends with a partner's bundle", async () => {
    const { port } = await startServer();
    expect((await present(port, partner.svid("/peer"))).answer).not.toBe("");
    await push(withTrust([domain.authority]));
    expect((await present(port, partner.svid("/peer"))).answer).toBe("");
    expect(await dial(partner.svid("/peer"))).toBe("trust_domain_unknown");
  });

  it("ends for connections that are open, and only for those", async () => {
    await push(withTrust([domain.authority, second]));
    const refused: SpiffeError[] = [];
    const opened: string[] = [];
    const rules = { source, authorize: anyId, onRefused: (problem: SpiffeError) => refused.push(problem) };
    const port = await listen(
      createSpiffeTlsServer(rules, (socket, peer) => {
        opened.push(peer.path);
        socket.on("error", () => {});
        socket.write("hello");
      }),
    );
    const open = async (svid: LiveSvid): Promise<TLSSocket> => {
      const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...pem(svid) });
      socket.on("error", () => {});
      await once(socket, "data");
      return socket;
    };
    const [stays, goes] = [await open(domain.svid("/stays")), await open(alone)];
    const gone = once(goes, "close");
    await push(withTrust([domain.authority]));
    await gone;
    expect(refused).toMatchObject([{ reason: "not_signed_by_trust_domain" }]);
    expect(stays.destroyed).toBe(false);
    expect(opened).toEqual(["/stays", "/second"]);
    stays.destroy();
  });

  it("is asked again for whoever comes back with the state of an earlier connection", async () => {
    const { port } = await startServer();
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const states: Buffer[] = [];
      const options = {
        port,
        host: "127.0.0.1",
        rejectUnauthorized: false,
        maxVersion,
        ...pem(domain.svid("/peer")),
      };
      // Each version on its own.
      // eslint-disable-next-line no-await-in-loop
      for (let round = 0; round < 2; round++) {
        const session = states.at(-1);
        const socket = connect({ ...options, ...(session && { session }) });
        socket.on("session", (state) => states.push(state));
        socket.on("error", () => {});
        socket.resume();
        // eslint-disable-next-line no-await-in-loop
        await once(socket, "secureConnect");
        expect(socket.isSessionReused()).toBe(false);
        // eslint-disable-next-line no-await-in-loop
        await once(socket, "close");
      }
    }
  });
});

describe("whom a caller admits", () => {
  const id = "spiffe://example.org/peer";

  it.each([
    ["another ID", exactId("spiffe://example.org/other")],
    ["an ID that only begins alike", exactId("spiffe://example.org/pee")],
    ["another trust domain", memberOf("partner.org")],
    ["a list without it", anyOf("spiffe://example.org/a", "spiffe://example.org/b")],
  ])("does not have the peer with %s", async (_, authorize) => {
    const { port, refused } = await startServer(authorize);
    expect((await present(port, domain.svid("/peer"))).answer).toBe("");
    expect(refused).toMatchObject([{ code: "peer_unauthorized" }]);
    expect(await dial(domain.svid("/peer"), authorize)).toBe("peer_unauthorized");
  });

  it.each([
    ["its ID", exactId(id)],
    ["its trust domain", memberOf("example.org")],
    ["a list with it", anyOf("spiffe://example.org/a", id)],
  ])("has the peer with %s", async (_, authorize) => {
    const { port } = await startServer(authorize);
    expect((await present(port, domain.svid("/peer"))).answer).toBe(`${id}\n`);
    expect(await dial(domain.svid("/peer"), authorize)).toBe(id);
  });

  it("cannot be said by a list of nobody, by what is no ID, or by a trust domain where an ID is meant", () => {
    expect(() => anyOf()).toThrow("no SPIFFE ID is given");
    expect(() => exactId("example.org/a")).toThrow("begins with spiffe://");
    expect(() => exactId("spiffe://example.org")).toThrow("use memberOf");
    expect(() => memberOf("spiffe://example.org")).toThrow("a trust domain has");
  });
});

describe("HTTP", () => {
  async function startHttps(authorize: Authorize = anyId): Promise<string> {
    const server = createSpiffeServer({ source, authorize }, (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        if (request.url === "/away")
          return response.writeHead(302, { location: "https://127.0.0.1:1/" }).end();
        if (request.url === "/nothing") return response.writeHead(204).end();
        response.setHeader("x-peer", peerIdOf(request.socket).uri);
        response.end(`${request.method} ${Buffer.concat(chunks).toString()}`);
      });
    });
    return `https://127.0.0.1:${await listen(server)}`;
  }

  it("says on both sides who the other is", async () => {
    const url = await startHttps(exactId("spiffe://example.org/own"));
    const call = spiffeFetch({ source, authorize: exactId("spiffe://example.org/own") });
    const response = await call(url, {
      method: "POST",
      body: "hello",
      headers: { "content-type": "text/plain" },
    });
    expect([response.status, response.headers.get("x-peer")]).toEqual([200, "spiffe://example.org/own"]);
    expect(await response.text()).toBe("POST hello");
  });

  it("sends nothing to a server that is not the one that is meant", async () => {
    const requests: string[] = [];
    const server = createSpiffeServer(
      { source, authorize: anyId },
      (request) => void requests.push(request.url ?? ""),
    );
    const url = `https://127.0.0.1:${await listen(server)}`;
    const call = spiffeFetch({ source, authorize: exactId("spiffe://example.org/other") });
    await expect(call(url)).rejects.toMatchObject({ code: "peer_unauthorized" });
    expect(requests).toEqual([]);
  });

  it("gives redirects back, and answers without a body", async () => {
    const url = await startHttps();
    const call = spiffeFetch({ source, authorize: anyId });
    expect((await call(`${url}/away`)).status).toBe(302);
    const nothing = await call(`${url}/nothing`);
    expect([nothing.status, nothing.body]).toEqual([204, null]);
  });

  it("ends a request when the caller gives up", async () => {
    const server = createSpiffeServer({ source, authorize: anyId }, () => waiting.abort());
    const waiting = new AbortController();
    const url = `https://127.0.0.1:${await listen(server)}`;
    await expect(spiffeFetch({ source, authorize: anyId })(url, { signal: waiting.signal })).rejects.toThrow(
      "abort",
    );
  });

  it("keeps a connection for the next request through a rotation, and drops it when trust is gone", async () => {
    const url = new URL(await startHttps());
    const agent = new SpiffeAgent({ source, authorize: anyId }, { keepAlive: true });
    cleanups.push(() => agent.destroy());
    const ask = async (): Promise<boolean> => {
      const request = httpsRequest(url, { agent });
      request.end();
      const [response] = (await once(request, "response")) as [NodeJS.ReadableStream];
      response.resume();
      await once(response, "end");
      return request.reusedSocket;
    };
    expect([await ask(), await ask()]).toEqual([false, true]);
    await push(withTrust([domain.authority], {}, domain.svid("/own")));
    expect(await ask()).toBe(true);
    const next = new LiveDomain();
    await push(x509Response([svidMessage(next.svid("/own"), [next.authority])]));
    expect(await ask()).toBe(false);
  });

  it("works for version 2 alike, strangers refused", async () => {
    const server = admitOnly(
      createSecureServer({ ...serverOptions({ source, authorize: anyId }), allowHTTP1: false }),
      {
        source,
        authorize: memberOf("example.org"),
      },
    );
    server.on("stream", (stream: ServerHttp2Stream) => {
      stream.respond({ ":status": 200, "x-peer": peerIdOf(stream.session!.socket).uri });
      stream.end();
    });
    const port = await listen(server);
    const ask = async (svid: LiveSvid): Promise<unknown> => {
      const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false, ...pem(svid) });
      session.on("error", () => {});
      const stream = session.request({ ":path": "/" });
      const { promise, resolve } = Promise.withResolvers<unknown>();
      stream.on("response", (headers) => resolve(headers["x-peer"]));
      stream.on("error", () => {});
      stream.on("close", () => resolve("closed"));
      return promise.finally(() => session.destroy());
    };
    expect(await ask(domain.svid("/peer"))).toBe("spiffe://example.org/peer");
    expect(await ask(stranger.svid("/peer"))).toBe("closed");
    expect(await ask(partner.svid("/peer"))).toBe("closed");
  });
});
