// SPDX-License-Identifier: Apache-2.0
/** A signing key for tests, in memory only. */
import { generateKeyPairSync, sign } from "node:crypto";
import type { EcdsaSigningKey } from "../keys/signing-keys.ts";

export function signingKey(name = "test"): EcdsaSigningKey {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    name,
    publicKey,
    spki: publicKey.export({ type: "spki", format: "der" }),
    sign: (bytes) => sign("sha256", bytes, privateKey),
    signJose: (bytes) => sign("sha256", bytes, { key: privateKey, dsaEncoding: "ieee-p1363" }),
  };
}
