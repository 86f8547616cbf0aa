// SPDX-License-Identifier: Apache-2.0
/** Does a SPIFFE ID, a trust bundle or somebody's SVID mean what every reader finds in it, and is nothing believed that nobody signed? */
import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { verifyJwtSvid } from "../../packages/identity/src/jwt-svid.ts";
import { parseSpiffeId } from "../../packages/identity/src/spiffe-id.ts";
import {
  parseTrustBundle,
  printTrustBundle,
  type TrustBundle,
} from "../../packages/identity/src/trust-bundle.ts";
import { isProof, verifyX509SvidProof } from "../../packages/identity/src/x509-svid-proof.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

/** The key of RFC 7515 §A.3: always the same, so that the corpus stays valid. */
const jwk = {
  kty: "EC",
  crv: "P-256",
  d: "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
  x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
  y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
};
const privateKey = createPrivateKey({ key: jwk, format: "jwk" });
const entry = { ...createPublicKey(privateKey).export({ format: "jwk" }), kid: "k", use: "jwt-svid" };
const published = JSON.stringify({ keys: [entry], spiffe_sequence: 7, spiffe_refresh_hint: 300 });

const NOW = 1_790_000_000_000;
const DOMAIN = "partner.example";
const b64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const svid = (change: object = {}, header: object = {}): string => {
  const claims = { sub: `spiffe://${DOMAIN}/a`, aud: ["postern"], exp: NOW / 1000 + 300, ...change };
  const signed = `${b64({ alg: "ES256", kid: "k", ...header })}.${b64(claims)}`;
  const key = { key: privateKey, dsaEncoding: "ieee-p1363" as const };
  return `${signed}.${sign("sha256", Buffer.from(signed), key).toString("base64url")}`;
};
const sound = [svid(), svid({ aud: "postern" })];
const unsound = [
  svid({ sub: "spiffe://evil.example/a" }),
  svid({ aud: ["other"] }),
  svid({ exp: 1 }),
  svid({}, { x5c: [] }),
  svid({}, { typ: "x509-svid-proof+jwt", x5c: ["MAA="] }),
];
const IDS = [
  `spiffe://${DOMAIN}/ns/a/sa/b`,
  "spiffe://10.0.0.1/a",
  "spiffe://td",
  "spiffe://Td/a",
  "spiffe://td/a%2fb",
];

function check(input: Buffer): void {
  const text = input.toString("latin1");
  checkId(text);
  checkBundle(input);
  const bundle = parseTrustBundle(DOMAIN, Buffer.from(published));
  demand(bundle.ok, "the sound bundle is refused");
  checkSvid(text, bundle.value);
  // No certificate was ever made for the bundle, so nothing proves that anybody holds one's key.
  const bundleOf = (name: string) => (name === DOMAIN ? bundle.value : undefined);
  demand(!verifyX509SvidProof(text, "postern", bundleOf, NOW).ok, "a proof of nobody");
  isProof(text);
}

/** ID1–ID8: a URL parser, which is lenient, finds the same parts, and printing changes nothing. */
function checkId(text: string): void {
  const id = parseSpiffeId(text);
  if (!id.ok) return;
  const { path, trustDomain, uri } = id.value;
  demandEqual(uri, text, "the ID as it was written");
  demandEqual(uri, `spiffe://${trustDomain}${path}`, "the ID of its parts");
  const url = new URL(text);
  demandEqual(
    [url.protocol, url.host, url.pathname, url.search, url.hash, url.username, url.password, url.port],
    ["spiffe:", trustDomain, path, "", "", "", "", ""],
    "what a URL parser finds",
  );
}

/** B1–B8: what is printed of a bundle is the bundle, and each key is public and has its own name. */
function checkBundle(input: Buffer): void {
  const parsed = parseTrustBundle(DOMAIN, input);
  if (!parsed.ok) return;
  const { jwtAuthorities, sequence, x509Authorities } = parsed.value;
  demand(
    jwtAuthorities.every(({ key }) => key.type === "public"),
    "a private key was taken",
  );
  demandEqual(new Set(jwtAuthorities.map(({ id }) => id)).size, jwtAuthorities.length, "names of keys");
  const again = parseTrustBundle(DOMAIN, Buffer.from(printTrustBundle(parsed.value, "everything")));
  demand(again.ok, "a bundle that was printed is refused");
  demandEqual(
    [
      again.value.jwtAuthorities.map(({ id }) => id),
      again.value.x509Authorities.length,
      String(again.value.sequence),
    ],
    [jwtAuthorities.map(({ id }) => id), x509Authorities.length, String(sequence)],
    "the bundle that was printed",
  );
}

function checkSvid(text: string, bundle: TrustBundle): void {
  const verified = verifyJwtSvid(text, "postern", (name) => (name === DOMAIN ? bundle : undefined), NOW);
  const signedPart = (token: string): string => token.slice(0, token.lastIndexOf("."));
  const isSound = sound.some((one) => signedPart(one) === signedPart(text));
  demand(!verified.ok || isSound, "an SVID was believed that nobody signed");
  demand(verified.ok || !sound.includes(text), "a sound SVID was refused");
  if (verified.ok) demandEqual(verified.value.id.trustDomain, DOMAIN, "the trust domain");
}

const WORDS = [
  published,
  published.replace('"kid"', '"d":"x","kid"'),
  '{"keys":[]}',
  '{"keys":[],"keys":[]}',
];

const target: FuzzTarget = {
  parsers: [
    "packages/identity/src/spiffe-id.ts",
    "packages/identity/src/trust-bundle.ts",
    "packages/identity/src/jwt-svid.ts",
    "packages/identity/src/x509-svid-proof.ts",
  ],
  property:
    "An ID that is taken has the parts that a URL parser finds, as they were written; a bundle reads the same after it was printed; only SVIDs that an authority of the bundle has signed are believed.",
  words: [
    ...[...IDS, ...sound, ...unsound, ...WORDS],
    ...[
      "spiffe://",
      "/../",
      "/./",
      "%2e",
      "@",
      ":443",
      "?",
      "#",
      "\\",
      '"use":"x509-svid"',
      '"x5c":["',
      "18446744073709551616",
    ],
  ],
  make: (choose) => choose.pick([...IDS, ...sound, ...unsound, ...WORDS]),
  check,
};
export default target;
