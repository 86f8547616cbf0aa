// SPDX-License-Identifier: Apache-2.0
/** A trust domain of today with a key for each certificate, and the Workload API's answers about it. */
import { generateKeyPairSync, type KeyObject, sign as signBytes } from "node:crypto";
import * as certificate from "@postern/identity/certificate";
import { field, mapField } from "@postern/identity/protobuf";
import {
  constraints,
  handMade,
  type HandMade,
  names,
  type TestKey,
  usage,
} from "@postern/identity/svid.fixture";
import { trustDomainUri } from "@postern/identity/spiffe-id";

const HOUR = 3_600_000;

export interface LiveKey extends TestKey {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly pkcs8: Buffer;
}

export function liveKey(namedCurve = "P-256"): LiveKey {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve });
  return {
    publicKey,
    privateKey,
    spki: publicKey.export({ type: "spki", format: "der" }),
    pkcs8: privateKey.export({ type: "pkcs8", format: "der" }),
    sign: (bytes) => signBytes("sha256", bytes, privateKey),
  };
}

export interface LiveAuthority {
  readonly key: LiveKey;
  readonly commonName: string;
  readonly der: Buffer;
}

export interface LiveSvid {
  readonly id: string;
  readonly chain: readonly Buffer[];
  readonly key: LiveKey;
}

let made = 0;

export class LiveDomain {
  readonly name: string;
  readonly authority: LiveAuthority;

  constructor(name = "example.org") {
    this.name = name;
    this.authority = this.newAuthority();
  }

  newAuthority(): LiveAuthority {
    const key = liveKey();
    const commonName = `test authority ${++made}`;
    const validity = { notBefore: Date.now() - HOUR, notAfter: Date.now() + 24 * HOUR };
    const subject = certificate.name(commonName);
    // Without a bound on the length of paths: there are tests with intermediates.
    const extensions = { constraints: constraints(true), usage: usage(0x06, 1), names: undefined };
    return {
      key,
      commonName,
      der: handMade({ key, commonName }, { key, subject, ...extensions, ...validity }),
    };
  }

  /** Below the authority of the trust domain. */
  newIntermediate(given: HandMade = {}): LiveAuthority {
    const key = liveKey();
    const commonName = `test intermediate ${++made}`;
    const der = this.#sign(this.authority, {
      ...{ key, subject: certificate.name(commonName), names: undefined },
      ...{ constraints: constraints(true), usage: usage(0x06, 1) },
      ...given,
    });
    return { key, commonName, der };
  }

  /** Right in every point that is not given. */
  svid(path = "/workload", given: HandMade = {}, issuer = this.authority): LiveSvid {
    const key = liveKey();
    const id = `spiffe://${this.name}${path}`;
    const leaf = this.#sign(issuer, { key, names: names([id]), ...given });
    return { id, chain: [leaf, ...(issuer === this.authority ? [] : [issuer.der])], key };
  }

  #sign(issuer: LiveAuthority, given: HandMade): Buffer {
    return handMade(issuer, { notBefore: Date.now() - HOUR, notAfter: Date.now() + HOUR, ...given });
  }
}

export interface SvidFields {
  readonly spiffeId?: string;
  readonly chain?: Buffer;
  readonly key?: Buffer;
  readonly bundle?: Buffer;
  readonly hint?: string;
}

/** `X509SVID`, with what is given in place of what is right. */
export const svidMessage = (
  svid: LiveSvid,
  authorities: readonly LiveAuthority[],
  given: SvidFields = {},
): Buffer =>
  Buffer.concat([
    field(1, given.spiffeId ?? svid.id),
    field(2, given.chain ?? Buffer.concat(svid.chain)),
    field(3, given.key ?? svid.key.pkcs8),
    field(4, given.bundle ?? Buffer.concat(authorities.map(({ der }) => der))),
    ...(given.hint === undefined ? [] : [field(5, given.hint)]),
  ]);

/** `X509SVIDResponse` */
export const x509Response = (
  svids: readonly Buffer[],
  federated: Readonly<Record<string, readonly LiveAuthority[]>> = {},
): Buffer =>
  Buffer.concat([
    ...svids.map((svid) => field(1, svid)),
    ...Object.entries(federated).map(([name, authorities]) =>
      mapField(3, trustDomainUri(name), Buffer.concat(authorities.map(({ der }) => der))),
    ),
  ]);

/** The answer about one SVID of this domain. */
export const answerFor = (domain: LiveDomain, svid = domain.svid()): Buffer =>
  x509Response([svidMessage(svid, [domain.authority])]);
