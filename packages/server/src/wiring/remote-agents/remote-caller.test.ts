// SPDX-License-Identifier: Apache-2.0
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign as signBytes } from "node:crypto";
import { writeJwtSvid } from "@postern/identity/jwt-svid";
import { writeWitSvid } from "@postern/identity/wit-svid";
import { gatewayId } from "@postern/identity/spiffe-id";
import type { TrustBundle } from "@postern/identity/trust-bundle";
import { bundleOf, handMade, NOW, testSvid, testTrustDomain } from "@postern/identity/svid.fixture";
import { describe, expect, it } from "vitest";
import type { HeaderList } from "../../gateway/http/messages.ts";
import { ok, refuse } from "../../kernel/result.ts";
import { RemoteCaller, type SvidJudge } from "./remote-caller.ts";

const HOUR = 3_600_000;
const ID = "spiffe://corp/agents/one";
const AUDIENCE = gatewayId("corp").uri;
const corp = testTrustDomain("corp", "corp CA");
const evil = testTrustDomain("corp", "corp CA");
const elsewhere = testTrustDomain("elsewhere.example", "its CA");
const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" });
const bundle: TrustBundle = {
  ...corp.bundle,
  jwtAuthorities: [{ id: "k", key: createPublicKey(pair.privateKey) }],
  witAuthorities: [{ id: "k", key: createPublicKey(pair.privateKey) }],
};

const agents = new Map([
  [ID, "one"],
  ["spiffe://corp/agents/two", "two"],
]);

/** A judge whose mind can be changed. */
function court() {
  const state = { now: NOW, bundle, cut: new Set<string>() };
  const judge = (): SvidJudge => ({
    ...{ now: state.now, bundle: state.bundle, audience: AUDIENCE },
    standingOf: ({ uri }) => {
      const agent = agents.get(uri);
      if (agent === undefined) return refuse("agent_unknown");
      return state.cut.has(agent) ? refuse("agent_cut") : ok(agent);
    },
  });
  return { state, judge };
}

interface TokenOptions {
  readonly id?: string;
  readonly audience?: readonly string[];
  readonly expiresAt?: number;
  readonly key?: typeof pair;
}

function tokenOf({
  id = ID,
  audience = [AUDIENCE],
  expiresAt = NOW + 300_000,
  key = pair,
}: TokenOptions = {}) {
  const signing = { key: createPrivateKey(key.privateKey.export({ type: "pkcs8", format: "pem" })) };
  return writeJwtSvid({ spiffeId: id, audience, issuedAt: NOW, expiresAt, authorityId: "k" }, (bytes) =>
    signBytes("sha256", bytes, { ...signing, dsaEncoding: "ieee-p1363" }),
  );
}

const joseSign = (bytes: Buffer) =>
  signBytes("sha256", bytes, { key: pair.privateKey, dsaEncoding: "ieee-p1363" });

/** By the very key that tokens are believed by. */
const witOf = () =>
  writeWitSvid(
    {
      ...{ spiffeId: ID, publicKey: pair.publicKey.export({ type: "spki", format: "der" }) },
      ...{ issuedAt: NOW, expiresAt: NOW + 300_000, authorityId: "k" },
    },
    joseSign,
  );

function boundToken(): string {
  const [wit = "", good = ""] = [witOf(), tokenOf()].map((each) => each.split(".")[1]);
  const decode = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString()) as object;
  const claims = JSON.stringify({ ...decode(wit), ...decode(good) });
  const signed = `${tokenOf().split(".")[0]}.${Buffer.from(claims).toString("base64url")}`;
  return `${signed}.${joseSign(Buffer.from(signed)).toString("base64url")}`;
}

const asBearer = (token: string): HeaderList => [["authorization", `Bearer ${token}`]];
const asProxy = (token: string): HeaderList => [["proxy-authorization", `Bearer ${token}`]];
const callerWith = (chain: readonly Buffer[], judge: () => SvidJudge) =>
  new RemoteCaller("192.0.2.1", chain, judge);
const identified = (svid: { ok: boolean; value?: { agent: string }; reason?: string }) =>
  svid.ok ? svid.value?.agent : svid.reason;

describe("a certificate", () => {
  it.each<[string, readonly Buffer[], string]>([
    ["of an authority with the same name", [testSvid(evil, ID)], "not_signed_by_trust_domain"],
    [
      "of another trust domain",
      [testSvid(elsewhere, "spiffe://elsewhere.example/a")],
      "trust_domain_unknown",
    ],
    ["that is an authority's own", [corp.authority], "leaf_is_authority"],
    ["that has ended", [handMade(corp, { notAfter: NOW - 2000 })], "trust_domain_unknown"],
    ["that no agent has", [testSvid(corp, "spiffe://corp/agents/none")], "agent_unknown"],
    ["that is none", [Buffer.from("junk")], "certificate_malformed"],
  ])("%s lets nobody in", (_, chain, reason) => {
    expect(identified(callerWith(chain, court().judge).identify(1))).toBe(reason);
  });

  it("makes its holder the one agent that has its ID, whatever placeholder the request holds", () => {
    const caller = callerWith([testSvid(corp, ID)], court().judge);
    expect(caller.identify(1, [["authorization", "Bearer sk-placeholder"]])).toEqual({
      ok: true,
      value: {
        agent: "one",
        address: "192.0.2.1",
        selectors: [`spiffe:id=${ID}`],
        svid: { spiffeId: ID, document: "X.509-SVID" },
      },
    });
  });

  it("does not speak for somebody else's token, and a token besides it must hold", () => {
    const caller = callerWith([testSvid(corp, ID)], court().judge);
    const other = tokenOf({ id: "spiffe://corp/agents/two" });
    expect(identified(caller.identify(1, asBearer(other)))).toBe("identity_ambiguous");
    expect(identified(caller.identify(1, asProxy(other)))).toBe("identity_ambiguous");
    expect(identified(caller.identify(1, asProxy(tokenOf({ key: stranger }))))).toBe("identity_ambiguous");
    expect(identified(caller.identify(1, [["proxy-authorization", "Basic junk"]]))).toBe(
      "identity_ambiguous",
    );
    // The key of an API may look like a token: it is a placeholder like any other.
    expect(identified(caller.identify(1, asBearer(tokenOf({ key: stranger }))))).toBe("one");
    expect(identified(caller.identify(1, asProxy(tokenOf())))).toBe("one");
  });

  it("ends with its time, with its authority and with its agent, on an open connection and at once", () => {
    const changes: [string, (state: ReturnType<typeof court>["state"]) => void][] = [
      ["expired", (state) => (state.now = NOW + 2 * HOUR)],
      ["not_signed_by_trust_domain", (state) => (state.bundle = bundleOf("corp", evil.authority))],
      ["agent_cut", (state) => state.cut.add("one")],
    ];
    for (const [reason, change] of changes) {
      const { judge, state } = court();
      const caller = callerWith([testSvid(corp, ID)], judge);
      expect(identified(caller.identify(1))).toBe("one");
      let ended = 0;
      caller.lost.onOver(() => ended++);
      expect(caller.recheck()).toBe(false);
      change(state);
      expect([caller.recheck(), ended]).toEqual([true, 1]);
      expect(identified(caller.identify(2))).toBe(reason);
    }
  });

  it("goes on where authorities change and its own stays", () => {
    const { judge, state } = court();
    const caller = callerWith([testSvid(corp, ID)], judge);
    caller.identify(1);
    state.bundle = { ...bundleOf("corp", evil.authority, corp.authority), jwtAuthorities: [] };
    expect([caller.recheck(), identified(caller.identify(1))]).toEqual([false, "one"]);
  });

  it("of an agent that is cut may wait for its refusal: the connection is not ended under it", () => {
    const { judge, state } = court();
    state.cut.add("one");
    const caller = callerWith([testSvid(corp, ID)], judge);
    expect([identified(caller.identify(1)), caller.recheck()]).toEqual(["agent_cut", false]);
    state.cut.clear();
    expect([identified(caller.identify(2)), caller.recheck()]).toEqual(["one", false]);
    state.cut.add("one");
    expect(caller.recheck()).toBe(true);
  });
});

describe("a token", () => {
  const identify = (headers: HeaderList) => identified(callerWith([], court().judge).identify(1, headers));

  it.each<[string, HeaderList, string]>([
    ["that is not there", [], "svid_missing"],
    ["that is a placeholder", [["authorization", "Bearer sk-proj-x"]], "svid_missing"],
    ["of a stranger", asBearer(tokenOf({ key: stranger })), "signature_wrong"],
    ["for somebody else", asBearer(tokenOf({ audience: ["api"] })), "audience_wrong"],
    ["for somebody else too", asBearer(tokenOf({ audience: ["api", AUDIENCE] })), "audience_shared"],
    ["that has ended", asBearer(tokenOf({ expiresAt: NOW })), "expired"],
    ["of another trust domain", asBearer(tokenOf({ id: "spiffe://other/a" })), "trust_domain_unknown"],
    ["that no agent has", asBearer(tokenOf({ id: "spiffe://corp/none" })), "agent_unknown"],
    ["that is a WIT-SVID", asBearer(witOf()), "token_type_refused"],
    ["that is a WIT-SVID, for a proxy", asProxy(witOf()), "token_type_refused"],
    ["that is bound to a key and says it is a JWT-SVID", asBearer(boundToken()), "token_bound_to_key"],
    ["that is junk for a proxy", [["proxy-authorization", "Bearer junk"]], "token_malformed"],
    ["that is sent twice to a proxy", [...asProxy(tokenOf()), ...asProxy(tokenOf())], "token_repeated"],
    [
      "besides another one",
      [...asBearer(tokenOf()), ["x-api-key", tokenOf({ id: "spiffe://corp/agents/two" })]],
      "token_repeated",
    ],
  ])("%s lets nobody in", (_, headers, reason) => {
    expect(identify(headers)).toBe(reason);
  });

  it.each(["authorization", "api-key", "x-api-key", "x-goog-api-key"])("may stand in %s", (name) => {
    expect(identify([[name, tokenOf()]])).toBe("one");
  });

  it("may be the password of a proxy or of Basic", () => {
    const basic = `Basic ${Buffer.from(`anybody:${tokenOf()}`).toString("base64")}`;
    expect(identify([["proxy-authorization", basic]])).toBe("one");
    expect(identify([["authorization", basic]])).toBe("one");
    // What goes on to the API is a placeholder, whatever it looks like.
    expect(identify([["proxy-authorization", basic], ...asBearer(tokenOf({ key: stranger }))])).toBe("one");
  });

  it("speaks for its own request: the next one needs its own", () => {
    const caller = callerWith([], court().judge);
    expect(identified(caller.identify(1, asBearer(tokenOf())))).toBe("one");
    expect(identified(caller.identify(1))).toBe("svid_missing");
    const two = tokenOf({ id: "spiffe://corp/agents/two" });
    expect(identified(caller.identify(1, asBearer(two)))).toBe("two");
  });

  it("speaks for the tunnel that it opened until it ends, and nothing inside the tunnel does", () => {
    const { judge, state } = court();
    const connection = callerWith([], judge);
    const tunnel = connection.inTunnel(asProxy(tokenOf()));
    const two = tokenOf({ id: "spiffe://corp/agents/two" });
    expect(identified(tunnel.identify(1, asBearer(two)) as never)).toBe("one");
    expect(connection.recheck()).toBe(false);
    state.now = NOW + 301_000;
    expect(connection.recheck()).toBe(true);
    expect(identified(tunnel.identify(1) as never)).toBe("expired");
  });

  it("that ends while its request is under way ends that, and leaves the connection", () => {
    const { judge, state } = court();
    const caller = callerWith([], judge);
    caller.identify(1, asBearer(tokenOf()));
    let ended = 0;
    caller.lost.onOver(() => ended++);
    state.now = NOW + 301_000;
    expect([caller.recheck(), ended]).toEqual([false, 1]);
  });
});
