// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { createServer as createTcpServer, type AddressInfo, type Server } from "node:net";
import { createServer } from "node:tls";
import { createTestAuthority, type TestAuthority } from "@postern/testkit";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { dial, isPermitted } from "./dialer.ts";
import { oneAtATime, type Resolver } from "./resolve-host.ts";

const HOST = "api.example.com";
const PATIENCE = 10_000;

let authority: TestAuthority;
const servers: Server[] = [];
beforeAll(async () => {
  authority = await createTestAuthority();
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A TLS server for `names` on a loopback address; `seen` has who connected. */
async function listenTls(address: string, port = 0, names: readonly string[] = [HOST]) {
  const { certificate, privateKey } = await authority.issue(names);
  const seen: string[] = [];
  const server = createServer({ cert: certificate, key: privateKey }, (socket) => {
    socket.on("error", () => {});
    socket.resume();
  });
  server.on("connection", () => seen.push(address));
  server.on("tlsClientError", () => {});
  servers.push(server.listen(port, address));
  await once(server, "listening");
  return { port: (server.address() as AddressInfo).port, seen };
}

interface Question {
  readonly resolve: Resolver;
  readonly port?: number;
  readonly allowedNetworks?: readonly string[];
  readonly host?: string;
  readonly patience?: number;
  readonly signal?: AbortSignal;
}

async function codeOf({ resolve, port = 1, allowedNetworks = [], host = HOST, ...more }: Question) {
  const destination = { host, port, allowedNetworks, caCertificates: authority.certificate };
  const signal = more.signal ?? new AbortController().signal;
  const result = await dial(destination, signal, { resolve, patience: more.patience ?? PATIENCE });
  if (!result.ok) return result.reason.code;
  result.value.destroy();
  return result.value.remoteAddress;
}

const answers =
  (...addresses: string[]): Resolver =>
  () =>
    Promise.resolve(addresses);

describe("address guard", () => {
  it.each([
    ...["127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"],
    ...["0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "168.63.129.16"],
    ...["::", "::1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "::127.0.0.1", "4000::1"],
    ...["::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001::1"],
    ...["ff02::1", "not an address", "", "127.0.0.1:80", "2130706433x", "0x7f.1", "8.8.2056"],
  ])("refuses %s", (address) => {
    expect(isPermitted(address, [])).toBe(false);
  });

  it.each(["8.8.8.8", "1.1.1.1", "2606:4700::1111"])("permits %s", (address) => {
    expect(isPermitted(address, [])).toBe(true);
  });

  it("permits a listed network and nothing beside it", () => {
    expect(isPermitted("127.0.0.1", ["127.0.0.0/8"])).toBe(true);
    expect(isPermitted("::ffff:127.0.0.1", ["127.0.0.0/8"])).toBe(true);
    expect(isPermitted("10.0.0.1", ["127.0.0.0/8", "fd00::/8"])).toBe(false);
    expect(isPermitted("64:ff9b::7f00:1", ["127.0.0.0/8"])).toBe(false);
  });

  it.each(["127.0.0.1", "0x7f.1", "2130706433", "localhost"])(
    "does not dial %s, however it is written",
    async (host) => {
      const result = await dial({ host, port: 1, allowedNetworks: [] }, new AbortController().signal);
      expect(result).toMatchObject({ ok: false });
      if (!result.ok)
        expect(["destination_prohibited", "upstream_unreachable"]).toContain(result.reason.code);
    },
  );
});

describe("a name server that", () => {
  it.each<[string, string[]]>([
    ["the metadata service", ["169.254.169.254"]],
    ["loopback, in IPv6", ["::1"]],
    ["loopback, mapped", ["::ffff:127.0.0.1"]],
    ["a private address through NAT64", ["64:ff9b::a00:1"]],
    ["a link-local address with a zone", ["fe80::1%lo"]],
    ["very many private addresses", Array.from({ length: 20_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)],
    ["what is no address", ["example.com", "0x7f.1", ""]],
  ])("answers with %s gets destination_prohibited, and nobody is called", async (_name, addresses) => {
    expect(await codeOf({ resolve: answers(...addresses) })).toBe("destination_prohibited");
  });

  it("answers with nothing gets upstream_unreachable", async () => {
    expect(await codeOf({ resolve: answers() })).toBe("upstream_unreachable");
  });

  it.each(["ENOTFOUND", "EAI_AGAIN", "ESERVFAIL"])(
    "fails with %s gets upstream_unreachable",
    async (code) => {
      const resolve = () => Promise.reject(Object.assign(new Error("failed"), { code }));
      expect(await codeOf({ resolve })).toBe("upstream_unreachable");
    },
  );

  it("answers too late gets upstream_timeout, and the late answer calls nobody", async () => {
    const { port, seen } = await listenTls("127.0.0.1");
    const late = Promise.withResolvers<string[]>();
    const question = { resolve: () => late.promise, port, allowedNetworks: ["127.0.0.0/8"], patience: 20 };
    expect(await codeOf(question)).toBe("upstream_timeout");
    late.resolve(["127.0.0.1"]);
    await late.promise;
    expect(seen).toEqual([]);
  });

  it("answers when the agent has gone calls nobody", async () => {
    const { port, seen } = await listenTls("127.0.0.1");
    const gone = new AbortController();
    const resolve = () => {
      gone.abort();
      return Promise.resolve(["127.0.0.1"]);
    };
    const question = { resolve, port, allowedNetworks: ["127.0.0.0/8"], signal: gone.signal };
    expect(await codeOf(question)).toMatch(/^upstream_/);
    expect(seen).toEqual([]);
  });

  it("changes its answer between check and call is asked once: what was checked is what is called", async () => {
    const checked = await listenTls("127.0.0.1");
    const other = await listenTls("127.0.0.2", checked.port);
    const given = [["127.0.0.1"], ["127.0.0.2"]];
    let asked = 0;
    const resolve = () => Promise.resolve(given[asked++] ?? ["127.0.0.2"]);
    const question = { resolve, port: checked.port, allowedNetworks: ["127.0.0.1/32"] };
    expect(await codeOf(question)).toBe("127.0.0.1");
    expect(asked).toBe(1);
    // The next connection asks again, and what it hears then is checked again.
    expect(await codeOf(question)).toBe("destination_prohibited");
    expect([checked.seen, other.seen]).toEqual([["127.0.0.1"], []]);
  });

  it.each([
    ["before", ["127.0.0.2", "127.0.0.1"]],
    ["after", ["127.0.0.1", "127.0.0.2"]],
  ])(
    "mixes in a prohibited address, %s a permitted one: only the permitted one is called",
    async (_n, both) => {
      const permitted = await listenTls("127.0.0.1");
      const prohibited = await listenTls("127.0.0.2", permitted.port);
      const question = { resolve: answers(...both), port: permitted.port, allowedNetworks: ["127.0.0.1/32"] };
      expect(await codeOf(question)).toBe("127.0.0.1");
      expect(prohibited.seen).toEqual([]);
    },
  );

  it("mixes in a prohibited address gets no call of it either where the permitted one does not answer", async () => {
    const prohibited = await listenTls("127.0.0.2");
    const question = {
      resolve: answers("127.0.0.1", "127.0.0.2"),
      port: prohibited.port,
      allowedNetworks: ["127.0.0.1/32"],
    };
    expect(await codeOf(question)).toBe("upstream_unreachable");
    expect(prohibited.seen).toEqual([]);
  });

  it("gives very many addresses has four of them called", async () => {
    const addresses = Array.from({ length: 50 }, (_, i) => `127.0.1.${i + 1}`);
    const first = await listenTls(addresses[0]!, 0, ["other.example"]);
    const all = [first];
    for (const address of addresses.slice(1, 6))
      all.push(await listenTls(address, first.port, ["other.example"]));
    const question = { resolve: answers(...addresses), port: first.port, allowedNetworks: ["127.0.0.0/8"] };
    expect(await codeOf(question)).toBe("upstream_unreachable");
    expect(all.flatMap(({ seen }) => seen)).toEqual(addresses.slice(0, 4));
  });

  it("leads to a server of another name gets upstream_unreachable: its certificate says so", async () => {
    const { port } = await listenTls("127.0.0.1", 0, ["evil.example"]);
    const question = { resolve: answers("127.0.0.1"), port, allowedNetworks: ["127.0.0.1/32"] };
    expect(await codeOf(question)).toBe("upstream_unreachable");
  });
});

describe("an address that takes the connection and says nothing", () => {
  it("leaves time for the next one, and all of them together take no longer than one may", async () => {
    const silent = createTcpServer(() => {});
    servers.push(silent.listen(0, "127.0.0.1"));
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    const good = await listenTls("127.0.0.2", port);
    const question = { resolve: answers("127.0.0.1", "127.0.0.2"), port, allowedNetworks: ["127.0.0.0/8"] };
    expect(await codeOf({ ...question, patience: 2000 })).toBe("127.0.0.2");
    expect(good.seen).toHaveLength(1);
    expect(await codeOf({ ...question, resolve: answers("127.0.0.1", "127.0.0.1"), patience: 50 })).toBe(
      "upstream_timeout",
    );
  });
});

describe("questions for one name", () => {
  it("are asked once while the answer is awaited, and again afterwards", async () => {
    const asked: string[] = [];
    const pending = Promise.withResolvers<string[]>();
    const resolve = oneAtATime((host) => {
      asked.push(host);
      return host === HOST ? pending.promise : Promise.resolve(["8.8.4.4"]);
    });
    const both = [resolve(HOST), resolve(HOST)];
    expect(await resolve("other.example")).toEqual(["8.8.4.4"]);
    pending.resolve(["8.8.8.8"]);
    expect(await Promise.all(both)).toEqual([["8.8.8.8"], ["8.8.8.8"]]);
    await resolve(HOST);
    expect(asked).toEqual([HOST, "other.example", HOST]);
  });

  it("that fail do not fail those that come after", async () => {
    let asked = 0;
    const resolve = oneAtATime(() =>
      asked++ === 0 ? Promise.reject(new Error("no")) : Promise.resolve(["8.8.8.8"]),
    );
    await expect(resolve(HOST)).rejects.toThrow("no");
    expect(await resolve(HOST)).toEqual(["8.8.8.8"]);
  });
});
