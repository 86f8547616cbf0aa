// SPDX-License-Identifier: Apache-2.0
/**
 * What does an OCI registry have under a name? (OCI Distribution Specification 1.1, read only)
 *
 * The registry is a stranger: everything is bounded in size, number and time. A credential goes to the registry and to
 * the place where its tokens are made, as the operator names them, whatever the registry says; a redirect leads to listed
 * hosts only, and takes no credential to another one.
 */
import type { SigstoreRegistry } from "@postern/contract";
import { isJsonObject, memberOf, parseStrictJson } from "@postern/identity/jwt/strict-json";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { Secret } from "../../kernel/secret.ts";
import { callHttps, type HttpsAnswer, type HttpsCall } from "../authority/call-https.ts";
import { type Challenge, readChallenge } from "./challenge.ts";
import { readRegistryCredential } from "./registry-credential.ts";

export interface RegistryQuestion {
  /** Below the repository, such as `manifests/sha256-….sig`. */
  readonly path: string;
  readonly accept: string;
  readonly mostBytes: number;
}

const MOST_REQUESTS = 100;
const MOST_REDIRECTS = 3;
const MOST_TOKEN = 16_384;

/** One repository, for one image: what it was let in with is forgotten afterwards. */
export class RegistryReader {
  readonly #place: SigstoreRegistry;
  readonly #origin: string;
  readonly #repository: string;
  readonly #signal: AbortSignal;
  #authorizing: Promise<Result<Secret, string>> | undefined;
  #requests = 0;

  constructor(place: SigstoreRegistry, repository: string, signal: AbortSignal) {
    this.#place = place;
    this.#origin = new URL(place.url ?? `https://${place.host}`).origin;
    this.#repository = repository;
    this.#signal = signal;
  }

  /** Undefined where there is no such thing. */
  async read(question: RegistryQuestion): Promise<Result<HttpsAnswer | undefined, string>> {
    const url = new URL(`${this.#origin}/v2/${this.#repository}/${question.path}`);
    const known = await this.#authorizing;
    let answer = await this.#get(url, question, known?.ok === true ? known.value : undefined);
    if (answer.ok && answer.value.status === 401 && known === undefined) {
      this.#authorizing ??= this.#authorize(readChallenge(answer.value.headers["www-authenticate"] ?? ""));
      const authorized = await this.#authorizing;
      if (!authorized.ok) return authorized;
      answer = await this.#get(url, question, authorized.value);
    }
    if (!answer.ok) return answer;
    const { status } = answer.value;
    if (status === 200) return answer;
    if (status === 404) return ok(undefined);
    return refuse(status === 401 || status === 403 ? "registry_denied" : `registry_status_${status}`);
  }

  /** Follows redirects, each to a host that is listed. */
  async #get(
    url: URL,
    { accept, mostBytes }: RegistryQuestion,
    credential: Secret | undefined,
  ): Promise<Result<HttpsAnswer, string>> {
    let at = url;
    for (let redirects = 0; ; redirects++) {
      const isHome = at.origin === url.origin;
      const authorization =
        credential !== undefined && isHome
          ? { authorization: credential.expose("connect").toString("latin1") }
          : {};
      const call = { method: "GET", headers: { accept, ...authorization }, mostBytes } as const;
      const answer = await this.#call({ ...call, url: at, showsRedirect: true });
      if (!answer.ok || answer.value.status < 300 || answer.value.status > 399) return answer;
      const next = redirects < MOST_REDIRECTS ? this.#redirect(answer.value, at) : undefined;
      if (next === undefined) return refuse("registry_redirects");
      at = next;
    }
  }

  #redirect({ headers: { location = "" } }: HttpsAnswer, from: URL): URL | undefined {
    const next = location.length > 8000 ? null : URL.parse(location, from);
    if (next === null || next.protocol !== "https:" || next.username !== "" || next.password !== "")
      return undefined;
    const isListed = next.origin === this.#origin || this.#place.redirectHosts?.includes(next.host) === true;
    return isListed ? next : undefined;
  }

  async #authorize(challenge: Challenge | undefined): Promise<Result<Secret, string>> {
    const { credentialFile, host } = this.#place;
    const own = credentialFile === undefined ? undefined : await readRegistryCredential(credentialFile, host);
    if (own?.ok === false) return own;
    if (challenge === undefined) return refuse("registry_challenge_unknown");
    if (challenge.scheme === "basic") return own ?? refuse("registry_wants_credential");
    const realm = URL.parse(challenge.realm);
    if (realm === null || !this.#isTokenPlace(realm)) return refuse("registry_token_elsewhere");
    const url = new URL(realm.origin + realm.pathname);
    if (challenge.service !== undefined) url.searchParams.set("service", challenge.service);
    // What the challenge asks for may be more than reading.
    url.searchParams.set("scope", `repository:${this.#repository}:pull`);
    const headers = {
      accept: "application/json",
      ...(own === undefined ? {} : { authorization: own.value.expose("connect").toString("latin1") }),
    };
    const answer = await this.#call({ method: "GET", url, headers, mostBytes: 4 * MOST_TOKEN });
    if (!answer.ok) return answer;
    return answer.value.status === 200 ? readToken(answer.value.body) : refuse("registry_token_denied");
  }

  /** Where the operator says, else the registry itself: a password must not go where a registry points. */
  #isTokenPlace(realm: URL): boolean {
    const { tokenUrl } = this.#place;
    if (realm.protocol !== "https:" || realm.username !== "" || realm.search !== "") return false;
    return tokenUrl === undefined
      ? realm.origin === this.#origin
      : realm.origin + realm.pathname.replace(/\/$/, "") === tokenUrl.replace(/\/$/, "");
  }

  async #call(call: HttpsCall): Promise<Result<HttpsAnswer, string>> {
    if (++this.#requests > MOST_REQUESTS) return refuse("registry_too_much");
    const { connectTo, ...reach } = this.#place;
    // The detour is for the registry's own host.
    const detour = call.url.origin === this.#origin ? { connectTo } : {};
    const answer = await callHttps(call, { ...reach, ...detour }, this.#signal);
    return answer.ok ? answer : refuse(answer.reason.replace(/^authority_/, "registry_"));
  }
}

function readToken(body: Buffer): Result<Secret, string> {
  const parsed = parseStrictJson(body);
  const object = parsed.ok && isJsonObject(parsed.value) ? parsed.value : {};
  const token = memberOf(object, "token") ?? memberOf(object, "access_token");
  const isToken = typeof token === "string" && token.length <= MOST_TOKEN && /^[\x21-\x7e]+$/.test(token);
  return isToken ? ok(Secret.fromUtf8(`Bearer ${token}`)) : refuse("registry_token_malformed");
}
