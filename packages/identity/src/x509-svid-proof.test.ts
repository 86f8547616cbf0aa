// SPDX-License-Identifier: Apache-2.0
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { handMade, NOW, testTrustDomain } from "./svid.fixture.ts";
import { isProof, PROOF_TYPE, verifyX509SvidProof } from "./x509-svid-proof.ts";

const domain = testTrustDomain();
const other = testTrustDomain("example.org", "another CA");

function pair() {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  return { spki, privateKey, sign: (bytes: Buffer) => sign("sha256", bytes, privateKey) };
}
const holder = pair();
const leaf = handMade(domain, { key: holder });

const encode = (value: unknown): string =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

const seconds = NOW / 1000;
const HEADER = { alg: "ES256", typ: PROOF_TYPE, x5c: [leaf.toString("base64")] };
const CLAIMS = { aud: "postern", iat: seconds, exp: seconds + 60, jti: "0123456789abcdef" };

function proof(
  header: unknown = HEADER,
  claims: unknown = CLAIMS,
  key: KeyObject = holder.privateKey,
): string {
  const signed = `${encode(header)}.${encode(claims)}`;
  const signature = sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

function verify(text: string, trust = domain): string {
  const bundleOf = (name: string) => (name === "example.org" ? trust.bundle : undefined);
  const verified = verifyX509SvidProof(text, "postern", bundleOf, NOW);
  return verified.ok ? verified.value.id.uri : verified.reason;
}

describe("a proof is refused", () => {
  it.each<[string, string, string]>([
    [
      "signed by somebody else, who has the certificate",
      proof(HEADER, CLAIMS, pair().privateKey),
      "proof_signature_wrong",
    ],
    ["for somebody else", proof(HEADER, { ...CLAIMS, aud: "other" }), "proof_audience_wrong"],
    [
      "for somebody else too",
      proof(HEADER, { ...CLAIMS, aud: ["postern", "other"] }),
      "proof_audience_wrong",
    ],
    ["without an end", proof(HEADER, { ...CLAIMS, exp: undefined }), "proof_time_wrong"],
    ["after its end", proof(HEADER, { ...CLAIMS, iat: seconds - 61, exp: seconds }), "proof_time_wrong"],
    ["of the future", proof(HEADER, { ...CLAIMS, iat: seconds + 31, exp: seconds + 60 }), "proof_time_wrong"],
    ["that holds for long", proof(HEADER, { ...CLAIMS, exp: seconds + 301 }), "proof_time_wrong"],
    ["that could be used twice", proof(HEADER, { ...CLAIMS, jti: undefined }), "proof_malformed"],
    ["that names itself in few letters", proof(HEADER, { ...CLAIMS, jti: "1" }), "proof_malformed"],
    ["of another type", proof({ ...HEADER, typ: "JWT" }), "proof_malformed"],
    ["with a key in the header", proof({ ...HEADER, jwk: {} }), "proof_malformed"],
    ["without a chain", proof({ ...HEADER, x5c: [] }), "proof_malformed"],
    [
      "with a chain in another spelling",
      proof({ ...HEADER, x5c: [leaf.toString("base64url")] }),
      "proof_malformed",
    ],
    ["without a signature", proof({ ...HEADER, alg: "none" }), "proof_algorithm_refused"],
    ["with an algorithm of another key", proof({ ...HEADER, alg: "RS256" }), "proof_signature_wrong"],
    ["with a member that stands there twice", proof(`{"typ":"x","typ":"${PROOF_TYPE}"}`), "proof_malformed"],
    [
      "with an authority as leaf",
      proof({ ...HEADER, x5c: [domain.authority.toString("base64")] }),
      "leaf_is_authority",
    ],
    ["with more parts", `${proof()}.${encode("x")}`, "proof_malformed"],
  ])("%s", (_, text, reason) => {
    expect(verify(text)).toBe(reason);
  });

  it("where its certificate is of another authority of that name", () => {
    expect(verify(proof(), other)).toBe("not_signed_by_trust_domain");
  });

  it("whatever is changed in it", () => {
    const whole = proof();
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.constantFrom("A", "b", "."), (at, letter) => {
        const changed = whole.slice(0, at) + letter + whole.slice(at + 1);
        expect(changed === whole || !verify(changed).startsWith("spiffe:")).toBe(true);
      }),
    );
  });
});

it("a proof by the holder of the key proves the SPIFFE ID, and is told from other evidence", () => {
  expect(verify(proof())).toBe("spiffe://example.org/a");
  expect(verify(proof(HEADER, { ...CLAIMS, aud: ["postern"] }))).toBe("spiffe://example.org/a");
  expect(isProof(proof())).toBe(true);
  for (const text of ["", ".", "a.b.c", proof({ ...HEADER, typ: "JWT" }), `${encode("[]")}.a.b`])
    expect(isProof(text)).toBe(false);
});
