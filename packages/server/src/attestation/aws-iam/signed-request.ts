// SPDX-License-Identifier: Apache-2.0
/**
 * Is this the one request that we would send to STS, signed by somebody with the credentials of a role?
 *
 * What was presented is never sent. Its parts are checked, each exactly once and of one form, and the request is made
 * anew from them: others who forwarded what they got were made to ask something else (CVE-2020-16250), or read a
 * parameter that AWS did not (CVE-2022-2385). A difference to what was signed makes AWS refuse the signature.
 */
import { type Result, ok, refuse } from "../../kernel/result.ts";

export interface SignedRequest {
  readonly region: string;
  readonly url: URL;
  /** Signed, too. Without it two requests of one second would be the same. */
  readonly nonce: string;
  /** Unique for what was signed, and when. */
  readonly signature: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

export interface SignedRequestRules {
  readonly regions: readonly string[];
  readonly now: number;
}

export const AUDIENCE_HEADER = "x-postern-audience";
export const NONCE_HEADER = "x-postern-nonce";

const LONGEST_SECONDS = 60;
const AHEAD_MS = 30_000;

/** Every parameter and its one form, in the order in which they are signed (SigV4: by name). */
const PARAMETERS: readonly (readonly [name: string, form: RegExp])[] = [
  ["Action", /^GetCallerIdentity$/],
  ["Version", /^2011-06-15$/],
  ["X-Amz-Algorithm", /^AWS4-HMAC-SHA256$/],
  ["X-Amz-Credential", /^A[A-Z0-9]{15,127}\/\d{8}\/[a-z0-9-]{1,40}\/sts\/aws4_request$/],
  ["X-Amz-Date", /^\d{8}T\d{6}Z$/],
  ["X-Amz-Expires", /^[1-9]\d{0,3}$/],
  ["X-Amz-Security-Token", /^[A-Za-z0-9+/=]{1,8192}$/],
  ["X-Amz-SignedHeaders", new RegExp(`^host;${AUDIENCE_HEADER};${NONCE_HEADER}$`)],
  ["X-Amz-Signature", /^[0-9a-f]{64}$/],
];
const OPTIONAL = "X-Amz-Security-Token";

/** The signed URL, and after `#` the nonce, which is in no URL. */
const EVIDENCE =
  /^https:\/\/sts\.([a-z0-9-]{1,40})\.amazonaws\.com(\.cn)?\/\?([^#]+)#([A-Za-z0-9_-]{16,64})$/;

export function parseSignedRequest(
  text: string,
  { now, regions }: SignedRequestRules,
): Result<SignedRequest, string> {
  const [, region = "", cn = "", query = "", nonce = ""] = EVIDENCE.exec(text) ?? [];
  // China's endpoints have another ending; any other pair of region and ending is nobody's.
  if (!regions.includes(region) || region.startsWith("cn-") !== (cn !== ""))
    return refuse("request_host_refused");
  const values = parseParameters(query);
  if (!values.ok) return values;
  const {
    "X-Amz-Credential": credential = "",
    "X-Amz-Date": date = "",
    "X-Amz-Signature": signature = "",
  } = values.value;
  const [, day, scope] = credential.split("/");
  if (scope !== region || day !== date.slice(0, 8)) return refuse("request_scope_wrong");
  const signedAt = instantOf(date);
  const seconds = Number(values.value["X-Amz-Expires"]);
  if (Number.isNaN(signedAt) || seconds > LONGEST_SECONDS) return refuse("request_lives_too_long");
  const expiresAt = signedAt + seconds * 1000;
  if (expiresAt <= now) return refuse("request_expired");
  if (signedAt > now + AHEAD_MS) return refuse("request_not_yet_valid");
  return ok({
    region,
    nonce,
    url: rebuilt(`sts.${region}.amazonaws.com${cn}`, values.value),
    signature,
    expiresAt,
  });
}

function parseParameters(query: string): Result<Readonly<Record<string, string>>, string> {
  const values: Record<string, string> = {};
  for (const pair of query.split("&")) {
    const at = pair.indexOf("=");
    const name = pair.slice(0, Math.max(0, at));
    const form = PARAMETERS.find(([known]) => known === name)?.[1];
    // Names are compared as they stand: another case or an escape would be another name to somebody.
    if (form === undefined) return refuse("request_parameter_unknown");
    if (Object.hasOwn(values, name)) return refuse("request_parameter_twice");
    const value = decoded(pair.slice(at + 1));
    if (value === undefined || !form.test(value)) return refuse("request_parameter_malformed");
    values[name] = value;
  }
  const isWhole = PARAMETERS.every(([name]) => name === OPTIONAL || Object.hasOwn(values, name));
  return isWhole ? ok(values) : refuse("request_parameter_missing");
}

/** `+` is a space to some and a plus to others. */
function decoded(value: string): string | undefined {
  if (value.includes("+")) return undefined;
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}

const rebuilt = (host: string, values: Readonly<Record<string, string>>): URL =>
  new URL(
    `https://${host}/?${PARAMETERS.flatMap(([name]) =>
      values[name] === undefined ? [] : [`${name}=${encodeURIComponent(values[name])}`],
    ).join("&")}`,
  );

/** `20261121T080000Z`; NaN for what is no time. */
function instantOf(date: string): number {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date)?.slice(1) ?? [];
  const [year, month, day, hour, minute, second] = parts;
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}
