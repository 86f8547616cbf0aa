// SPDX-License-Identifier: Apache-2.0
/** With which certificate and which rules does this process shake hands? Made once for each SVID. */
import { constants } from "node:crypto";
import { createSecureContext, type SecureContext, type SecureContextOptions } from "node:tls";
import type { X509Svid } from "./x509-state.ts";

/**
 * No tickets: a client could come back with one after its authority was taken away. No authorities: they are no
 * business of OpenSSL's here, and Node would take the public ones where none are given.
 */
const RULES: SecureContextOptions = {
  minVersion: "TLSv1.2",
  secureOptions: constants.SSL_OP_NO_TICKET,
  ca: [],
};

/** For `createServer` and `setSecureContext`; without SVID there is nothing to shake hands with. */
export function secureOptions(svid: X509Svid | undefined): SecureContextOptions {
  if (svid === undefined) return RULES;
  const key = svid.privateKey.export({ format: "pem", type: "pkcs8" });
  return { ...RULES, key, cert: svid.certificates.map(certificatePem).join("") };
}

const contexts = new WeakMap<X509Svid, SecureContext>();

export function secureContextOf(svid: X509Svid): SecureContext {
  const known = contexts.get(svid) ?? createSecureContext(secureOptions(svid));
  contexts.set(svid, known);
  return known;
}

/** RFC 7468 */
function certificatePem(der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
