// SPDX-License-Identifier: Apache-2.0
/** Terminates the agent's TLS inside a CONNECT tunnel, with a leaf certificate minted for its host. */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import { certificatePem, writeServerCertificate } from "@postern/identity/certificate";
import type { Clock } from "../kernel/clock.ts";
import type { InterceptionAuthority } from "./ports.ts";

const HOUR = 3_600_000;
const LEAF_LIFETIME = 7 * 24 * HOUR;
const CACHE_LIMIT = 1000;

export class Interception {
  readonly #authority: InterceptionAuthority;
  readonly #clock: Clock;
  /** One key for all leaves of this process: it lives in memory only. */
  readonly #leafKey = generateKeyPairSync("ec", { namedCurve: "P-256" });
  readonly #contexts = new Map<string, { context: SecureContext; renewAt: number }>();

  constructor(authority: InterceptionAuthority, clock: Clock) {
    this.#authority = authority;
    this.#clock = clock;
  }

  /**
   * Wraps the agent's side of a tunnel. Resolves when the handshake is done, with the server name the
   * agent asked for; rejects when it is not TLS or the agent does not trust the certificate.
   */
  terminate(socket: Duplex, host: string): Promise<{ socket: TLSSocket; serverName: string | undefined }> {
    const secure = new TLSSocket(socket, {
      isServer: true,
      secureContext: this.#contextFor(host),
      ALPNProtocols: ["http/1.1"],
      // SNI is compared with the CONNECT host per request; the certificate is always the host's own.
      SNICallback: (_name: string, callback: (error: null, context: SecureContext) => void) =>
        callback(null, this.#contextFor(host)),
    });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => secure.destroy(new Error("TLS handshake timed out")), 10_000);
      secure.once("secure", () => {
        clearTimeout(timer);
        const name = (secure as unknown as { servername?: string | false }).servername;
        resolve({ socket: secure, serverName: typeof name === "string" && name !== "" ? name : undefined });
      });
      secure.once("error", reject);
      secure.once("close", () => {
        clearTimeout(timer);
        reject(new Error("closed before the TLS handshake was done"));
      });
    });
  }

  #contextFor(host: string): SecureContext {
    const now = this.#clock.now();
    const cached = this.#contexts.get(host);
    if (cached !== undefined && cached.renewAt > now) return cached.context;
    if (this.#contexts.size >= CACHE_LIMIT) this.#contexts.clear();
    const certificate = writeServerCertificate(
      {
        host,
        publicKey: this.#leafKey.publicKey.export({ type: "spki", format: "der" }),
        serial: Buffer.concat([Buffer.from([0x40]), randomBytes(15)]),
        notBefore: now - HOUR,
        notAfter: now + LEAF_LIFETIME,
        issuer: this.#authority,
      },
      (bytes) => this.#authority.sign(bytes),
    );
    const context = createSecureContext({
      key: this.#leafKey.privateKey.export({ type: "pkcs8", format: "pem" }),
      cert: certificatePem(certificate) + this.#authority.certificatePem,
      minVersion: "TLSv1.2",
    });
    this.#contexts.set(host, { context, renewAt: now + LEAF_LIFETIME / 2 });
    return context;
  }
}
