// SPDX-License-Identifier: Apache-2.0
/** Hostile strangers at the gateway's address: who floods it, who is slow, who brings what is somebody else's. */
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import type { TLSSocket } from "node:tls";
import type { IssuedIdentity } from "@postern/contract";
import {
  createTrustDomain,
  type StandIns,
  type StandInX509Svid,
  startStandIns,
  startTokenIssuer,
  type TokenIssuer,
} from "@postern/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Answer, allText, certificateOf, firstText } from "./gateway-client.ts";
import { type Place, startPlace } from "./remote-place.ts";

const ISSUER = "https://token.actions.githubusercontent.com";
const PATH = "/openai/v1/chat/completions";
const JSON_TYPE = { "content-type": "application/json" };
const CHAT = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }] });

let standIns: StandIns;
let ci: TokenIssuer;
let place: Place;
let partner: Place;
let one: IssuedIdentity;
let two: IssuedIdentity;

beforeAll(async () => {
  standIns = await startStandIns();
  const { authority } = standIns;
  ci = await startTokenIssuer({ authority, issuer: ISSUER });
  place = await startPlace({ standIns, agents: ["one", "two"] });
  // Another company that has named its trust domain alike.
  partner = await startPlace({ standIns, agents: ["one"] });
  const spec = {
    ...{ kind: "github-actions", audience: "postern", ownerIds: ["9919"] },
    connectTo: { address: "127.0.0.1", port: ci.port },
    allowedNetworks: ["127.0.0.1/32"],
    caCertificates: authority.certificate,
  };
  await place.postern.apply(JSON.stringify({ kind: "TrustProvider", metadata: { name: "ci" }, spec }));
  [one, two] = [await place.identityOf("one"), await place.identityOf("two")];
}, 60_000);
beforeEach(() => standIns.openai.forgetRequests());
afterAll(async () => {
  await partner?.postern.stop();
  await place?.postern.stop();
  await ci?.close();
  await standIns?.close();
});

let networks = 0;
/** Nobody has come from there yet. */
const newAddress = (): string => `127.0.2.${++networks}`;

const callAs = (options: object, where = place): Promise<Answer> =>
  where.client.call({ path: PATH, headers: JSON_TYPE, ...options }, CHAT);

/** That is all a stranger ever hears of a request; the reason is in the log. */
async function expectNobody({ body, headers, status }: Answer, reason: string): Promise<void> {
  expect([status, JSON.parse(body)]).toEqual([
    403,
    expect.objectContaining({
      ...{ code: "agent_unidentified", detail: "the caller is not an agent that this gateway knows" },
    }),
  ]);
  const decision = await place.decisionOf(String(headers["postern-audit-id"]));
  expect(decision).toMatchObject({ code: "agent_unidentified", reasons: [reason] });
  expect(standIns.openai.requests).toEqual([]);
}

/** Head of a request for an identity, and as much of its body as is given. */
async function begin(
  head: string,
  body: string | Buffer = "",
  localAddress = newAddress(),
): Promise<TLSSocket> {
  const socket = await place.client.connect({ localAddress, servername: "localhost" });
  socket.on("error", () => {});
  const host = `Host: 127.0.0.1:${place.client.port}\r\n`;
  socket.write(`POST /v1/attest HTTP/1.1\r\n${host}${head}\r\n\r\n`);
  socket.write(body);
  return socket;
}

const statusOf = (text: string): number => Number(/^HTTP\/1\.1 (\d+) /.exec(text)?.[1]);
const attestAs = (localAddress: string, body: string): Promise<Answer> =>
  place.client.call({ path: "/v1/attest", localAddress }, body);
const evidenceFor = (provider: string, text: string): string =>
  JSON.stringify({ provider, evidence: Buffer.from(text).toString("base64"), want: { x509: {} } });

describe("whoever asks for an identity", () => {
  it.each<[string, () => Promise<TLSSocket>]>([
    ["announces more than may come", () => begin("Content-Length: 200000", Buffer.alloc(200_000, "x"))],
    [
      "sends more than may come, in pieces, without saying so",
      () => begin("Transfer-Encoding: chunked", `30d40\r\n${"x".repeat(200_000)}\r\n0\r\n\r\n`),
    ],
    ["sends brackets without end", () => begin("Content-Length: 100000", "[".repeat(100_000))],
    ["sends objects within objects", () => begin("Content-Length: 100000", '{"a":'.repeat(20_000))],
    ["sends no text", () => begin("Content-Length: 1000", Buffer.alloc(1000, 0xff))],
  ])("and %s is told one word, and nobody is asked about it", async (_, send) => {
    const asked = ci.requests.length;
    const text = await firstText(await send());
    expect(statusOf(text)).toBe(403);
    expect(text.endsWith('\r\n\r\n{"outcome":"refused"}'), text).toBe(true);
    expect(ci.requests).toHaveLength(asked);
  });

  it("and says its length in two ways is not read at all", async () => {
    const body = evidenceFor("ci", "x");
    const head = `Content-Length: ${body.length}\r\nTransfer-Encoding: chunked`;
    const text = await allText(await begin(head, `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`));
    expect(text).not.toContain("200 OK");
    expect(text).not.toContain("outcome");
    // One answer, and no second request in what came after it.
    expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });

  it("cannot tell which trust providers there are", async () => {
    const strangers = ["ci", "by-hand", "nobody", "__proto__", "../../x", "CI"];
    const told = [];
    for (const provider of strangers) {
      const { body, headers, status } = await attestAs(newAddress(), evidenceFor(provider, "hunter2"));
      const { id, ...rest } = JSON.parse(body) as { id: string };
      expect(id).toMatch(/^[0-9a-f-]{36}$/);
      const { date: _date, ...others } = headers;
      told.push(JSON.stringify([status, others, rest]));
    }
    expect(new Set(told).size, told.join("\n")).toBe(1);
    expect(told[0]).toContain('{"outcome":"refused"}');
  });

  it("makes nobody fetch keys with tokens that could not pass anyway, and not often with others", async () => {
    const usual = { aud: "postern", repository_id: "74", repository_owner_id: "9919" };
    await attestAs(newAddress(), evidenceFor("ci", ci.sign(usual)));
    const asked = ci.requests.length;
    const address = newAddress();
    for (let i = 0; i < 20; i++) {
      await attestAs(address, evidenceFor("ci", ci.sign({ ...usual, aud: "other" }, { kid: `a${i}` })));
      await attestAs(address, evidenceFor("ci", ci.sign(usual, { kid: `b${i}` })));
    }
    // The discovery document and the keys, once: the second time is ten seconds away.
    expect(ci.requests.length - asked).toBeLessThanOrEqual(4);
  });

  it("as often as it can waits, and neither others nor agents do", async () => {
    const address = newAddress();
    const flood = await Promise.all(
      Array.from({ length: 150 }, () => attestAs(address, evidenceFor("ci", "hunter2"))),
    );
    const busy = flood.filter(({ status }) => status === 429);
    // 50 at once; more while it lasts come at 5 each second.
    expect(busy.length).toBeGreaterThan(50);
    expect(flood.every(({ status }) => status === 403 || status === 429)).toBe(true);
    for (const { body, headers } of busy)
      expect([body, headers["retry-after"]]).toEqual(['{"outcome":"unavailable"}', "5"]);
    expect((await attestAs(newAddress(), evidenceFor("ci", "hunter2"))).status).toBe(403);
    expect((await callAs(certificateOf(one))).status).toBe(200);
  });

  it("and never ends is cut off, makes others wait no longer than that, and agents not at all", async () => {
    const silent = connectTcp(place.client.port, "127.0.0.1");
    silent.on("error", () => {});
    const isSilentOver = once(silent, "close");
    const slow = await Promise.all(
      Array.from({ length: 64 }, () => begin("Content-Length: 100", '{"provider":')),
    );
    const drops = setInterval(() => slow.forEach((socket) => socket.write(" ")), 1000);
    const over = slow.map((socket) => once(socket.resume(), "close"));
    await expect
      .poll(async () => (await attestAs(newAddress(), evidenceFor("ci", "hunter2"))).status)
      .toBe(429);
    expect((await callAs(certificateOf(one))).status).toBe(200);
    await Promise.all([isSilentOver, ...over]);
    clearInterval(drops);
    expect((await attestAs(newAddress(), evidenceFor("ci", "hunter2"))).status).toBe(403);
  });
});

describe("a token", () => {
  const asBearer = (token: string) => ({ headers: { ...JSON_TYPE, authorization: `Bearer ${token}` } });

  it("that another company's gateway was shown opens nothing here, whatever both call their trust domain", async () => {
    const theirs = (await partner.identityOf("one")).jwt!.token;
    expect((await callAs(asBearer(theirs), partner)).status).toBe(200);
    standIns.openai.forgetRequests();
    await expectNobody(await callAs(asBearer(theirs)), "authority_unknown");
  });

  it("that an API was shown opens nothing at the gateway", async () => {
    const want = { jwt: { audience: ["https://orders.corp.example"] } };
    const token = (await place.identityOf("one", want)).jwt!.token;
    await expectNobody(await callAs(asBearer(token)), "audience_wrong");
  });

  it("that an API was shown and that the gateway would take, too, opens nothing", async () => {
    const want = { jwt: { audience: ["spiffe://corp/postern/gateway", "https://orders.corp.example"] } };
    const token = (await place.identityOf("one", want)).jwt!.token;
    await expectNobody(await callAs(asBearer(token)), "audience_shared");
  });

  it("that was evidence is no identity, and an identity is no evidence", async () => {
    const evidence = ci.sign({ aud: "postern", repository_id: "74", repository_owner_id: "9919" });
    const answer = await callAs(asBearer(evidence));
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body)).toMatchObject({ code: "agent_unidentified" });
    const { status } = await attestAs(newAddress(), evidenceFor("ci", one.jwt!.token));
    expect(status).toBe(403);
  });
});

describe("a certificate", () => {
  const pemOf = ({ chain, key }: StandInX509Svid) => ({
    cert: chain
      .map((der) => `-----BEGIN CERTIFICATE-----\n${der.toString("base64")}\n-----END CERTIFICATE-----\n`)
      .join(""),
    key: key.export({ type: "pkcs8", format: "pem" }),
  });

  it("by anybody but this trust domain's authority opens nothing, however right it looks", async () => {
    const impostor = await createTrustDomain("corp");
    const foreign = await createTrustDomain("partner.example");
    const made: [StandInX509Svid, string][] = [
      [await impostor.x509Svid("/agents/one"), "not_signed_by_trust_domain"],
      [impostor.authority, "leaf_is_authority"],
      [await foreign.x509Svid("/agents/one"), "trust_domain_unknown"],
      [
        await foreign.x509Svid("/agents/one", { uris: ["spiffe://corp/agents/one"] }),
        "not_signed_by_trust_domain",
      ],
      [await impostor.x509Svid("/agents/one", { notAfter: new Date(Date.now() - 60_000) }), "expired"],
      [await impostor.x509Svid("/agents/one", { isAuthority: true }), "leaf_is_authority"],
      [await impostor.x509Svid("/agents/one", { purposes: ["1.3.6.1.5.5.7.3.3"] }), "leaf_purpose_wrong"],
    ];
    for (const [svid, reason] of made) await expectNobody(await callAs(pemOf(svid)), reason);
    await expectNobody(
      await callAs(certificateOf(await partner.identityOf("one"))),
      "not_signed_by_trust_domain",
    );
  });

  it("with another agent's token besides it opens nothing, wherever that stands", async () => {
    const token = two.jwt!.token;
    const mine = certificateOf(one);
    const basic = `Basic ${Buffer.from(`x:${token}`).toString("base64")}`;
    for (const header of [
      { authorization: `Bearer ${token}` },
      { "x-api-key": token },
      { "proxy-authorization": `Bearer ${token}` },
      { "proxy-authorization": basic },
    ])
      await expectNobody(
        await callAs({ ...mine, headers: { ...JSON_TYPE, ...header } }),
        "identity_ambiguous",
      );
    const { client } = place;
    const target = "api.openai.com:443";
    expect(await client.tunnel(target, "", [`Proxy-Authorization: ${basic}`], mine)).toMatch(
      /^HTTP\/1\.1 403 Agent unidentified\r\n/,
    );
    // Alone each of them is somebody.
    expect((await callAs(mine)).status).toBe(200);
    expect((await callAs({ headers: { ...JSON_TYPE, "x-api-key": token } })).status).toBe(200);
  });

  it("of an agent that is cut ends with it on a connection that is kept, between two requests", async () => {
    const identity = await place.identityOf("two");
    const socket = await place.client.connect(certificateOf(identity));
    const host = `127.0.0.1:${place.client.port}`;
    const request = `POST ${PATH} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${CHAT.length}\r\n\r\n${CHAT}`;
    socket.write(request);
    expect(statusOf(await firstText(socket))).toBe(200);
    const closed = once(socket.resume(), "close");
    await place.postern.postern(["cut", "two"]);
    await closed;
    standIns.openai.forgetRequests();
    await expectNobody(await callAs(certificateOf(identity)), "agent_cut");
    await place.postern.postern(["restore", "two"]);
  });
});
