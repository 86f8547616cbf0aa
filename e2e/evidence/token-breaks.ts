// SPDX-License-Identifier: Apache-2.0
/** What can be wrong with a JSON Web Token whoever has issued it (RFC 8725 §2). */
import { createHmac, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import type { TokenIssuer } from "@postern/testkit";
import { type Break, breaks } from "./story.ts";

type Json = Readonly<Record<string, unknown>>;

const stranger = generateKeyPairSync("rsa", { modulusLength: 2048 });
const encode = (value: object | string): string =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
const decode = (part = ""): Json => JSON.parse(Buffer.from(part, "base64url").toString()) as Json;
const now = (): number => Math.floor(Date.now() / 1000);

export const claimsOf = (token: string): Json => decode(token.split(".")[1]);

/** Signed by a key of an attacker, with whatever header that needs. */
export function forged(token: string, header: Json = {}): string {
  const [head, body] = token.split(".");
  const signed = `${encode({ ...decode(head), ...header })}.${body}`;
  return `${signed}.${sign("sha256", Buffer.from(signed), stranger.privateKey).toString("base64url")}`;
}

/** `good` makes a token that would be taken. */
export function tokenBreaks(issuer: TokenIssuer, good: () => string): Break[] {
  const changed = (claims: Json): string => issuer.sign({ ...claimsOf(good()), ...claims });
  const audience = (): unknown => [claimsOf(good())["aud"]].flat()[0];
  const jwk = stranger.publicKey.export({ format: "jwk" });
  return breaks([
    ["signed by another key of that name", () => forged(good()), "token_signature_wrong"],
    [
      "signed by a key that nobody publishes",
      () => forged(good(), { kid: randomUUID() }),
      "token_key_unknown",
    ],
    ["that brings its key along", () => forged(good(), { jwk }), "token_header_refused"],
    [
      "that says where its key is",
      () => forged(good(), { jku: "https://evil.example/keys" }),
      "token_header_refused",
    ],
    ["that needs no signature", () => forged(good(), { alg: "none" }), "token_algorithm_refused"],
    ["without a signature", () => good().replace(/[^.]+$/, ""), "token_malformed"],
    ["signed with the public key as a secret", () => symmetric(issuer, good()), "token_algorithm_refused"],
    ["with another subject under its signature", () => spliced(good()), "token_signature_wrong"],
    ["that names its issuer twice", () => doubled(good()), "token_malformed"],
    ["in the form that has two readings", () => flattened(good()), "token_malformed"],
    ["for somebody else", () => changed({ aud: "https://other.example" }), "token_audience_wrong"],
    [
      "for somebody else, too",
      () => changed({ aud: [audience(), "https://other.example"] }),
      "token_audience_wrong",
    ],
    ["for nobody", () => changed({ aud: undefined }), "token_audience_wrong"],
    ["of another issuer", () => changed({ iss: "https://issuer.evil.example" }), "token_issuer_wrong"],
    [
      "of an issuer that differs by a slash",
      () => changed({ iss: issuer.issuer.endsWith("/") ? issuer.issuer.slice(0, -1) : `${issuer.issuer}/` }),
      "token_issuer_wrong",
    ],
    ["that has expired", () => changed({ iat: now() - 60, exp: now() - 1 }), "token_expired"],
    ["without an end", () => changed({ exp: undefined }), "token_time_missing"],
    ["from tomorrow", () => changed({ iat: now() + 86_400, exp: now() + 86_700 }), "token_not_yet_valid"],
    ["for a month", () => changed({ exp: now() + 2_592_000 }), "token_lives_too_long"],
    ["of more than 16 KiB", () => changed({ filler: "x".repeat(20_000) }), "token_too_large"],
    ["that is none", () => "hunter2", "token_malformed"],
  ]);
}

/** RFC 8725 §2.1: whoever lets the token say how it is verified takes the public key for a shared one. */
function symmetric(issuer: TokenIssuer, token: string): string {
  const [head, body] = token.split(".");
  const signed = `${encode({ ...decode(head), alg: "HS256" })}.${body}`;
  return `${signed}.${createHmac("sha256", issuer.keySet()).update(signed).digest("base64url")}`;
}

function spliced(token: string): string {
  const [head, body, signature] = token.split(".");
  return `${head}.${encode({ ...decode(body), sub: "somebody-else" })}.${signature}`;
}

function doubled(token: string): string {
  const [head, body = "", signature] = token.split(".");
  const text = Buffer.from(body, "base64url").toString();
  return `${head}.${encode(text.replace("{", '{"iss":"https://issuer.evil.example",'))}.${signature}`;
}

/** RFC 7515 §7.2.2 */
function flattened(token: string): string {
  const [head, payload, signature] = token.split(".");
  return JSON.stringify({ protected: head, payload, signature });
}
