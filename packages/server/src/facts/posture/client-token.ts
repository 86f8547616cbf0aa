// SPDX-License-Identifier: Apache-2.0
/** A token by which an API knows its client (RFC 6749 §4.4). */
import type { Secret } from "../../kernel/secret.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { type Ask, objectOf, textOf } from "./posture-reader.ts";

export async function clientToken(
  ask: Ask,
  {
    clientId,
    more = {},
    secret,
    url,
  }: {
    readonly url: URL;
    readonly clientId: string;
    readonly secret: Secret;
    readonly more?: Readonly<Record<string, string>>;
  },
): Promise<Result<string, string>> {
  const form = new URLSearchParams({
    ...{ grant_type: "client_credentials", client_id: clientId },
    ...{ client_secret: secret.expose("connect").toString("utf8"), ...more },
  });
  const answer = await ask({
    ...{ url, method: "POST", body: Buffer.from(form.toString()) },
    headers: { accept: "application/json", "content-type": "application/x-www-form-urlencoded" },
  });
  if (!answer.ok) return answer;
  const token = textOf(objectOf(answer.value)["access_token"]);
  // It becomes a header's value.
  return token !== undefined && /^[\x21-\x7e]{1,8192}$/.test(token) ? ok(token) : refuse("token_malformed");
}
