// SPDX-License-Identifier: Apache-2.0
/**
 * Stage 10: the one place where a secret becomes bytes of a request.
 *
 * Exactly one carrier is set. The guarded request holds none any more, and needs an `UpstreamConnection`,
 * which only a checked and verified dial gives.
 */
import type { Injection } from "@postern/contract";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { HeaderList, UpstreamConnection, UpstreamRequest } from "../http/messages.ts";
import type { Credential, GatewayWorkload } from "../ports.ts";
import type { ProfileInjection } from "../../profiles/profile.ts";
import type { GuardedRequest } from "./7-guard-request.ts";
import { type Refusal, refusal } from "./refusal.ts";

type Placed = { headers: HeaderList; path: string; query: string };

export function inject(
  request: GuardedRequest,
  workload: GatewayWorkload,
  credential: Credential,
  connection: UpstreamConnection,
): Result<UpstreamRequest, Refusal> {
  const secret = credential.secret.expose("inject").toString("latin1");
  const chosen = chooseInjection(workload, request.path, secret);
  if (chosen === undefined) return failed(`no injection of ${workload.name} fits this request`);
  const placed = place(chosen.injection, secret, request);
  if (!placed.ok) return placed;
  const headers: [string, string][] = [["host", connection.authority]];
  headers.push(...appended(request.headers, chosen.append));
  // The answer is searched for secrets, so it is asked for in clear.
  headers.push(["accept-encoding", "identity"], ...(placed.value.headers as [string, string][]));
  const length = Buffer.isBuffer(request.body) ? String(request.body.length) : request.contentLength;
  if (length !== undefined) headers.push(["content-length", length]);
  const target = placed.value.path + placed.value.query;
  return ok({ method: request.method, target, headers, body: request.body });
}

function chooseInjection(
  workload: GatewayWorkload,
  path: string,
  secret: string,
): ProfileInjection | undefined {
  return workload.injections.find(
    ({ whenPathStartsWith, whenSecretStartsWith }) =>
      (whenPathStartsWith === undefined || path.startsWith(whenPathStartsWith)) &&
      (whenSecretStartsWith === undefined || secret.startsWith(whenSecretStartsWith)),
  );
}

/** One entry per kind of injection. */
function place(injection: Injection, secret: string, request: GuardedRequest): Result<Placed, Refusal> {
  const { path, query } = request;
  const header = (name: string, value: string): Result<Placed, Refusal> =>
    /^[\x20-\x7e]+$/.test(value) && value.trim() === value
      ? ok({ headers: [[name, value]], path, query })
      : failed("the secret holds a character that a header cannot carry");
  switch (injection.kind) {
    case "bearer":
      return header("authorization", `Bearer ${secret}`);
    case "header":
      return header(
        injection.name,
        injection.value.replace("{secret}", () => secret),
      );
    case "basic":
      return header(
        "authorization",
        `Basic ${Buffer.from(`${injection.username}:${secret}`, "latin1").toString("base64")}`,
      );
    case "query": {
      const pair = `${injection.name}=${percentEncoded(secret)}`;
      return ok({ headers: [], path, query: query === "" ? `?${pair}` : `${query}&${pair}` });
    }
    case "path":
      return path.split(injection.placeholder).length === 2
        ? ok({ headers: [], query, path: path.replace(injection.placeholder, () => percentEncoded(secret)) })
        : failed("the path does not hold the server workload's path placeholder exactly once");
  }
}

function percentEncoded(secret: string): string {
  return [...Buffer.from(secret, "latin1")]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[A-Za-z0-9\-._~:]/.test(character)
        ? character
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    })
    .join("");
}

/** Adds list tokens, each once, wherever the agent has put some of the same header. */
function appended(headers: HeaderList, append: Readonly<Record<string, string>>): [string, string][] {
  const list = headers.map(([name, value]): [string, string] => [name, value]);
  for (const [name, token] of Object.entries(append)) {
    const same = list.filter(([key]) => key === name);
    if (same.some(([, value]) => value.split(/\s*,\s*/).includes(token))) continue;
    const last = same.at(-1);
    if (last === undefined) list.push([name, token]);
    else last[1] = `${last[1]},${token}`;
  }
  return list;
}

const failed = (detail: string): Result<never, Refusal> => refuse(refusal("injection_failed", detail));
