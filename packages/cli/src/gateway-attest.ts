// SPDX-License-Identifier: Apache-2.0
/** Presents evidence to a server that is elsewhere: over verified TLS, to its gateway's address. */
import { request as httpsRequest } from "node:https";
import { readFileSync } from "node:fs";
import type { AttestRequest, AttestResponse } from "@postern/contract";
import { UsageError } from "./command.ts";
import { ControlError } from "./control-client.ts";

const PATIENCE = 30_000;
const MOST_BYTES = 1_048_576;

export interface Server {
  /** `https://HOST:PORT` */
  readonly url: string;
  /** PEM file with whom to believe; the system's authorities where absent. */
  readonly caFile: string | undefined;
}

export async function attestAt(server: Server, request: AttestRequest): Promise<AttestResponse> {
  const url = URL.parse("/v1/attest", server.url);
  // The evidence would travel in clear, or to a place that nobody meant.
  if (url?.protocol !== "https:" || url.username !== "" || url.host !== URL.parse(server.url)?.host)
    throw new UsageError("give --server as https://HOST:PORT");
  const { status, text } = await post(
    url,
    Buffer.from(JSON.stringify(request)),
    readAuthorities(server.caFile),
  );
  const answer = parsed(text);
  if (answer !== undefined) return answer;
  throw new ControlError(`${url.host} answered ${status}, and not as the gateway of a Postern server does`);
}

function readAuthorities(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`cannot read ${file} (${(error as NodeJS.ErrnoException).code ?? "failed"})`);
  }
}

function post(url: URL, body: Buffer, ca: string | undefined): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void =>
      reject(new ControlError(`cannot reach ${url.host}: ${error.code ?? error.message}`));
    const headers = { "content-type": "application/json", "content-length": body.length };
    const options = { method: "POST", headers, agent: false as const, timeout: PATIENCE };
    const request = httpsRequest(url, { ...options, ...(ca === undefined ? {} : { ca }) }, (answer) => {
      const chunks: Buffer[] = [];
      let size = 0;
      answer.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > MOST_BYTES) answer.destroy(new Error("its answer is too long"));
        else chunks.push(chunk);
      });
      answer.once("error", fail);
      answer.once("end", () =>
        resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }),
      );
    });
    request.once("timeout", () => request.destroy(new Error("no answer in time")));
    request.once("error", fail);
    request.end(body);
  });
}

function parsed(text: string): AttestResponse | undefined {
  try {
    const answer = JSON.parse(text) as AttestResponse;
    const { outcome } = answer;
    return outcome === "matched" || outcome === "refused" || outcome === "unavailable" ? answer : undefined;
  } catch {
    return undefined;
  }
}
