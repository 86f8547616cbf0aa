// SPDX-License-Identifier: Apache-2.0
/** Is a text one public key whose signatures still mean something? */
import { createPublicKey, type KeyObject } from "node:crypto";
import { readPublicKey } from "./verify-signature.ts";

const PEM = /^\s*-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----\s*$/;

/** ECDSA on NIST's curves, RSA from 2048 to 8192 bits, Ed25519. */
export function readSignerKey(pem: string): KeyObject | undefined {
  // Node makes a public key of a private one: who pasted that should hear of it.
  if (!PEM.test(pem)) return undefined;
  try {
    const key = createPublicKey(pem);
    if (key.asymmetricKeyType === "ed25519") return key;
    return readPublicKey(key.export({ format: "der", type: "spki" }));
  } catch {
    return undefined;
  }
}
