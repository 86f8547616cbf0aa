// SPDX-License-Identifier: Apache-2.0
/**
 * Which identities and which trust does one answer of FetchX509SVID give? (Workload API §4.3–§4.6, §5)
 *
 * All or nothing: an answer with one document that nobody could use is not taken, so that the identity in use never
 * changes to another by somebody's mistake.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { DerError, DerReader } from "@postern/identity/der-reader";
import { readCertificate } from "@postern/identity/read-certificate";
import {
  parseSpiffeId,
  type SpiffeId,
  trustDomainProblem,
  trustDomainUri,
} from "@postern/identity/spiffe-id";
import type { TrustBundle } from "@postern/identity/trust-bundle";
import { verifyX509Svid } from "@postern/identity/verify-x509-svid";
import { SpiffeError } from "./spiffe-error.ts";
import { readX509SvidResponse, type X509SvidMessage } from "./workload-messages.ts";

export interface X509Svid {
  readonly id: SpiffeId;
  /** DER, the leaf first. */
  readonly certificates: readonly Buffer[];
  readonly privateKey: KeyObject;
  /** What the operator calls it, where somebody has several. */
  readonly hint: string;
  /** Milliseconds since 1970; the earliest end on its path. */
  readonly expiresAt: number;
}

export interface X509State {
  /** The first is the default identity (§8). Empty where there is none at present. */
  readonly svids: readonly X509Svid[];
  /** By name of the trust domain; one is never consulted for another. */
  readonly bundles: ReadonlyMap<string, TrustBundle>;
}

export const NO_STATE: X509State = { svids: [], bundles: new Map() };

const bad = (message: string, cause?: unknown): SpiffeError =>
  new SpiffeError("response_invalid", message, cause === undefined ? {} : { cause });

/** Throws where the answer is of no use. `problem` hears of trust domains that are left out. */
export function readX509State(
  message: Buffer,
  now: number,
  problem: (problem: SpiffeError) => void,
): X509State {
  const { svids: messages, federatedBundles } = readX509SvidResponse(message);
  if (messages.length === 0) throw bad("an answer without any X.509-SVID");
  const bundles = new Map<string, TrustBundle>();
  const svids = messages.map((each) => {
    const { svid, bundle } = readSvid(each, now);
    // Two SVIDs of one trust domain have one bundle: that of the default identity is kept.
    if (!bundles.has(bundle.trustDomain)) bundles.set(bundle.trustDomain, bundle);
    return svid;
  });
  for (const [name, bundle] of readX509Bundles(federatedBundles, problem))
    if (!bundles.has(name)) bundles.set(name, bundle);
  return { svids, bundles };
}

function readSvid(message: X509SvidMessage, now: number): { svid: X509Svid; bundle: TrustBundle } {
  const { spiffeId, chain, privateKey, bundle: authorities, hint } = message;
  for (const [name, value] of Object.entries({ spiffeId, chain, privateKey, authorities }))
    // §4.5: what is mandatory and has its default value makes the answer one to discard.
    if (value.length === 0) throw bad(`an X.509-SVID without ${name}`);
  const id = parseSpiffeId(spiffeId);
  if (!id.ok) throw bad(`an X.509-SVID for what is no SPIFFE ID: ${id.reason}`);
  const certificates = splitCertificates(chain);
  const bundle = bundleOf(id.value.trustDomain, authorities);
  const bundleFor = (name: string) => (name === bundle.trustDomain ? bundle : undefined);
  const verified = verifyX509Svid(certificates, bundleFor, now);
  if (!verified.ok) throw bad(`an X.509-SVID that nobody would believe: ${verified.reason}`);
  if (verified.value.id.uri !== spiffeId) throw bad("an X.509-SVID with another ID than it is said to have");
  const key = readKey(privateKey, certificates[0]!);
  return {
    svid: { id: id.value, certificates, privateKey: key, hint, expiresAt: verified.value.expiresAt },
    bundle,
  };
}

function readKey(pkcs8: Buffer, leaf: Buffer): KeyObject {
  let privateKey: KeyObject;
  let ours: Buffer;
  try {
    privateKey = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
    ours = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  } catch {
    // The cause could quote the key.
    throw bad("a private key that cannot be read");
  }
  const certificate = readCertificate(leaf);
  if (!certificate.ok || !certificate.value.publicKey.equals(ours))
    throw bad("a private key that is not that of its certificate");
  return privateKey;
}

/** By name of the trust domain. One that cannot be read is not trusted, and takes nobody else's trust away. */
export function readX509Bundles(
  bundles: ReadonlyMap<string, Buffer>,
  problem: (problem: SpiffeError) => void,
): Map<string, TrustBundle> {
  return readEach(bundles, bundleOf, problem);
}

export function readEach<T>(
  bundles: ReadonlyMap<string, Buffer>,
  read: (trustDomain: string, bytes: Buffer) => T,
  problem: (problem: SpiffeError) => void,
): Map<string, T> {
  const found = new Map<string, T>();
  for (const [key, bytes] of bundles)
    try {
      const name = trustDomainOf(key);
      found.set(name, read(name, bytes));
    } catch (error) {
      problem(bad(`the bundle of ${key.slice(0, 300)} is not used`, error));
    }
  return found;
}

/** `spiffe://name` as the standard has it, or the bare name as some servers send it. */
function trustDomainOf(key: string): string {
  const prefix = trustDomainUri("");
  const name = key.startsWith(prefix) ? key.slice(prefix.length) : key;
  const problem = trustDomainProblem(name);
  if (problem !== undefined) throw bad(problem);
  return name;
}

function bundleOf(trustDomain: string, authorities: Buffer): TrustBundle {
  const x509Authorities = splitCertificates(authorities).map((der) => {
    const certificate = readCertificate(der);
    if (!certificate.ok) throw bad(`an authority that cannot be read: ${certificate.reason}`);
    return certificate.value;
  });
  return { trustDomain, x509Authorities, jwtAuthorities: [] };
}

const MOST_CERTIFICATES = 1000;

/** DER values that stand one behind the other. */
function splitCertificates(bytes: Buffer): Buffer[] {
  const reader = new DerReader(bytes);
  const certificates: Buffer[] = [];
  try {
    while (!reader.isAtEnd) {
      certificates.push(reader.next(0x30).whole);
      if (certificates.length > MOST_CERTIFICATES) throw bad("too many certificates");
    }
  } catch (error) {
    if (error instanceof DerError) throw bad(`certificates that cannot be read: ${error.message}`);
    throw error;
  }
  return certificates;
}
