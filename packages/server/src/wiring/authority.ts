// SPDX-License-Identifier: Apache-2.0
/** The local CA for interception: its key sealed in the store, its certificate beside it. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { getCACertificates } from "node:tls";
import type { InterceptionAuthority } from "../gateway/ports.ts";
import { certificatePem, writeAuthorityCertificate } from "@postern/identity/certificate";
import type { Clock } from "../kernel/clock.ts";
import type { EcdsaSigningKey } from "../keys/signing-keys.ts";
import { writeWhole } from "./write-whole.ts";

const DAY = 86_400_000;
const LIFETIME = 3650 * DAY;

/** Reads `ca.pem` of the data folder, or writes it at the first start. It holds no secret. */
export function loadAuthority(dataFolder: string, key: EcdsaSigningKey, clock: Clock): InterceptionAuthority {
  const file = join(dataFolder, "ca.pem");
  const commonName = `Postern CA ${key.spki.subarray(-4).toString("hex")}`;
  if (!existsSync(file)) {
    const now = clock.now();
    const spec = {
      commonName,
      publicKey: key.spki,
      serial: Buffer.concat([Buffer.from([0x40]), randomBytes(15)]),
      notBefore: now - DAY,
      notAfter: now + LIFETIME,
    };
    writeWhole(file, certificatePem(writeAuthorityCertificate(spec, key.sign)), 0o644);
  }
  return {
    commonName,
    publicKey: key.spki,
    certificatePem: readFileSync(file, "utf8"),
    sign: (bytes) => key.sign(bytes),
  };
}

/** The authority together with the roots that the system trusts. */
export function authorityBundle(authority: InterceptionAuthority): string {
  const system = getCACertificates("system");
  const roots = system.length > 0 ? system : getCACertificates("bundled");
  return [authority.certificatePem, ...roots].map((pem) => `${pem.trim()}\n`).join("");
}
