// SPDX-License-Identifier: Apache-2.0
import { generateKeyPairSync } from "node:crypto";
import type { TrustProviderSpec } from "@postern/contract";
import { createTestAuthority, startTokenIssuer } from "@postern/testkit";
import * as jose from "jose";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { attestBy } from "../attest-spec.fixture.ts";

const authority = await createTestAuthority();
const pair = (kid: string) => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { privateKey, entry: { ...publicKey.export({ format: "jwk" }), kid, use: "jwt-svid" } };
};
const [first, second, other] = [pair("a"), pair("b"), pair("a")];
let published: object = { keys: [first.entry], spiffe_sequence: 1, spiffe_refresh_hint: 300 };
const server = await startTokenIssuer({
  authority,
  issuer: "https://bundle.partner.example",
  answer: () => ({ status: 200, body: published }),
});
afterEach(() => server.setFault(undefined));
afterAll(() => server.close());

const spec: TrustProviderSpec = {
  kind: "spiffe",
  trustDomain: "partner.example",
  audience: "postern",
  bundleUrl: "https://bundle.partner.example/bundle",
  connectTo: { address: "127.0.0.1", port: server.port },
  allowedNetworks: ["127.0.0.1/32"],
  caCertificates: authority.certificate,
};
const attest = attestBy(spec);
const id = "spiffe://partner.example/ns/prod/sa/buyer";

/** Signed by jose, whose code is not ours. */
function svid(
  claims: Readonly<Record<string, unknown>> = {},
  header: object = {},
  key = first,
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return new jose.SignJWT({ sub: id, aud: ["postern"], iat: now, exp: now + 300, ...claims })
    .setProtectedHeader({ alg: "ES256", kid: key.entry.kid, typ: "JWT", ...header })
    .sign(key.privateKey);
}
const later = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;

describe("a JWT-SVID of another trust domain", () => {
  test("proves its SPIFFE ID, and no claim besides", async () => {
    expect(await attest(await svid({ role: "admin" }))).toEqual([
      `spiffe:id=${id}`,
      "spiffe:trust-domain=partner.example",
    ]);
  });

  test.each<[string, () => Promise<string>, string]>([
    [
      "of a third trust domain",
      () => svid({ sub: "spiffe://evil.example/ns/prod/sa/buyer" }),
      "trust_domain_wrong",
    ],
    [
      "of a trust domain whose name begins alike",
      () => svid({ sub: "spiffe://partner.example.evil/a" }),
      "trust_domain_wrong",
    ],
    ["of the trust domain itself", () => svid({ sub: "spiffe://partner.example" }), "trust_domain_wrong"],
    [
      "with a path that steps upwards",
      () => svid({ sub: "spiffe://partner.example/a/../b" }),
      "spiffe_id_malformed",
    ],
    ["of no SPIFFE ID", () => svid({ sub: "buyer" }), "trust_domain_wrong"],
    ["bound to a key that nobody shows", () => svid({ cnf: { jwk: first.entry } }), "token_bound_to_key"],
    ["for somebody else", () => svid({ aud: ["other"] }), "audience_wrong"],
    ["for somebody else too", () => svid({ aud: ["postern", "other"] }), "audience_wrong"],
    ["without end", () => svid({ exp: undefined }), "time_missing"],
    ["that has expired", () => svid({ exp: later(-1) }), "expired"],
    ["that lives for a day", () => svid({ exp: later(86_400) }), "token_lives_too_long"],
    ["signed by another key of that kid", () => svid({}, {}, other), "signature_wrong"],
    ["with a header that JWT-SVIDs do not have", () => svid({}, { x5t: "AAAA" }), "token_header_refused"],
    ["of another type", () => svid({}, { typ: "wit+jwt" }), "token_type_refused"],
  ])("%s is refused", async (_, token, reason) => {
    expect(await attest(await token())).toBe(reason);
  });

  test("is refused while its bundle cannot be read, and when it is broken", async () => {
    server.setFault("error");
    expect(await attestBy(spec)(await svid())).toBe("authority_status_503");
    server.setFault("no-json");
    expect(await attestBy(spec)(await svid())).toBe("trust_bundle_malformed");
    server.setFault("redirect");
    expect(await attestBy(spec)(await svid())).toBe("authority_redirects");
  });

  test("of a key that is published meanwhile is taken, and of one that was taken away is not", async () => {
    const bundle = { bundleUrl: undefined, bundle: JSON.stringify({ keys: [second.entry] }) };
    const by = attestBy({ ...spec, ...bundle });
    expect(await by(await svid({}, {}, second))).toBeInstanceOf(Array);
    expect(await by(await svid())).toBe("authority_unknown");
    published = { keys: [] };
    expect(await attestBy(spec)(await svid())).toBe("authority_unknown");
    published = { keys: [first.entry] };
  });

  test("is not verified by a key that is for certificates", async () => {
    const bundle = JSON.stringify({ keys: [{ ...first.entry, use: "x509-svid" }] });
    expect(await attestBy({ ...spec, bundleUrl: undefined, bundle })(await svid())).toBe("authority_unknown");
  });

  test("must meet the conditions", async () => {
    const conditions = [{ claim: "sub", oneOf: [id] }];
    const by = attestBy({ ...spec, conditions });
    expect(await by(await svid())).toBeInstanceOf(Array);
    expect(await by(await svid({ sub: "spiffe://partner.example/other" }))).toBe("condition_not_met");
  });
});
