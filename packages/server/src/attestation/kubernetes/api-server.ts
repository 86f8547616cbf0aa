// SPDX-License-Identifier: Apache-2.0
/** Asks a Kubernetes API server: its keys, whether a token holds, what a pod is. With Postern's own token. */
import { readFile } from "node:fs/promises";
import { parseKeySet } from "@postern/identity/jwt/key-set";
import { isJsonObject, parseStrictJson } from "@postern/identity/jwt/strict-json";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { Secret } from "../../kernel/secret.ts";
import { callHttps, type HttpsCall, type Reach } from "../authority/call-https.ts";
import type { ReadKeys } from "../authority/issuer-keys.ts";

export interface ApiServerPlace extends Reach {
  readonly url: string;
  readonly tokenFile: string;
}

export interface ApiAnswer {
  readonly status: number;
  readonly object: Readonly<Record<string, unknown>>;
}

const MOST_TOKEN_BYTES = 16_384;

export class ApiServer {
  readonly #place: ApiServerPlace;

  constructor(place: ApiServerPlace) {
    this.#place = place;
  }

  /** The issuer's own page needs no name that the world can resolve, this needs none at all. */
  readonly readKeys: ReadKeys = async (signal) => {
    const answer = await this.#call({ method: "GET" }, "/openid/v1/jwks", signal);
    if (!answer.ok) return answer;
    return answer.value.status === 200
      ? parseKeySet(answer.value.body)
      : refuse(`authority_status_${answer.value.status}`);
  };

  get(path: string, signal: AbortSignal): Promise<Result<ApiAnswer, string>> {
    return this.#json({ method: "GET" }, path, signal);
  }

  post(path: string, object: unknown, signal: AbortSignal): Promise<Result<ApiAnswer, string>> {
    return this.#json({ method: "POST", body: Buffer.from(JSON.stringify(object)) }, path, signal);
  }

  async #json(
    call: Omit<HttpsCall, "url">,
    path: string,
    signal: AbortSignal,
  ): Promise<Result<ApiAnswer, string>> {
    const answer = await this.#call(call, path, signal);
    if (!answer.ok) return answer;
    const json = parseStrictJson(answer.value.body);
    if (!json.ok || !isJsonObject(json.value)) return refuse("authority_answer_malformed");
    return ok({ status: answer.value.status, object: json.value });
  }

  /** The token goes to this URL alone: `callHttps` follows no redirect. */
  async #call(call: Omit<HttpsCall, "url">, path: string, signal: AbortSignal) {
    const token = await readToken(this.#place.tokenFile);
    if (!token.ok) return token;
    const authorization = `Bearer ${token.value.expose("connect").toString("latin1")}`;
    const headers = { accept: "application/json", "content-type": "application/json", authorization };
    const url = new URL(this.#place.url.replace(/\/$/, "") + path);
    return callHttps({ ...call, url, headers }, this.#place, signal);
  }
}

/** Read each time: the kubelet replaces it before it expires. */
async function readToken(file: string): Promise<Result<Secret, string>> {
  try {
    const text = (await readFile(file, "latin1")).trim();
    const isToken = text.length <= MOST_TOKEN_BYTES && /^[\x21-\x7e]+$/.test(text);
    return isToken ? ok(new Secret(Buffer.from(text, "latin1"))) : refuse("own_token_malformed");
  } catch {
    return refuse("own_token_unreadable");
  }
}
