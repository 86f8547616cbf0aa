// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import * as certificate from "@postern/identity/certificate";
import * as der from "@postern/identity/der";
import {
  bundleOf,
  constraints,
  type HandMade,
  handMade,
  names,
  NOW,
  testTrustDomain,
  type TestTrustDomain,
  usage,
} from "@postern/identity/svid.fixture";
import type { TrustBundle } from "@postern/identity/trust-bundle";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Gateway } from "../../gateway/gateway.ts";
import type { Caller } from "../../gateway/ports.ts";
import { ok } from "../../kernel/result.ts";
import { silentLog } from "../../kernel/log.ts";
import { GatewayListener } from "./gateway-listener.ts";

const ID = "spiffe://corp/agents/one";
const HOUR = 3_600_000;
const corp = testTrustDomain("corp", "corp CA");
const impostor = testTrustDomain("corp", "corp CA");
const partner = testTrustDomain("partner.example", "its CA");
const state: { bundle: TrustBundle; isCut: boolean } = { bundle: corp.bundle, isCut: false };

/** Says of each request who it was taken for. */
const gateway = {
  accept: (socket: TLSSocket, caller: Caller) => {
    socket.on("error", () => {});
    socket.on("data", () => {
      void Promise.resolve(caller.identify(1)).then((known) =>
        socket.write(known.ok ? known.value.agent : known.reason),
      );
    });
  },
} as unknown as Gateway;

let listener: GatewayListener;
let port: number;
beforeAll(async () => {
  const judge = () => ({
    ...{ now: NOW, bundle: state.bundle, audience: "spiffe://corp/postern/gateway" },
    standingOf: () => (state.isCut ? { ok: false as const, reason: "agent_cut" } : ok("one")),
  });
  const parts = { gateway, log: silentLog, names: [], judge, own: () => () => false };
  const { cert, key } = shown(corp, { names: names(["spiffe://corp/postern/gateway"]) });
  listener = await GatewayListener.open({ host: "127.0.0.1", port: 0 }, parts, {
    ...{ certificate: cert, privateKey: key },
  });
  port = Number(listener.address.split(":")[1]);
});
afterAll(() => listener.close());

/** A certificate, right in every point that is not given, with the key that a client needs. */
function shown(by: TestTrustDomain, given: HandMade = {}, below: readonly Buffer[] = []) {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  const key = { spki, sign: by.key.sign };
  const leaf = handMade(by, { names: names([ID]), ...given, key });
  return {
    cert: [leaf, ...below].map((each) => certificate.certificatePem(each)).join(""),
    key: privateKey.export({ type: "pkcs8", format: "pem" }),
  };
}

const purposes = (...ids: string[]): Buffer =>
  certificate.extension("2.5.29.37", true, der.sequence(...ids.map((id) => der.objectIdentifier(id))));

async function open(options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  return socket;
}

async function ask(socket: TLSSocket): Promise<string> {
  socket.write("who am I?");
  const [said] = (await once(socket, "data")) as [Buffer];
  return said.toString();
}

const WRONG: readonly (readonly [string, () => object, string])[] = [
  ["none at all", () => ({}), "svid_missing"],
  ["one by an authority of the same name", () => shown(impostor), "not_signed_by_trust_domain"],
  [
    "one of another trust domain",
    () => shown(partner, { names: names(["spiffe://partner.example/a"]) }),
    "trust_domain_unknown",
  ],
  [
    "one of another trust domain, with our authority's name and ID below it",
    () => shown(partner, {}, [corp.authority]),
    "not_signed_by_trust_domain",
  ],
  ["one that has ended", () => shown(corp, { notAfter: NOW - 2000 }), "expired"],
  ["one that has not begun", () => shown(corp, { notBefore: NOW + HOUR / 2 }), "not_yet_valid"],
  ["one that is an authority", () => shown(corp, { constraints: constraints(true) }), "leaf_is_authority"],
  ["one that may sign others", () => shown(corp, { usage: usage(0x84, 2) }), "leaf_usage_wrong"],
  [
    "one for servers only",
    () => shown(corp, { more: [purposes("1.3.6.1.5.5.7.3.1")] }),
    "leaf_purpose_wrong",
  ],
  ["one for programs", () => shown(corp, { more: [purposes("1.3.6.1.5.5.7.3.3")] }), "leaf_purpose_wrong"],
  ["one with two IDs", () => shown(corp, { names: names([ID, "spiffe://corp/b"]) }), "leaf_names_wrong"],
];

describe.each(["TLSv1.2", "TLSv1.3"] as const)("whoever comes with %s and shows", (version) => {
  const versions = { minVersion: version, maxVersion: version };

  it.each(WRONG)("%s is nobody", async (_, options, reason) => {
    const socket = await open({ ...versions, ...options() });
    expect(await ask(socket)).toBe(reason);
    socket.destroy();
  });

  it("the right one is its agent, until that is cut: an open connection is closed then", async () => {
    const socket = await open({ ...versions, ...shown(corp) });
    expect(await ask(socket)).toBe("one");
    const closed = once(socket, "close");
    state.isCut = true;
    listener.recheck();
    await closed;
    state.isCut = false;
  });

  it("what was believed under another bundle cannot resume that", async () => {
    const sessions: Buffer[] = [];
    const known = shown(corp);
    const first = await open({ ...versions, ...known });
    first.on("session", (session: Buffer) => sessions.push(session));
    expect(await ask(first)).toBe("one");
    const session = sessions.at(-1) ?? first.getSession();
    state.bundle = bundleOf("corp", impostor.authority);
    listener.recheck();
    try {
      // Without the certificate: whoever resumes a handshake has not to show it again.
      for (const options of [{}, known]) {
        const again = await open({ ...versions, ...options, session });
        expect(again.isSessionReused()).toBe(false);
        expect(await ask(again)).toBe(options === known ? "not_signed_by_trust_domain" : "svid_missing");
        again.destroy();
      }
    } finally {
      state.bundle = corp.bundle;
    }
  });
});

it("gives nothing to whoever speaks an older TLS, or another protocol in it, and goes on", async () => {
  const old = connect({
    host: "127.0.0.1",
    port,
    rejectUnauthorized: false,
    maxVersion: "TLSv1.1",
    minVersion: "TLSv1",
  });
  await expect(once(old, "secureConnect")).rejects.toThrow();
  const http2 = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ALPNProtocols: ["h2"] });
  await expect(once(http2, "secureConnect")).rejects.toThrow();
  const junk = connectTcp(port, "127.0.0.1");
  junk.on("error", () => {});
  junk.end(Buffer.alloc(5000, 0x16));
  await once(junk, "close");
  const socket = await open(shown(corp));
  expect(await ask(socket)).toBe("one");
  socket.destroy();
});
