// SPDX-License-Identifier: Apache-2.0
/**
 * Carries the messages of an open WebSocket both ways, each through its guard, until either end has had enough.
 *
 * One piece at a time and direction: who reads slowly is read slowly. Frames are written anew, so what leaves is
 * well-formed whatever came.
 */
import type { Duplex } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Matcher } from "../../guard/pattern-matcher.ts";
import type { Ending } from "../ending.ts";
import { type Refusal, refusal } from "../stages/refusal.ts";
import type { Piece } from "./frame-reader.ts";
import { AnswerGuard, type MessageGuard, RequestGuard } from "./guard-messages.ts";
import { Peer } from "./peer.ts";

export interface RelayLimits {
  /** Milliseconds; a peer that says nothing is pinged after two of them, and given up after ten. */
  readonly tick: number;
  /** Milliseconds that a peer may take to close after it was told. */
  readonly closing: number;
}

const DEFAULT_RELAY_LIMITS: RelayLimits = { tick: 30_000, closing: 10_000 };

export interface RelayWatch {
  /** Asked for all that comes, so that a secret which is set meanwhile is looked for, too. Rejects where nothing can be. */
  matcher(): Promise<Matcher>;
  /** Why the agent may not go on, where it may not; asked for every frame, and now and then without one. */
  objection(): Refusal | undefined;
  /** What has passed, in bytes of messages. */
  toUpstream(bytes: Buffer): void;
  toAgent(bytes: Buffer, ends: boolean): void;
}

export type RelayEnd =
  | { readonly how: "complete" | "client_aborted" | "upstream_failed" | "cut" }
  | { readonly how: "refused"; readonly reason: Refusal };

/** The agent's side is closed with the first pair, the upstream's with the second. */
interface Farewell {
  readonly agent: readonly [code: number, reason: string];
  readonly upstream: readonly [code: number, reason: string];
}

const UNREADABLE = refusal("credential_unavailable", "the secrets of the vault cannot be read");
/** Frames that pass before others get their turn. */
const SLICE = 256;

/** RFC 6455 §7.4.1, and 1014 of IANA's registry. */
const GOING_AWAY: Farewell["upstream"] = [1001, ""];
const BAD_GATEWAY = (why: string): Farewell => ({ agent: [1014, why], upstream: GOING_AWAY });
const NORMAL: Farewell = { agent: [1000, ""], upstream: [1000, ""] };

export class Relay {
  readonly #agent: Peer;
  readonly #upstream: Peer;
  readonly #watch: RelayWatch;
  readonly #limits: RelayLimits;
  readonly #answers: MessageGuard = new AnswerGuard();
  readonly #requests: MessageGuard = new RequestGuard();
  #end: RelayEnd | undefined;
  #closing: NodeJS.Timeout | undefined;

  constructor(agent: Duplex, upstream: Duplex, watch: RelayWatch, limits = DEFAULT_RELAY_LIMITS) {
    this.#agent = new Peer("agent", agent);
    this.#upstream = new Peer("upstream", upstream);
    this.#watch = watch;
    this.#limits = limits;
  }

  /** Patterns that were masked on their way to the agent. */
  get scrubbed(): number {
    return this.#answers.found;
  }

  /** Resolves when both streams are closed. `ending` destroys them at once. */
  async run(ending: Ending): Promise<RelayEnd> {
    const peers = [this.#agent, this.#upstream];
    const closed = peers.map((peer) => peer.closed());
    const destroy = (): void => {
      this.#end ??= { how: "client_aborted" };
      for (const { stream } of peers) stream.destroy();
    };
    const forget = ending.onOver(destroy);
    const ticking = setInterval(() => this.#tick(), this.#limits.tick);
    void this.#carry(this.#agent, this.#upstream, this.#requests);
    void this.#carry(this.#upstream, this.#agent, this.#answers);
    await Promise.all(closed);
    clearInterval(ticking);
    clearTimeout(this.#closing);
    forget();
    return this.#end ?? { how: "complete" };
  }

  /** Ends it in good order: the agent is told why. */
  cut(why: Refusal): void {
    this.#object(why, { how: "cut" });
  }

  async #carry(from: Peer, to: Peer, guard: MessageGuard): Promise<void> {
    // Read to the end, also when nothing passes any more: only so its end is seen.
    for await (const chunk of from.chunks()) {
      if (this.#end !== undefined || from.hasClosed) continue;
      const matcher = await this.#watch.matcher().catch(() => undefined);
      if (matcher === undefined)
        this.#conclude(
          { how: "refused", reason: UNREADABLE },
          { agent: [1011, UNREADABLE.detail], upstream: GOING_AWAY },
        );
      else await this.#carryChunk(chunk, from, to, guard, matcher);
    }
    this.#lost(from);
  }

  async #carryChunk(
    chunk: Buffer,
    from: Peer,
    to: Peer,
    guard: MessageGuard,
    matcher: Matcher,
  ): Promise<void> {
    let pieces = 0;
    for (const piece of from.reader.read(chunk)) {
      const objection = this.#watch.objection();
      if (objection !== undefined) this.#object(objection, { how: "cut" });
      if (this.#end !== undefined) return;
      // The order of the frames is the order in which they pass.
      // oxlint-disable-next-line no-await-in-loop
      await this.#pass(piece, from, to, guard, matcher);
      // A chunk may hold ten thousand empty frames; others get their turn in between.
      // oxlint-disable-next-line no-await-in-loop
      if (++pieces % SLICE === 0) await nextTurn();
    }
  }

  async #pass(piece: Piece, from: Peer, to: Peer, guard: MessageGuard, matcher: Matcher): Promise<void> {
    if (piece.kind === "broken") return this.#broke(from, piece.code, piece.why);
    if (piece.kind === "pong" && from.answersPing(piece.bytes)) return;
    if (piece.kind === "data") {
      const clean = guard.data(piece.bytes, piece.ends, matcher);
      if (!clean.ok) return this.#object(clean.reason);
      this.#count(to, clean.value, piece.ends);
      return to.sendData(clean.value, piece.isText, piece.ends);
    }
    // The code of a close frame was checked, its reason is text.
    const at = piece.kind === "close" ? 2 : 0;
    const clean = guard.control(piece.bytes.subarray(at), matcher);
    if (!clean.ok) return this.#object(clean.reason);
    this.#count(to, clean.value, false);
    const sent = to.sendControl(piece.kind, Buffer.concat([piece.bytes.subarray(0, at), clean.value]));
    if (piece.kind === "close") this.#closed(from);
    return sent;
  }

  #count(to: Peer, bytes: Buffer, ends: boolean): void {
    if (to === this.#upstream) this.#watch.toUpstream(bytes);
    else this.#watch.toAgent(bytes, ends);
  }

  /** RFC 6455 §7.1.2: done when both have said it; who was told and says nothing is not waited for long. */
  #closed(from: Peer): void {
    from.hasClosed = true;
    if (this.#agent.hasClosed && this.#upstream.hasClosed) return this.#conclude({ how: "complete" }, NORMAL);
    this.#closing = setTimeout(() => this.#conclude({ how: "complete" }, NORMAL), this.#limits.closing);
  }

  /** The stream is at its end. After a close frame of either side that is no surprise (§7.1.1). */
  #lost(peer: Peer): void {
    if (this.#agent.hasClosed || this.#upstream.hasClosed) this.#conclude({ how: "complete" }, NORMAL);
    else if (peer === this.#agent)
      this.#conclude({ how: "client_aborted" }, { agent: GOING_AWAY, upstream: GOING_AWAY });
    else this.#conclude({ how: "upstream_failed" }, BAD_GATEWAY("the upstream broke off"));
  }

  #broke(peer: Peer, code: number, why: string): void {
    if (peer === this.#agent)
      this.#conclude({ how: "client_aborted" }, { agent: [code, why], upstream: GOING_AWAY });
    else
      this.#conclude(
        { how: "upstream_failed" },
        { agent: [1014, "the upstream broke the protocol"], upstream: [code, why] },
      );
  }

  /** 1008: what was sent, or who sent it, is against the rules (§7.4.1). The upstream is not told why. */
  #object(reason: Refusal, end: RelayEnd = { how: "refused", reason }): void {
    this.#conclude(end, { agent: [1008, reason.detail], upstream: GOING_AWAY });
  }

  #tick(): void {
    if (this.#end !== undefined) return;
    const objection = this.#watch.objection();
    if (objection !== undefined) return this.#object(objection, { how: "cut" });
    if (!this.#agent.tick())
      this.#conclude({ how: "client_aborted" }, { agent: GOING_AWAY, upstream: GOING_AWAY });
    if (!this.#upstream.tick())
      this.#conclude({ how: "upstream_failed" }, BAD_GATEWAY("the upstream is silent"));
  }

  /** The first end counts. */
  #conclude(end: RelayEnd, farewell: Farewell): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#agent.finish(...farewell.agent, this.#limits.closing);
    this.#upstream.finish(...farewell.upstream, this.#limits.closing);
  }
}
