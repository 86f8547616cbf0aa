// SPDX-License-Identifier: Apache-2.0
/** Asks the Workload API for tokens, and takes only what others could take too (Workload API §6.2.1). */
import { parseJwt } from "@postern/identity/jwt/verify-jwt";
import { memberOf } from "@postern/identity/jwt/strict-json";
import { parseSpiffeId, type SpiffeId } from "@postern/identity/spiffe-id";
import type { GrpcClient } from "./grpc-client.ts";
import { SpiffeError } from "./spiffe-error.ts";
import { readJwtSvidResponse, writeJwtSvidRequest } from "./workload-messages.ts";

export interface JwtSvid {
  readonly id: SpiffeId;
  readonly token: string;
  readonly hint: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

const LONGEST_CALL = 30_000;

export async function requestJwtSvids(
  client: GrpcClient,
  audience: readonly string[],
  id: string | undefined,
  signal: AbortSignal | undefined,
): Promise<readonly [JwtSvid, ...JwtSvid[]]> {
  if (audience.length === 0 || audience.includes(""))
    throw new SpiffeError("argument_invalid", "a token is for somebody: name an audience");
  const asked = id === undefined ? undefined : parseSpiffeId(id);
  if (asked?.ok === false) throw new SpiffeError("argument_invalid", asked.reason);
  const request = writeJwtSvidRequest(audience, id);
  const answer = await client.unary("FetchJWTSVID", request, { signal, timeout: LONGEST_CALL });
  const [first, ...others] = readJwtSvidResponse(answer).map((each) => readSvid(each, audience));
  if (first === undefined) throw bad("an answer without any JWT-SVID");
  if (id !== undefined && first.id.uri !== id)
    throw bad("a JWT-SVID for another identity than was asked for");
  return [first, ...others];
}

const bad = (message: string): SpiffeError => new SpiffeError("response_invalid", message);

function readSvid(
  { spiffeId, token, hint }: { readonly spiffeId: string; readonly token: string; readonly hint: string },
  audience: readonly string[],
): JwtSvid {
  const id = parseSpiffeId(spiffeId);
  const parsed = parseJwt(Buffer.from(token, "utf8"));
  if (!id.ok) throw bad(`a JWT-SVID for what is no SPIFFE ID: ${id.reason}`);
  if (!parsed.ok) throw bad(`a JWT-SVID that nobody would believe: ${parsed.reason}`);
  const [subject, expires, aud] = ["sub", "exp", "aud"].map((name) => memberOf(parsed.value.claims, name));
  if (subject !== spiffeId) throw bad("a JWT-SVID with another subject than it is said to have");
  if (typeof expires !== "number" || expires * 1000 <= Date.now()) throw bad("a JWT-SVID that has ended");
  const named: readonly unknown[] = [aud].flat();
  if (!audience.every((each) => named.includes(each))) throw bad("a JWT-SVID for others than was asked for");
  return { id: id.value, token, hint, expiresAt: expires * 1000 };
}
