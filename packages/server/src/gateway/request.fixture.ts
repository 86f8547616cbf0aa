// SPDX-License-Identifier: Apache-2.0
/** Requests, server workloads and answers for tests of the stages. */
import { Readable } from "node:stream";
import { loadProfiles } from "../profiles/profile.ts";
import type { CanonicalRequest, HeaderList, RawRequest } from "./http/messages.ts";
import type { GatewayWorkload } from "./ports.ts";
import type { MatchedRequest } from "./stages/4-match-server-workload.ts";

const profiles = loadProfiles();

export const streamOf = (...chunks: (string | Buffer)[]): Readable =>
  Readable.from(chunks.map((chunk) => Buffer.from(chunk as string, "utf8")));

/** Header names in lower case, as the codec gives them. */
export const lowerCased = (headers: HeaderList): HeaderList =>
  headers.map(([name, value]) => [name.toLowerCase(), value]);

export function rawRequest(headers: HeaderList = [], more: Partial<RawRequest> = {}): RawRequest {
  return {
    method: "POST",
    target: "/openai/v1/chat/completions",
    headers: lowerCased([["Host", "127.0.0.1:7117"], ...headers]),
    body: streamOf(),
    ...more,
  };
}

export function workloadOf(profileName: string, more: Partial<GatewayWorkload> = {}): GatewayWorkload {
  const profile = profiles.get(profileName)!;
  const { hosts, injections, operations } = profile;
  return {
    name: profileName,
    profile,
    hosts,
    port: 443,
    injections,
    operations,
    allowedNetworks: [],
    ...more,
  };
}

export function canonicalOf(path: string, more: Partial<CanonicalRequest> = {}): CanonicalRequest {
  return { method: "POST", scheme: "https", path, query: "", mode: "base-url", ...more };
}

export function matchedOf(
  workload: GatewayWorkload,
  path: string,
  more: Partial<MatchedRequest> = {},
): MatchedRequest {
  return { canonical: canonicalOf(path), workload, host: workload.hosts[0] ?? "api.example", ...more };
}

export async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
