// SPDX-License-Identifier: Apache-2.0
/** Agents that are elsewhere: who gets in with which identity, by every entrance, and how that ends. */
import { once } from "node:events";
import type { TLSSocket } from "node:tls";
import type { IssuedIdentity } from "@postern/contract";
import { createTestAuthority, type StandIns, startStandIns } from "@postern/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { allText, certificateOf, firstText, GatewayClient } from "./gateway-client.ts";
import { type Place, startPlace } from "./remote-place.ts";

const AGENTS = ["web-1", "web-2", "web-3", "web-4"];
let standIns: StandIns;

let place: Place;
beforeAll(async () => {
  standIns = await startStandIns({ endlessInterval: 20 });
  place = await startPlace({ standIns, agents: AGENTS });
});
beforeEach(() => standIns.openai.forgetRequests());
afterAll(async () => {
  await place?.postern.stop();
  await standIns?.close();
});

const PATH = "/v1/chat/completions";
const JSON_TYPE = { "content-type": "application/json" };
const chat = (model = "gpt-4o-mini", more: object = {}) =>
  JSON.stringify({ model, messages: [{ role: "user", content: "hello" }], ...more });
const auditId = (headers: Readonly<Record<string, unknown>>) => String(headers["postern-audit-id"]);

/** What arrived upstream, as one text. */
const arrived = (): string =>
  standIns.openai.requests
    .map(({ body, rawHeaders, target }) => [target, ...rawHeaders, body].join("\n"))
    .join("\n");

describe("a stranger", () => {
  const refusals = async (): Promise<[string, string][]> => {
    const { client } = place;
    const foreign = await (await createTestAuthority()).issue(["agents.example"]);
    const { cert, key } = { cert: foreign.certificate, key: foreign.privateKey };
    const path = `/openai${PATH}`;
    const token = (await place.identityOf("web-1")).jwt!.token;
    const ask = async (options: object): Promise<string> => {
      const { body, headers, status } = await client.call({ path, ...options }, chat());
      const { code, detail } = JSON.parse(body) as { code: string; detail: string };
      const { reasons } = await place.decisionOf(auditId(headers));
      return [status, code, detail, (reasons as string[]).join()].join("|");
    };
    return [
      ["without anything", await ask({})],
      ["with a certificate of another authority", await ask({ cert, key })],
      ["with a forged token", await ask({ headers: { "x-api-key": `${token.slice(0, -4)}AAAA` } })],
      ["that asks for nothing there is", await ask({ path: "/nothing/../here" })],
      ["that names another host", await ask({ headers: { host: "evil.example" } })],
    ];
  };

  it("is told the same whatever it sends, and the log has the reason", async () => {
    const all = await refusals();
    const told = all.map(([, text]) => text.split("|").slice(0, 3).join("|"));
    expect(new Set(told)).toEqual(
      new Set(["403|agent_unidentified|the caller is not an agent that this gateway knows"]),
    );
    expect(all.map(([, text]) => text.split("|")[3])).toEqual([
      "svid_missing",
      "leaf_names_wrong",
      "signature_wrong",
      "svid_missing",
      "svid_missing",
    ]);
    expect(standIns.openai.requests).toEqual([]);
  });

  it("gets no tunnel, and no word about its request that is none", async () => {
    const { client } = place;
    expect(await client.tunnel("api.openai.com:443", "")).toMatch(/^HTTP\/1\.1 403 Agent unidentified\r\n/);
    expect(await client.tunnel("nobody.example:443", "")).toMatch(/^HTTP\/1\.1 403 Agent unidentified\r\n/);
    const socket = await client.connect();
    socket.write("junk\n\r\n\r\n");
    expect(await firstText(socket)).toMatch(/^HTTP\/1\.1 403 Agent unidentified\r\n/);
  });

  it("cannot bring the server down with what is no TLS", async () => {
    const { connect } = await import("node:net");
    const socket = connect(place.client.port, "127.0.0.1");
    socket.end("GET / HTTP/1.1\r\n\r\n");
    await once(socket, "close");
    expect((await place.client.call({ path: "/" })).status).toBe(403);
  });
});

describe.each(["X.509-SVID", "JWT-SVID"] as const)("an agent with its %s", (document) => {
  let identity: IssuedIdentity;
  beforeAll(async () => {
    identity = await place.identityOf("web-1");
  });
  const tls = () => (document === "X.509-SVID" ? certificateOf(identity) : {});
  const asKey = () => ({
    authorization: `Bearer ${document === "JWT-SVID" ? identity.jwt!.token : "sk-placeholder"}`,
  });
  const asProxy = (): Record<string, string> =>
    document === "JWT-SVID"
      ? { "proxy-authorization": `Basic ${Buffer.from(`x:${identity.jwt!.token}`).toString("base64")}` }
      : {};

  async function expectServed(answer: {
    status: number;
    body: string;
    headers: Readonly<Record<string, unknown>>;
  }) {
    expect(answer.status, answer.body).toBe(200);
    expect(await place.decisionOf(auditId(answer.headers))).toMatchObject({
      ...{ agent: "web-1", outcome: "allow", spiffe_id: "spiffe://corp/agents/web-1", document },
      peer: "127.0.0.1",
    });
    expect(standIns.openai.requests).toHaveLength(1);
    expect(arrived()).not.toContain(identity.jwt!.token);
    expect(arrived().toLowerCase()).not.toContain("proxy-authorization");
    const { stdout } = await place.postern.postern(["audit", "tail", "--json", "--lines", "1000"]);
    const [, claims = "", signature = ""] = identity.jwt!.token.split(".");
    for (const part of [claims, signature]) expect(stdout + place.postern.log).not.toContain(part);
  }

  it("calls an API by base URL", async () => {
    const headers = { ...JSON_TYPE, ...asKey() };
    await expectServed(await place.client.call({ path: `/openai${PATH}`, headers, ...tls() }, chat()));
  });

  it("calls it as a proxy with the whole URL", async () => {
    const headers = {
      ...JSON_TYPE,
      ...asProxy(),
      host: "api.openai.com",
      authorization: "Bearer sk-placeholder",
    };
    await expectServed(
      await place.client.call({ path: `https://api.openai.com${PATH}`, headers, ...tls() }, chat()),
    );
  });

  it("calls it through a tunnel", async () => {
    const proxy = Object.entries(asProxy()).map(([name, value]) => `${name}: ${value}`);
    const inner = await place.client.tunnel("api.openai.com:443", identity.interception, proxy, tls());
    if (typeof inner === "string") throw new Error(inner);
    const body = chat();
    // The API's own key, where the agent has a placeholder, may look like a token.
    inner.write(
      `POST ${PATH} HTTP/1.1\r\nHost: api.openai.com\r\nAuthorization: Bearer ${identity.jwt!.token}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
    );
    const text = await allText(inner);
    const [, id] = /postern-audit-id: (\S+)/.exec(text) ?? [];
    await expectServed({
      status: Number(text.slice(9, 12)),
      body: text,
      headers: { "postern-audit-id": id },
    });
  });

  it("is bound by its policies", async () => {
    const headers = { ...JSON_TYPE, ...asKey() };
    const { body } = await place.client.call({ path: `/openai${PATH}`, headers, ...tls() }, chat("gpt-5"));
    expect(JSON.parse(body)).toMatchObject({ code: "access_denied" });
    expect(standIns.openai.requests).toEqual([]);
  });
});

describe("the handshake", () => {
  it.each(["TLSv1.2", "TLSv1.3"] as const)("of %s is never resumed", async (version) => {
    const { client } = place;
    const options = { ...certificateOf(await place.identityOf("web-2")), maxVersion: version };
    const first = await client.connect(options);
    const sessions: Buffer[] = [];
    first.on("session", (session: Buffer) => sessions.push(session));
    first.write("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    await firstText(first);
    const session = sessions.at(-1) ?? first.getSession();
    first.destroy();
    const again = await client.connect({ ...options, session });
    expect(again.isSessionReused()).toBe(false);
    again.destroy();
  });

  it("shows who the gateway is, to those who know SPIFFE and to those who know names", async () => {
    const socket = await place.client.connect({ servername: "localhost" });
    const certificate = socket.getPeerX509Certificate();
    expect(certificate?.subjectAltName).toBe(
      "URI:spiffe://corp/postern/gateway, IP Address:127.0.0.1, DNS:localhost",
    );
    socket.destroy();
  });
});

/** An answer that never ends by itself, begun. */
async function stream(name: string, identity: IssuedIdentity, where = place): Promise<TLSSocket> {
  const socket = await where.client.connect(certificateOf(identity));
  const body = chat("stand-in-endless", { stream: true });
  const host = `127.0.0.1:${where.client.port}`;
  socket.write(
    `POST /openai${PATH} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  const head = await firstText(socket);
  if (!head.startsWith("HTTP/1.1 200 ")) throw new Error(`${name}: ${head}`);
  socket.resume();
  return socket;
}

describe("an identity that is taken back", () => {
  it("ends with a cut, on open streams and for everything after, however it is shown", async () => {
    const { client, postern } = place;
    const identity = await place.identityOf("web-2");
    const open = await stream("web-2", identity);
    const idle = await client.connect(certificateOf(identity));
    const closed = once(open, "close");
    await postern.postern(["cut", "web-2"]);
    await closed;
    idle.destroy();
    const path = `/openai${PATH}`;
    for (const options of [
      certificateOf(identity),
      { headers: { ...JSON_TYPE, "x-api-key": identity.jwt!.token } },
    ]) {
      const { status } = await client.call({ path, ...options }, chat());
      expect(status).toBe(403);
    }
    await postern.postern(["restore", "web-2"]);
    expect((await client.call({ path, ...certificateOf(identity), headers: JSON_TYPE }, chat())).status).toBe(
      200,
    );
  });

  it("ends with its agent", async () => {
    const identity = await place.identityOf("web-3");
    const open = await stream("web-3", identity);
    const closed = once(open, "close");
    const deleted = await place.postern.postern(["delete", "Agent", "web-3"]);
    if (deleted.code !== 0) {
      // Policies name it: they go first.
      for (const each of ["openai", "anthropic", "gemini"])
        await place.postern.postern(["delete", "AccessPolicy", `agents-may-use-${each}`]);
      expect(await place.postern.postern(["delete", "Agent", "web-3"])).toMatchObject({ code: 0 });
    }
    await closed;
    const { body } = await place.client.call({ path: "/openai/v1/models", ...certificateOf(identity) });
    expect(JSON.parse(body)).toMatchObject({ code: "agent_unidentified" });
    await place.postern.apply(
      standIns
        .resources({ agents: AGENTS })
        .split(/^---\n/m)
        .filter((text) => text.startsWith("kind: AccessPolicy"))
        .map((text) => text.replaceAll('"web-3",', ""))
        .join("---\n"),
    );
  });

  it("ends with the authority that signed it, and the gateway shows one of the next", async () => {
    const identity = await place.identityOf("web-4");
    const open = await stream("web-4", identity);
    const closed = once(open, "close");
    for (const words of [
      ["prepare", "x509"],
      ["activate", "x509-2", "--force"],
      ["taint", "x509-1"],
    ])
      expect(await place.postern.postern(["ca", ...words])).toMatchObject({ code: 0 });
    expect(open.destroyed).toBe(false);
    expect(await place.postern.postern(["ca", "revoke", "x509-1"])).toMatchObject({ code: 0 });
    await closed;
    // The old bundle does not know who signs now.
    await expect(place.client.call({ path: "/" })).rejects.toThrow(/certificate/);
    const anew = new GatewayClient(place.client.port);
    const answer = await anew.call({ path: `/openai${PATH}`, ...certificateOf(identity) }, chat());
    expect(await place.decisionOf(auditId(answer.headers))).toMatchObject({
      ...{ code: "agent_unidentified", reasons: ["not_signed_by_trust_domain"] },
    });
  });

  it("ends with its time, on an open stream too", async () => {
    const short = await startPlace({
      ...{ standIns, agents: AGENTS },
      args: ["--x509-svid-ttl", "6", "--jwt-svid-ttl", "6"],
    });
    try {
      const identity = await short.identityOf("web-1");
      const open = await stream("web-1", identity, short);
      await once(open, "close");
      const end = Date.parse(identity.x509!.expiresAt);
      expect(Date.now() - end).toBeGreaterThan(-1000);
      expect(Date.now() - end).toBeLessThan(5000);
      const trusting = new GatewayClient(short.client.port, short.client.authorities);
      for (const options of [certificateOf(identity), { headers: { "x-api-key": identity.jwt!.token } }]) {
        const answer = await trusting.call({ path: `/openai${PATH}`, ...options }, chat());
        const decision = await short.decisionOf(auditId(answer.headers));
        expect(decision).toMatchObject({ code: "agent_unidentified", reasons: ["expired"] });
      }
    } finally {
      await short.postern.stop();
    }
  });
});
