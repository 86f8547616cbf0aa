// SPDX-License-Identifier: Apache-2.0
/** A TLS server on loopback that knows the canary: it tells whether a call carried it, and sends it back. */
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import {
  certificatePem,
  writeAuthorityCertificate,
  writeServerCertificate,
} from "@postern/identity/certificate";

export interface CanaryUpstream {
  readonly host: string;
  readonly port: number;
  /** PEM of the authority that vouches for it. */
  readonly authority: string;
  /** How many calls came with exactly the canary. */
  right(): number;
  close(): void;
}

const HOST = "canary.postern.internal";
const HOUR = 3_600_000;

export async function startCanaryUpstream(canary: string): Promise<CanaryUpstream> {
  const root = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const leaf = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const rootKey = root.publicKey.export({ type: "spki", format: "der" });
  const signRoot = (bytes: Buffer): Buffer => sign("sha256", bytes, root.privateKey);
  const times = { notBefore: Date.now() - HOUR, notAfter: Date.now() + HOUR };
  const serial = (): Buffer => Buffer.concat([Buffer.from([0x40]), randomBytes(15)]);
  const issuer = { commonName: "Postern doctor", publicKey: rootKey };
  const authority = certificatePem(
    writeAuthorityCertificate({ ...issuer, ...times, serial: serial() }, signRoot),
  );
  const publicKey = leaf.publicKey.export({ type: "spki", format: "der" });
  const certificate = writeServerCertificate(
    { host: HOST, publicKey, issuer, ...times, serial: serial() },
    signRoot,
  );
  let right = 0;
  const server = createServer(
    { cert: certificatePem(certificate), key: leaf.privateKey.export({ type: "pkcs8", format: "pem" }) },
    (request, response) => {
      const isRight = request.headers.authorization === `Bearer ${canary}`;
      if (isRight) right++;
      // What a careless or malicious upstream does: it reflects what it got, in head and body.
      const reflected = request.headers.authorization ?? "";
      response.writeHead(isRight ? 200 : 401, { "x-reflected": Buffer.from(reflected).toString("base64") });
      response.end(JSON.stringify({ reflected, encoded: Buffer.from(reflected).toString("hex") }));
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    host: HOST,
    port: (server.address() as AddressInfo).port,
    authority,
    right: () => right,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
