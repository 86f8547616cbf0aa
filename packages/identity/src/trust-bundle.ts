// SPDX-License-Identifier: Apache-2.0
/** Whose signatures count in one trust domain? The keys as others publish them, and as we do (SPIFFE Trust Domain and Bundle §4). */
import { createPublicKey, type KeyObject } from "node:crypto";
import { ok, refuse, type Result } from "./result.ts";
import { isJsonObject, memberOf, parseStrictJson } from "./jwt/strict-json.ts";
import { isUsableKey } from "./jwt/algorithms.ts";
import { trustDomainUri } from "./spiffe-id.ts";
import { type CertificateFacts, readCertificate } from "./read-certificate.ts";

export interface JwtAuthority {
  /** `kid`; unique among the authorities of a bundle that have one (WIT-SVID §6.1). */
  readonly id: string;
  readonly key: KeyObject;
}

/** Never merged with that of another trust domain. */
export interface TrustBundle {
  readonly trustDomain: string;
  readonly x509Authorities: readonly CertificateFacts[];
  readonly jwtAuthorities: readonly JwtAuthority[];
  /** Absent: the trust domain has no WIT-SVIDs (WIT-SVID §6.2). */
  readonly witAuthorities?: readonly JwtAuthority[];
  /** May exceed what a JavaScript number holds, §4.1.1. */
  readonly sequence?: bigint;
  /** Seconds. */
  readonly refreshHint?: number;
}

const MOST_BYTES = 1_048_576;
const MOST_KEYS = 200;

/**
 * `jwt-keys`: what the Workload API gives for tokens (§6.2.2 there) holds nothing else, and SPIRE and go-spiffe leave `use`
 * away from all of it. Where one entry has a `use`, it is asked of all, as in a trust bundle.
 */
export type BundleForm = "trust-bundle" | "jwt-keys";

/**
 * A bundle as somebody else wrote it. Entries of unknown kind are passed over (§4.1.3, §4.2); one that is of a known
 * kind and broken makes the whole of no use, because nobody can tell what its publisher meant.
 */
export function parseTrustBundle(
  trustDomain: string,
  document: Buffer,
  form: BundleForm = "trust-bundle",
): Result<TrustBundle, string> {
  if (document.length > MOST_BYTES) return refuse("the trust bundle is too large");
  const json = parseStrictJson(document);
  if (!json.ok || !isJsonObject(json.value)) return refuse("the trust bundle is not a JSON object");
  const keys = memberOf(json.value, "keys");
  if (!Array.isArray(keys)) return refuse("the trust bundle has no `keys`");
  if (keys.length > MOST_KEYS) return refuse("the trust bundle has too many keys");
  const x509Authorities: CertificateFacts[] = [];
  const jwtAuthorities: JwtAuthority[] = [];
  const witAuthorities: JwtAuthority[] = [];
  const isPlain = form === "jwt-keys" && !keys.some((entry) => useOf(entry) !== undefined);
  const isKnown = (entry: unknown): entry is Entry => isKnownEntry(entry, isPlain);
  for (const entry of keys.filter(isKnown)) {
    if (entry["use"] === "x509-svid") {
      const certificate = readAuthority(entry);
      if (certificate === undefined) continue;
      if (!certificate.ok) return certificate;
      x509Authorities.push(certificate.value);
    } else {
      const authority = readJwtAuthority(entry);
      if (!authority.ok) return authority;
      if ([...jwtAuthorities, ...witAuthorities].some(({ id }) => id === authority.value.id))
        return refuse("two JWT authorities have the same `kid`");
      (entry["use"] === "wit-svid" ? witAuthorities : jwtAuthorities).push(authority.value);
    }
  }
  const hints = readHints(json.value, document);
  if (!hints.ok) return hints;
  const wit = witAuthorities.length === 0 ? {} : { witAuthorities };
  return ok({ trustDomain, x509Authorities, jwtAuthorities, ...wit, ...hints.value });
}

type Entry = Readonly<Record<string, unknown>>;

const useOf = (entry: unknown): unknown => (isJsonObject(entry) ? memberOf(entry, "use") : undefined);

const USES: ReadonlySet<unknown> = new Set(["x509-svid", "jwt-svid", "wit-svid"]);

function isKnownEntry(entry: unknown, isPlain: boolean): entry is Entry {
  if (!isJsonObject(entry)) return false;
  const [kty, use] = [memberOf(entry, "kty"), useOf(entry)];
  return (kty === "EC" || kty === "RSA") && (isPlain || USES.has(use));
}

/** X509-SVID §6.2: the certificate is the first of `x5c`; an entry without one is passed over. */
function readAuthority(entry: Entry): Result<CertificateFacts, string> | undefined {
  const chain = memberOf(entry, "x5c");
  const first: unknown = Array.isArray(chain) ? chain[0] : undefined;
  if (first === undefined) return undefined;
  if (typeof first !== "string") return refuse("an `x5c` holds something else than text");
  const der = Buffer.from(first, "base64");
  // RFC 7517 §4.7: base64, not base64url, and nothing around it.
  if (der.toString("base64") !== first) return refuse("an `x5c` is not base64");
  const certificate = readCertificate(der);
  if (!certificate.ok) return refuse(`an X.509 authority cannot be read: ${certificate.reason}`);
  if (!certificate.value.isAuthority) return refuse("an X.509 authority is no CA certificate");
  return certificate;
}

/** JWT-SVID §6.1, WIT-SVID §6.1 */
function readJwtAuthority(entry: Entry): Result<JwtAuthority, string> {
  const id = memberOf(entry, "kid");
  if (typeof id !== "string" || id === "") return refuse("a JWT authority has no `kid`");
  if (memberOf(entry, "d") !== undefined) return refuse("a JWT authority shows its private key");
  const member = (name: string) => {
    const value = memberOf(entry, name);
    return typeof value === "string" ? { [name]: value } : {};
  };
  const names = entry["kty"] === "EC" ? ["crv", "x", "y"] : ["n", "e"];
  try {
    const jwk = Object.assign({ kty: entry["kty"] as string }, ...names.map(member)) as Record<
      string,
      string
    >;
    const key = createPublicKey({ key: jwk, format: "jwk" });
    return isUsableKey(key)
      ? ok({ id, key })
      : refuse("a JWT authority has a key of a kind that is not taken");
  } catch {
    return refuse("a JWT authority has a key that cannot be read");
  }
}

function readHints(
  document: Entry,
  text: Buffer,
): Result<Pick<TrustBundle, "sequence" | "refreshHint">, string> {
  const [sequence, refreshHint] = [
    memberOf(document, "spiffe_sequence"),
    memberOf(document, "spiffe_refresh_hint"),
  ];
  if (sequence !== undefined && (!Number.isInteger(sequence) || (sequence as number) < 0))
    return refuse("`spiffe_sequence` is not a whole number");
  if (refreshHint !== undefined && (!Number.isSafeInteger(refreshHint) || (refreshHint as number) < 0))
    return refuse("`spiffe_refresh_hint` is not a number of seconds");
  return ok({
    ...(sequence === undefined ? {} : { sequence: exactSequence(sequence as number, text) }),
    ...(refreshHint === undefined ? {} : { refreshHint: refreshHint as number }),
  });
}

/** The digits as they were written: a number of JavaScript rounds beyond 2^53. */
function exactSequence(rounded: number, text: Buffer): bigint {
  let exact = BigInt(rounded);
  JSON.parse(text.toString("utf8"), (name, value: unknown, context?: { source?: string }) => {
    if (name === "spiffe_sequence" && value === rounded && /^\d+$/.test(context?.source ?? ""))
      exact = BigInt(context!.source!);
    return value;
  });
  return exact;
}

/** What validators of JWT-SVIDs or WIT-SVIDs are given, and with `everything` the whole bundle (§4). */
export function printTrustBundle(bundle: TrustBundle, which: "everything" | "jwt" | "wit"): string {
  const isAll = which === "everything";
  const keys = [
    ...(isAll ? bundle.x509Authorities.map(x509Entry) : []),
    ...(isAll || which === "jwt" ? bundle.jwtAuthorities.map(tokenEntry("jwt-svid")) : []),
    ...(isAll || which === "wit" ? (bundle.witAuthorities ?? []).map(tokenEntry("wit-svid")) : []),
  ];
  const hint = bundle.refreshHint === undefined ? "" : `,"spiffe_refresh_hint":${bundle.refreshHint}`;
  const sequence = bundle.sequence === undefined ? "" : `,"spiffe_sequence":${bundle.sequence}`;
  return `{"keys":${JSON.stringify(keys)}${isAll ? sequence + hint : ""}}`;
}

/** X509-SVID §6.1: exactly one certificate, and no `kid`. */
function x509Entry({ der, publicKey }: CertificateFacts): object {
  const key = createPublicKey({ key: publicKey, format: "der", type: "spki" });
  return { use: "x509-svid", ...key.export({ format: "jwk" }), x5c: [der.toString("base64")] };
}

const tokenEntry =
  (use: "jwt-svid" | "wit-svid") =>
  ({ id, key }: JwtAuthority): object => ({ use, kid: id, ...key.export({ format: "jwk" }) });

/** The trust domain that an authority of the bundle names although it is another one; undefined where none does. */
export function strangerIn({ trustDomain, x509Authorities }: TrustBundle): string | undefined {
  return x509Authorities
    .flatMap(({ alternativeNames }) => alternativeNames?.uris ?? [])
    .find((uri) => uri !== trustDomainUri(trustDomain));
}
