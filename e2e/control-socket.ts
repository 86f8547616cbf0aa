// SPDX-License-Identifier: Apache-2.0
/** Asks the server straight over its control socket, without the time of a process start for each question. */
import { request } from "node:http";
import { join } from "node:path";

/** The connection ended before the whole answer was there: nobody knows whether it was done. */
export class Unanswered extends Error {}

export interface ControlAnswer {
  readonly status: number;
  readonly body: Buffer;
}

export const jsonOf = ({ body }: ControlAnswer): unknown => JSON.parse(body.toString("utf8"));

const PATIENCE = 20_000;

export function ask(
  folder: string,
  method: "GET" | "POST" | "PUT" | "DELETE",
  path: string,
  body?: unknown,
): Promise<ControlAnswer> {
  const bytes = body === undefined || Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const broken = (error: Error): void => reject(new Unanswered(`${method} ${path}: ${error.message}`));
    const outgoing = request(
      {
        socketPath: join(folder, "control.sock"),
        method,
        path,
        agent: false,
        headers: { host: "postern", "content-length": bytes?.length ?? 0 },
      },
      (answer) => {
        const pieces: Buffer[] = [];
        answer.on("data", (piece: Buffer) => pieces.push(piece));
        answer.once("error", broken);
        answer.once("end", () => resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(pieces) }));
      },
    );
    outgoing.setTimeout(PATIENCE, () => {
      reject(new Error(`${method} ${path} was not answered in ${PATIENCE} ms`));
      outgoing.destroy();
    });
    outgoing.once("error", broken);
    outgoing.end(bytes);
  });
}
