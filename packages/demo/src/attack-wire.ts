// SPDX-License-Identifier: Apache-2.0
/** The attacks that no polite HTTP client can be talked into: forged Host headers, tunnels used for another host. */
import { request as httpRequest } from "node:http";
import { connect as tcpConnect, type Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";

type Environment = Readonly<Record<string, string | undefined>>;

export interface RawAnswer {
  readonly status?: number;
  readonly body?: string;
  readonly error?: string;
  /** How the proxy answered CONNECT; absent where it did not answer at all. */
  readonly tunnel?: number;
}

export function sendRaw(
  url: URL,
  wanted: { method: string; path: string; headers: Record<string, string>; body?: string },
): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const { method, path, headers, body } = wanted;
    const request = httpRequest({ host: url.hostname, port: url.port, method, path, headers, agent: false });
    request.on("error", (error) => resolve({ error: error.message }));
    request.on("response", (response) => {
      let text = "";
      response.setEncoding("latin1").on("data", (chunk: string) => void (text += chunk));
      response.on("close", () => resolve({ status: response.statusCode ?? 0, body: text }));
    });
    request.end(body);
  });
}

/** The gateway's own address, but a provider's name in `Host`: who gets the key? */
export function attemptHostSwap(environment: Environment): Promise<RawAnswer> {
  const url = new URL(`${environment["OPENAI_BASE_URL"]}/models`);
  return sendRaw(url, { method: "GET", path: url.pathname, headers: { host: "api.anthropic.com" } });
}

/** Does the proxy open a tunnel to a host that nobody listed? */
export async function attemptTunnel(environment: Environment, target: string): Promise<RawAnswer> {
  try {
    const { status, socket } = await openTunnel(environment, target);
    socket.destroy();
    return { tunnel: status };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

/** A tunnel to api.openai.com in which another host is named: by TLS (`serverName`), or by HTTP in any case. */
export async function attemptConnectMismatch(
  environment: Environment,
  serverName: string,
): Promise<RawAnswer> {
  try {
    const { status, socket } = await openTunnel(environment, "api.openai.com:443");
    const answer = status === 200 ? await requestThrough(socket, serverName) : {};
    return { ...answer, tunnel: status };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

function openTunnel(environment: Environment, target: string): Promise<{ status: number; socket: Socket }> {
  const proxy = new URL(environment["HTTPS_PROXY"] ?? environment["https_proxy"] ?? "http://127.0.0.1:9");
  return new Promise((resolve, reject) => {
    const credentials = decodeURIComponent(`${proxy.username}:${proxy.password}`);
    const headers =
      proxy.username === ""
        ? {}
        : { "proxy-authorization": `Basic ${Buffer.from(credentials).toString("base64")}` };
    const request = httpRequest({
      host: proxy.hostname,
      port: proxy.port,
      method: "CONNECT",
      path: target,
      headers: { host: target, ...headers },
    });
    request.on("error", reject);
    request.on("connect", (response, socket: Socket) =>
      resolve({ status: response.statusCode ?? 0, socket }),
    );
    request.end();
  });
}

function requestThrough(socket: Socket, serverName: string): Promise<RawAnswer> {
  return new Promise((resolve) => {
    let text = "";
    // The attacker does not care whose certificate it is.
    const tls = tlsConnect({ socket, servername: serverName, rejectUnauthorized: false }, () => {
      tls.write("GET /v1/models HTTP/1.1\r\nHost: api.anthropic.com\r\nConnection: close\r\n\r\n");
    });
    tls.setEncoding("latin1").on("data", (chunk: string) => void (text += chunk));
    tls.on("error", (error) => resolve({ error: error.message, body: text }));
    tls.on("close", () => resolve({ status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), body: text }));
  });
}

/** Straight to a port of the machine's loopback, past the gateway. */
export function attemptTcp(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = tcpConnect({ host: "127.0.0.1", port, timeout: 2000 });
    const done = (result: string) => {
      socket.destroy();
      resolve(result);
    };
    socket.on("connect", () => done("connected"));
    socket.on("timeout", () => done("timed out"));
    socket.on("error", (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
  });
}
