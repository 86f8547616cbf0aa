// SPDX-License-Identifier: Apache-2.0
/** A remote agent as a test drives it: requests to the gateway's address by base URL, as a proxy, and through a tunnel. */
import { request as httpsRequest, type RequestOptions } from "node:https";
import { connect, type TLSSocket } from "node:tls";
import type { AttestResponse, IssuedIdentity, StatusResponse } from "@postern/contract";
import type { Postern } from "@postern/testkit";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

/** Where this server lets remote agents in. */
export async function gatewayPort(postern: Postern): Promise<number> {
  const { stdout } = await postern.postern(["status", "--json"]);
  const { gateway = "" } = JSON.parse(stdout) as StatusResponse;
  return Number(/:(\d+)$/.exec(gateway)?.[1]);
}

export class GatewayClient {
  readonly port: number;
  /** PEM; without it nobody is verified. */
  readonly authorities: string | undefined;

  constructor(port: number, authorities?: string) {
    this.port = port;
    this.authorities = authorities;
  }

  get #trust() {
    return this.authorities === undefined ? { rejectUnauthorized: false } : { ca: this.authorities };
  }

  /** One request on a connection of its own. */
  call(options: RequestOptions, body = ""): Promise<Answer> {
    const whole = {
      host: "127.0.0.1",
      servername: "localhost",
      port: this.port,
      method: "POST",
      agent: false as const,
      ...this.#trust,
    };
    return new Promise((resolve, reject) => {
      const request = httpsRequest({ ...whole, ...options }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.once("error", reject);
        response.once("end", () => {
          const { headers, statusCode = 0 } = response;
          resolve({ status: statusCode, headers, body: Buffer.concat(chunks).toString("utf8") });
        });
      });
      request.once("error", reject);
      request.end(body);
    });
  }

  async attest(provider: string, evidence: string | Buffer, want?: object): Promise<Answer> {
    const body = { provider, evidence: Buffer.from(evidence).toString("base64"), want };
    return this.call({ path: "/v1/attest" }, JSON.stringify(body));
  }

  async identityFor(provider: string, evidence: string | Buffer, want?: object): Promise<IssuedIdentity> {
    const answer = await this.attest(provider, evidence, want ?? { x509: {}, jwt: { audience: [] } });
    if (answer.status !== 200) throw new Error(`${answer.status} ${answer.body}`);
    return (JSON.parse(answer.body) as AttestResponse).identity!;
  }

  /** A connection, its handshake done. */
  connect(options: object = {}): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const whole = { host: "127.0.0.1", port: this.port, ...this.#trust, ...options };
      const socket = connect(whole, () => resolve(socket));
      socket.once("error", reject);
    });
  }

  /** A tunnel to an upstream with the TLS inside it done, or the answer that there is none. */
  async tunnel(
    target: string,
    trust: string,
    headers: readonly string[] = [],
    options: object = {},
  ): Promise<TLSSocket | string> {
    const outer = await this.connect(options);
    outer.write(`CONNECT ${target} HTTP/1.1\r\n${[`Host: ${target}`, ...headers].join("\r\n")}\r\n\r\n`);
    const head = await firstText(outer);
    if (!head.startsWith("HTTP/1.1 200 ")) return head;
    const [host = ""] = target.split(":");
    return new Promise((resolve, reject) => {
      const inner = connect({ socket: outer, servername: host, ca: trust }, () => resolve(inner));
      inner.once("error", reject);
    });
  }
}

/** What comes next on a connection. */
export const firstText = (socket: TLSSocket): Promise<string> =>
  new Promise((resolve, reject) => {
    socket.once("data", (bytes: Buffer) => resolve(bytes.toString("latin1")));
    socket.once("close", () => reject(new Error("the connection was closed")));
  });

/** Everything that comes until the other side ends. */
export async function allText(socket: TLSSocket): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of socket) chunks.push(chunk as Buffer);
  } catch {
    // Broken off is an end, too.
  }
  return Buffer.concat(chunks).toString("latin1");
}

export const certificateOf = ({ x509 }: IssuedIdentity) => ({
  cert: x509!.certificate,
  key: x509!.privateKey!,
});
