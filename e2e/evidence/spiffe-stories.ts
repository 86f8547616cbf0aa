// SPDX-License-Identifier: Apache-2.0
/** The stories of SVIDs of another trust domain, such as SPIRE's: a JWT-SVID, and an X.509-SVID with a proof of its key. */
import {
  createTrustDomain,
  proofOfKey,
  type StandInTrustDomain,
  type StandInX509Svid,
} from "@postern/testkit";
import { AUDIENCE, type Break, breaks, type Story } from "./story.ts";

const NAME = "partner.example";
const ID = `spiffe://${NAME}/buyer`;
const DAY = 86_400;
const now = (): number => Math.floor(Date.now() / 1000);

/** Of the same name, by another authority: that is what anybody can make. */
const twoDomains = async (): Promise<[StandInTrustDomain, StandInTrustDomain, StandInTrustDomain]> => [
  await createTrustDomain(NAME),
  await createTrustDomain(NAME),
  await createTrustDomain("corp"),
];

const specOf = ({ bundle }: StandInTrustDomain) => ({
  ...{ kind: "spiffe", trustDomain: NAME, audience: AUDIENCE, bundle },
});

export async function foreignJwtSvid(): Promise<Story> {
  const [partner, twin, corp] = await twoDomains();
  const usual = { sub: ID, aud: [AUDIENCE] };
  const svid =
    (change: object, header: Readonly<Record<string, unknown>> = {}) =>
    () =>
      partner.jwtSvid({ ...usual, ...change }, header);
  const { kid } = (JSON.parse(partner.bundle) as { keys: { kid?: string }[] }).keys[1]!;
  return {
    spec: specOf(partner),
    selectors: [`spiffe:id=${ID}`],
    path: ["partners/{spiffe.trust-domain}", `partners/${NAME}`],
    evidence: svid({}),
    breaks: breaks([
      ["by another authority of that name", () => twin.jwtSvid(usual, { kid }), "signature_wrong"],
      ["by an authority that is not in the bundle", () => twin.jwtSvid(usual), "authority_unknown"],
      ["of a third trust domain", svid({ sub: "spiffe://evil.example/buyer" }), "trust_domain_wrong"],
      ["of a domain that begins alike", svid({ sub: `spiffe://${NAME}.evil/buyer` }), "trust_domain_wrong"],
      [
        "of our own trust domain",
        () => corp.jwtSvid({ ...usual, sub: "spiffe://corp/a" }),
        "trust_domain_wrong",
      ],
      ["of the trust domain itself", svid({ sub: `spiffe://${NAME}` }), "trust_domain_wrong"],
      ["with a path that goes up", svid({ sub: `spiffe://${NAME}/x/../buyer` }), "spiffe_id_malformed"],
      ["with a path in escapes", svid({ sub: `spiffe://${NAME}/%62uyer` }), "spiffe_id_malformed"],
      ["of another workload", svid({ sub: `spiffe://${NAME}/seller` }), "no_agent_matches"],
      ["for somebody else", svid({ aud: ["other"] }), "audience_wrong"],
      ["for somebody else, too", svid({ aud: [AUDIENCE, "other"] }), "audience_wrong"],
      ["without an end", svid({ exp: undefined }), "time_missing"],
      ["that has expired", svid({ exp: now() - 1 }), "expired"],
      ["that lives for a day", svid({ exp: now() + DAY }), "token_lives_too_long"],
      ["that says where its key is", svid({}, { jku: "https://evil.example" }), "token_header_refused"],
      ["of another type", svid({}, { typ: "wit+jwt" }), "token_type_refused"],
      ["that needs no signature", svid({}, { alg: "none" }), "token_algorithm_refused"],
    ]),
  };
}

export async function foreignX509Svid(): Promise<Story> {
  const [partner, twin, corp] = await twoDomains();
  const good = await partner.x509Svid("/buyer");
  const prove = (svid: StandInX509Svid, claims: object = {}): string =>
    proofOfKey(svid, { aud: AUDIENCE, ...claims });
  return {
    spec: specOf(partner),
    selectors: [`spiffe:id=${ID}`],
    path: ["partners-x509/{spiffe.trust-domain}", `partners-x509/${NAME}`],
    evidence: () => prove(good),
    breaks: [
      ...proofBreaks(good, await partner.x509Svid("/seller"), prove),
      ...(await certificateBreaks(partner, prove)),
      ...breaks([
        [
          "by another authority of that name",
          async () => prove(await twin.x509Svid("/buyer")),
          "not_signed_by_trust_domain",
        ],
        ["of our own trust domain", async () => prove(await corp.x509Svid("/buyer")), "trust_domain_unknown"],
      ]),
    ],
  };
}

type Prove = (svid: StandInX509Svid, claims?: object) => string;

function proofBreaks(good: StandInX509Svid, other: StandInX509Svid, prove: Prove): Break[] {
  return [
    ...breaks([
      ["that is the public certificate alone", () => good.chain[0]!.toString("base64"), "token_malformed"],
      ["whose key its presenter lacks", () => prove({ ...good, key: other.key }), "proof_signature_wrong"],
      [
        "proved to somebody else",
        () => prove(good, { aud: "https://other.example" }),
        "proof_audience_wrong",
      ],
      ["proved to others, too", () => prove(good, { aud: [AUDIENCE, "x"] }), "proof_audience_wrong"],
      ["proved long ago", () => prove(good, { iat: now() - 400, exp: now() - 100 }), "proof_time_wrong"],
      ["proved for a day", () => prove(good, { exp: now() + DAY }), "proof_time_wrong"],
      ["proved without a name for the proof", () => prove(good, { jti: undefined }), "proof_malformed"],
    ]),
    {
      ...{ name: "whose proof was used before", reason: "evidence_used_before", isReplay: true },
      evidence: () => prove(good),
    },
  ];
}

/** Signed by the right authority, and no SVID all the same. */
async function certificateBreaks(partner: StandInTrustDomain, prove: Prove): Promise<Break[]> {
  const hour = 3_600_000;
  const DIGITAL_SIGNATURE = 1;
  const KEY_CERT_SIGN = 32;
  const changes: [string, Parameters<StandInTrustDomain["x509Svid"]>[1], string][] = [
    ["that has expired", { notAfter: new Date(Date.now() - hour / 2) }, "expired"],
    ["that is not valid yet", { notBefore: new Date(Date.now() + hour / 2) }, "not_yet_valid"],
    ["that is an authority", { isAuthority: true }, "leaf_is_authority"],
    ["that may sign certificates", { usages: DIGITAL_SIGNATURE | KEY_CERT_SIGN }, "leaf_usage_wrong"],
    ["that may sign nothing", { usages: 4 }, "leaf_usage_wrong"],
    ["for signing programs", { purposes: ["1.3.6.1.5.5.7.3.3"] }, "leaf_purpose_wrong"],
    ["for servers only", { purposes: ["1.3.6.1.5.5.7.3.1"] }, "leaf_purpose_wrong"],
    ["with two SPIFFE IDs", { uris: [ID, `spiffe://${NAME}/admin`] }, "leaf_names_wrong"],
    ["without a SPIFFE ID", { uris: ["https://partner.example/buyer"] }, "spiffe_id_malformed"],
    ["of the trust domain itself", { uris: [`spiffe://${NAME}`] }, "spiffe_id_without_path"],
  ];
  const made = await Promise.all(
    changes.map(async ([name, change, reason]) => {
      const svid = await partner.x509Svid("/buyer", change);
      return [name, () => prove(svid), reason] as const;
    }),
  );
  return breaks([
    ...made,
    ["that is the authority's own", () => prove(partner.authority), "leaf_is_authority"],
  ]);
}
