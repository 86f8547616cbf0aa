// SPDX-License-Identifier: Apache-2.0
/** Talks to the server of a data folder, over its Unix socket: who may open it is an operator. */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import type { Problem } from "@postern/contract";
import { distrustOf } from "./control-peer.ts";

/** A refusal of the server, or no server at all. */
export class ControlError extends Error {
  readonly problem: Problem | undefined;

  constructor(message: string, problem?: Problem) {
    super(message);
    this.name = "ControlError";
    this.problem = problem;
  }
}

export class ControlClient {
  readonly #socketPath: string;
  readonly #dataFolder: string;

  constructor(dataFolder: string) {
    this.#dataFolder = dataFolder;
    this.#socketPath = join(dataFolder, "control.sock");
  }

  get<T>(path: string): Promise<T> {
    return this.#json("GET", path, undefined);
  }

  post<T>(path: string, body: unknown): Promise<T> {
    return this.#json("POST", path, Buffer.from(JSON.stringify(body)));
  }

  put<T>(path: string, body: Buffer): Promise<T> {
    return this.#json("PUT", path, body);
  }

  delete<T>(path: string): Promise<T> {
    return this.#json("DELETE", path, undefined);
  }

  /** The answer as it streams in; a POST where there is a body. */
  async stream(path: string, body?: unknown): Promise<IncomingMessage> {
    const answer =
      body === undefined
        ? await this.#send("GET", path, undefined)
        : await this.#send("POST", path, Buffer.from(JSON.stringify(body)));
    if (answer.statusCode !== 200) throw await this.#refusal(answer);
    return answer;
  }

  async #json<T>(method: string, path: string, body: Buffer | undefined): Promise<T> {
    const answer = await this.#send(method, path, body);
    if ((answer.statusCode ?? 500) >= 300) throw await this.#refusal(answer);
    return JSON.parse((await collect(answer)).toString("utf8")) as T;
  }

  async #refusal(answer: IncomingMessage): Promise<ControlError> {
    const text = (await collect(answer)).toString("utf8");
    try {
      const problem = JSON.parse(text) as Problem;
      return new ControlError(problem.detail, problem);
    } catch {
      return new ControlError(`the server answered ${answer.statusCode}`);
    }
  }

  #send(method: string, path: string, body: Buffer | undefined): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const refuse = (error: NodeJS.ErrnoException): void =>
        reject(new ControlError(this.#unreachable(error)));
      const socket = connect(this.#socketPath);
      socket.once("error", refuse);
      socket.once("connect", () => {
        const distrust = distrustOf(socket);
        if (distrust !== undefined) {
          socket.destroy();
          reject(
            new ControlError(`nothing was sent: ${this.#socketPath} is not the server's socket, ${distrust}`),
          );
          return;
        }
        const headers = { host: "postern", "content-length": body?.length ?? 0 };
        const outgoing = httpRequest({ createConnection: () => socket, method, path, headers }, resolve);
        outgoing.once("error", refuse);
        outgoing.end(body);
      });
    });
  }

  #unreachable(error: NodeJS.ErrnoException): string {
    if (error.code === "ENOENT" || error.code === "ECONNREFUSED")
      return `no server is running for the data folder ${this.#dataFolder}: start one with \`postern up\``;
    if (error.code === "EACCES") return `the server of ${this.#dataFolder} belongs to another user`;
    return `cannot reach the server (${error.code ?? error.message})`;
  }
}

async function collect(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
