// SPDX-License-Identifier: Apache-2.0
/**
 * An issuer of JSON Web Tokens as clouds and CI systems run them: discovery document and keys over real TLS, tokens in
 * the real format, and every fault that its users must survive.
 */
import { generateKeyPairSync, type KeyObject, randomUUID, sign } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TestAuthority } from "../test-authority.ts";

export type IssuerFault =
  | "error"
  | "redirect"
  | "silence"
  | "huge"
  | "compressed"
  | "no-json"
  | "another-issuer"
  | "keys-over-http"
  | "no-keys";

export interface TokenIssuer {
  readonly issuer: string;
  readonly port: number;
  /** Targets of the requests so far. */
  readonly requests: readonly string[];
  /** A token with these claims, `iss`, `iat`, `exp` (five minutes) and `jti` being given where absent. */
  sign(claims: Readonly<Record<string, unknown>>, header?: Readonly<Record<string, unknown>>): string;
  /** What the issuer publishes, as text. */
  keySet(): string;
  /** From now on another key signs, and only that is published. */
  rotate(): void;
  setFault(fault: IssuerFault | undefined): void;
  close(): Promise<void>;
}

export interface TokenIssuerOptions {
  readonly authority: TestAuthority;
  readonly issuer: string;
  /** Host names of its certificate, besides the issuer's. */
  readonly names?: readonly string[];
  /** What else it answers, such as an API server does; undefined leaves the request to the issuer. */
  readonly answer?: (request: IncomingMessage, body: Buffer) => StandInAnswer | undefined;
}

export interface StandInAnswer {
  readonly status: number;
  readonly body: unknown;
}

export async function startTokenIssuer(options: TokenIssuerOptions): Promise<TokenIssuer> {
  const { authority, issuer, names = [] } = options;
  const host = new URL(issuer).hostname;
  const { certificate, privateKey } = await authority.issue([...new Set([host, ...names])]);
  const requests: string[] = [];
  let signing = newSigningKey();
  let fault: IssuerFault | undefined;
  const keySet = (): string => JSON.stringify({ keys: fault === "no-keys" ? [] : [signing.jwk] });

  const server = createServer({ cert: certificate, key: privateKey }, (request, response) => {
    requests.push(request.url ?? "");
    void collect(request).then((body) => respond(request, body, response));
  });

  function respond(request: IncomingMessage, body: Buffer, response: ServerResponse): void {
    if (fault !== undefined && answerWithFault(fault, response)) return;
    const own = options.answer?.(request, body);
    if (own !== undefined) return send(response, own.status, JSON.stringify(own.body));
    if (request.url?.endsWith("/.well-known/openid-configuration") === true)
      return send(response, 200, discovery());
    if (/\/(keys|openid\/v1\/jwks)$/.test(request.url ?? "")) return send(response, 200, keySet());
    send(response, 404, '{"error":"not found"}');
  }

  function discovery(): string {
    const scheme = fault === "keys-over-http" ? "http" : "https";
    const keysHost = names[0] ?? host;
    return JSON.stringify({
      issuer: fault === "another-issuer" ? `${issuer}.evil.example` : issuer,
      jwks_uri: `${scheme}://${keysHost}${new URL(issuer).pathname.replace(/\/$/, "")}/keys`,
      id_token_signing_alg_values_supported: ["RS256"],
      response_types_supported: ["id_token"],
      subject_types_supported: ["public"],
    });
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    issuer,
    port: (server.address() as AddressInfo).port,
    requests,
    sign: (claims, header = {}) => {
      const now = Math.floor(Date.now() / 1000);
      const all = { iss: issuer, iat: now, exp: now + 300, jti: randomUUID(), ...claims };
      const head = { alg: "RS256", typ: "JWT", kid: signing.jwk["kid"], ...header };
      const signed = [head, all]
        .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
        .join(".");
      return `${signed}.${sign("sha256", Buffer.from(signed), signing.privateKey).toString("base64url")}`;
    },
    keySet,
    rotate: () => void (signing = newSigningKey()),
    setFault: (next) => void (fault = next),
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function newSigningKey(): { privateKey: KeyObject; jwk: Record<string, unknown> } {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwk = { ...publicKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "RS256" };
  return { privateKey, jwk };
}

/** Whether the fault answers for everything; the others are in what is published. */
function answerWithFault(fault: IssuerFault, response: ServerResponse): boolean {
  switch (fault) {
    case "error":
      send(response, 503, '{"error":"unavailable"}');
      return true;
    case "redirect":
      response.writeHead(302, { location: "https://evil.example/" }).end();
      return true;
    case "silence":
      return true;
    case "huge":
      send(response, 200, JSON.stringify({ keys: [], filler: "x".repeat(1_000_000) }));
      return true;
    case "compressed":
      response.writeHead(200, { "content-encoding": "gzip" }).end("x");
      return true;
    case "no-json":
      send(response, 200, "<html>maintenance</html>");
      return true;
    default:
      return false;
  }
}

function send(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

async function collect(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
