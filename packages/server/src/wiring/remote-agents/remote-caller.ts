// SPDX-License-Identifier: Apache-2.0
/**
 * Which agent is a remote connection, by the SVID that it shows?
 *
 * A certificate speaks for its connection, a token for its request or for the tunnel that it opens. Both are asked
 * again for each request: an end that came, an authority that was revoked and an agent that was cut count at once.
 */
import type { Caller, IdentifiedCaller, PresentedSvid } from "../../gateway/ports.ts";
import { Ending } from "../../gateway/ending.ts";
import type { HeaderList } from "../../gateway/http/messages.ts";
import { verifyJwtSvid } from "@postern/identity/jwt-svid";
import type { SpiffeId } from "@postern/identity/spiffe-id";
import type { TrustBundle } from "@postern/identity/trust-bundle";
import { verifyX509Svid } from "@postern/identity/verify-x509-svid";
import { ok, refuse, type Result } from "../../kernel/result.ts";
import { shownToken } from "./shown-token.ts";

/** Whom to believe, and whom an ID stands for, now. */
export interface SvidJudge {
  readonly now: number;
  /** Of the server's own trust domain; another object after every change of an authority. */
  readonly bundle: TrustBundle;
  /** What a token must be for. */
  readonly audience: string;
  /** The agent that an ID stands for, where it may pass. */
  standingOf(id: SpiffeId): Result<string, string>;
}

interface Verified {
  readonly id: SpiffeId;
  readonly expiresAt: number;
  readonly document: PresentedSvid["document"];
  /** What it was verified by, and the text of a token. */
  readonly bundle: TrustBundle;
  readonly token: string | undefined;
}

type Identified = Result<IdentifiedCaller, string>;

export class RemoteCaller implements Caller {
  readonly origin: string;
  readonly isRemote = true;
  readonly #judge: () => SvidJudge;
  /** The certificates of the TLS handshake, DER; empty where none were shown. */
  readonly #chain: readonly Buffer[];
  /** Of the CONNECT that has opened this tunnel. */
  readonly #tunnelToken: string | undefined;
  #tunnel: RemoteCaller | undefined;
  #last: Verified | undefined;
  #known: { readonly epoch: number; readonly uri: string; readonly answer: Identified } | undefined;
  #lost = new Ending();

  constructor(origin: string, chain: readonly Buffer[], judge: () => SvidJudge, tunnelToken?: string) {
    this.origin = origin;
    this.#chain = chain;
    this.#judge = judge;
    this.#tunnelToken = tunnelToken;
  }

  get lost(): Ending {
    return this.#lost;
  }

  identify(epoch: number, headers: HeaderList = []): Identified {
    const judge = this.#judge();
    const verified = this.#verify(headers, judge);
    if (!verified.ok) return verified;
    const { id, document } = verified.value;
    if (this.#known?.epoch === epoch && this.#known.uri === id.uri) {
      this.#last = verified.value;
      return this.#known.answer;
    }
    const agent = judge.standingOf(id);
    // Who is refused has nothing open that could be lost: ending the connection would only take the refusal away.
    this.#last = agent.ok ? verified.value : undefined;
    const answer: Identified = agent.ok
      ? ok({
          agent: agent.value,
          address: this.origin,
          selectors: [`spiffe:id=${id.uri}`],
          svid: { spiffeId: id.uri, document },
        })
      : agent;
    // A refusal may end by itself, with time.
    this.#known = agent.ok ? { epoch, uri: id.uri, answer } : undefined;
    return answer;
  }

  inTunnel(headers: HeaderList): Caller {
    const token = this.#chain.length > 0 ? undefined : shownToken(headers);
    if (token?.ok !== true || token.value === undefined) return this;
    return (this.#tunnel = new RemoteCaller(this.origin, [], this.#judge, token.value));
  }

  /** Ends what is open where what was shown does not hold any longer. True where the connection is of no more use. */
  recheck(): boolean {
    const isTunnelLost = this.#tunnel?.recheck() === true;
    const judge = this.#judge();
    const last = this.#last;
    if (last === undefined) return isTunnelLost;
    const still = last.token === undefined ? this.#verifyChain(judge) : this.#verifyToken(last.token, judge);
    const isLost = !still.ok || !judge.standingOf(last.id).ok;
    this.#last = still.ok ? still.value : undefined;
    if (isLost) this.#lose();
    // The next request on a connection without a certificate may show another token.
    return isTunnelLost || (isLost && (this.#chain.length > 0 || this.#tunnelToken !== undefined));
  }

  #lose(): void {
    const ending = this.#lost;
    this.#lost = new Ending();
    this.#last = undefined;
    this.#known = undefined;
    ending.end();
  }

  #verify(headers: HeaderList, judge: SvidJudge): Result<Verified, string> {
    const shown = this.#tunnelToken === undefined ? shownToken(headers) : ok(this.#tunnelToken);
    if (this.#chain.length === 0) {
      if (!shown.ok) return shown;
      return shown.value === undefined ? refuse("svid_missing") : this.#verifyToken(shown.value, judge);
    }
    const own = this.#verifyChain(judge);
    if (!own.ok || (shown.ok && shown.value === undefined)) return own;
    // Whoever passes on another one's requests over its own connection would speak for itself.
    const other = shown.ok ? this.#verifyToken(shown.value!, judge) : shown;
    const isOther = other.ok && other.value.id.uri !== own.value.id.uri;
    const isMeantForUs = headers.some(([name]) => name === "proxy-authorization");
    return isOther || (!other.ok && isMeantForUs) ? refuse("identity_ambiguous") : own;
  }

  #verifyChain(judge: SvidJudge): Result<Verified, string> {
    const last = this.#last;
    if (last?.document === "X.509-SVID" && stillHolds(last, judge)) return ok(last);
    const { bundle, now } = judge;
    const svid = verifyX509Svid(
      this.#chain,
      (name) => (name === bundle.trustDomain ? bundle : undefined),
      now,
    );
    if (!svid.ok) return svid;
    return ok({ ...svid.value, document: "X.509-SVID", bundle, token: undefined });
  }

  #verifyToken(token: string, judge: SvidJudge): Result<Verified, string> {
    const last = this.#last;
    if (last?.token === token && stillHolds(last, judge)) return ok(last);
    const { audience, bundle, now } = judge;
    const svid = verifyJwtSvid(
      token,
      audience,
      (name) => (name === bundle.trustDomain ? bundle : undefined),
      now,
    );
    if (!svid.ok) return svid;
    const { claims, expiresAt, id } = svid.value;
    // Another party that it is good for could use it here.
    if ([claims["aud"]].flat().length !== 1) return refuse("audience_shared");
    return ok({ id, expiresAt, document: "JWT-SVID", bundle, token });
  }
}

/** By the same authorities as when it was verified, and not over. */
const stillHolds = ({ bundle, expiresAt }: Verified, judge: SvidJudge): boolean =>
  bundle === judge.bundle && judge.now < expiresAt;
