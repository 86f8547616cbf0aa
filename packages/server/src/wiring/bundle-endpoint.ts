// SPDX-License-Identifier: Apache-2.0
/**
 * Where other trust domains learn whom to believe in ours (SPIFFE Federation §5): one document, to everybody, by TLS.
 *
 * With a certificate of the Web (`https_web`), or with an SVID of the server's own ID (`https_spiffe`). Nobody is asked
 * who they are: what is told here is no secret, and whoever asked for authentication would be no endpoint (§5.1).
 */
import { constants } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { Config } from "../config/config.ts";
import type { OwnCertificate } from "../gateway/ports.ts";
import { faultFields, type Log } from "../kernel/log.ts";
import type { IdentityDesk } from "./identity-desk.ts";
import type { OwnSvid } from "./own-svid.ts";

export interface BundleEndpoint {
  /** Where it listens in fact: a port of 0 means any. */
  readonly address: string;
  close(): void;
}

type Published = Pick<IdentityDesk, "trustBundle">;

const LONGEST_REQUEST = 10_000;
const MOST_CONNECTIONS = 256;
/** Certificates of the Web are renewed in place. */
const READ_EVERY = 60_000;
/** §5.2.1, §5.2.2: Mozilla's intermediate profile. */
const CIPHERS = [
  ...["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"],
  ...["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"],
  ...["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"],
  ...["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"],
].join(":");

export async function openBundleEndpoint(
  { bundleEndpoint }: Pick<Config, "bundleEndpoint">,
  desk: Published,
  { own, log }: { readonly own: OwnSvid; readonly log: Log },
): Promise<BundleEndpoint | undefined> {
  if (bundleEndpoint === undefined) return undefined;
  const { listen, web } = bundleEndpoint;
  const files = web === undefined ? undefined : await WebCertificate.open(web, log);
  const first = files === undefined ? await own.own() : files.current;
  const server = createServer(contextOf(first), (request, response) => answer(request, response, desk));
  (files ?? own).onChange((certificate) => server.setSecureContext(contextOf(certificate)));
  server.maxConnections = MOST_CONNECTIONS;
  server.headersTimeout = LONGEST_REQUEST;
  server.requestTimeout = LONGEST_REQUEST;
  server.keepAliveTimeout = LONGEST_REQUEST;
  server.setTimeout(LONGEST_REQUEST, (socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(listen, () => {
      server.off("error", reject);
      server.on("error", (error) => log.write("warn", "listener failed", faultFields(error)));
      resolve();
    });
  });
  return {
    address: addressOf(server),
    close: () => {
      files?.close();
      server.close();
      server.closeAllConnections();
    },
  };
}

function answer(request: IncomingMessage, response: ServerResponse, desk: Published): void {
  request.resume();
  const isRead = request.method === "GET" || request.method === "HEAD";
  const isFound = request.url === "/";
  const body = isRead && isFound ? desk.trustBundle() : "";
  response.writeHead(isRead ? (isFound ? 200 : 404) : 405, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    // A stale answer would keep a revoked key alive.
    "cache-control": "no-store",
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

const contextOf = ({ certificate, privateKey }: OwnCertificate) => ({
  cert: certificate,
  key: privateKey,
  ciphers: CIPHERS,
  minVersion: "TLSv1.2" as const,
  secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
});

function addressOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === "string") return "";
  return `${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`;
}

/** Files of somebody who renews them. */
class WebCertificate {
  readonly #files: { readonly certificate: string; readonly key: string };
  readonly #listeners = new Set<(certificate: OwnCertificate) => void>();
  readonly #timer: NodeJS.Timeout;
  current: OwnCertificate;

  private constructor(
    files: { readonly certificate: string; readonly key: string },
    first: OwnCertificate,
    log: Log,
  ) {
    this.#files = files;
    this.current = first;
    const again = (): void => {
      this.#read().catch((error: unknown) => {
        log.write("error", "the certificate of the bundle endpoint could not be read", faultFields(error));
      });
    };
    this.#timer = setInterval(again, READ_EVERY).unref();
  }

  static async open(
    files: { readonly certificate: string; readonly key: string },
    log: Log,
  ): Promise<WebCertificate> {
    return new WebCertificate(files, await readFiles(files), log);
  }

  onChange(listener: (certificate: OwnCertificate) => void): void {
    this.#listeners.add(listener);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #read(): Promise<void> {
    const read = await readFiles(this.#files);
    if (read.certificate === this.current.certificate && read.privateKey === this.current.privateKey) return;
    this.current = read;
    for (const listener of this.#listeners) listener(read);
  }
}

const readFiles = async ({
  certificate,
  key,
}: {
  certificate: string;
  key: string;
}): Promise<OwnCertificate> => ({
  certificate: await readFile(certificate, "utf8"),
  privateKey: await readFile(key, "utf8"),
});
