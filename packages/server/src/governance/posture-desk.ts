// SPDX-License-Identifier: Apache-2.0
/**
 * What is said of the health of workloads and machines, by whom, and until when?
 *
 * Kept in memory for conditions, which ask at every decision; the store has it for a restart and for other servers.
 */
import type { KeptPosture, PostureReport } from "@postern/contract";
import { postureChangeEvent } from "../audit/change-events.ts";
import type { AuditEvent } from "../audit/event-frame.ts";
import type { Clock, Instant } from "../kernel/clock.ts";
import { newId } from "../kernel/ids.ts";
import { type Result, ok, refuse } from "../kernel/result.ts";
import type { PostureSource, PostureStatement } from "../policy/conditions/facts.ts";
import type { PostureStore, StoredPosture } from "../store/posture-store.ts";

export interface PostureDeskParts {
  readonly store: PostureStore;
  readonly clock: Clock;
  audit(event: AuditEvent): Promise<void>;
  /** Called after each change of what is said. */
  changed(): void;
}

/** What was found out by asking. */
export interface SeenPosture {
  readonly subject: string;
  readonly facts: StoredPosture["facts"];
  readonly observedAt: Instant;
  /** Seconds. */
  readonly validFor: number;
}

export interface PostureRefusal {
  readonly code: "operator_unauthorized" | "request_malformed" | "resource_conflict";
  readonly detail: string;
}

/** Pairs of a subject and a source that are kept. */
const MOST_KEPT = 20_000;
/** Milliseconds by which the clock of a source may be ahead. */
const CLOCKS_DIFFER = 60_000;

export class PostureDesk implements PostureSource {
  readonly #parts: PostureDeskParts;
  #statements = new Map<string, readonly PostureStatement[]>();

  private constructor(parts: PostureDeskParts) {
    this.#parts = parts;
  }

  static async open(parts: PostureDeskParts): Promise<PostureDesk> {
    const desk = new PostureDesk(parts);
    await desk.#load();
    return desk;
  }

  of(subject: string): readonly PostureStatement[] {
    return this.#statements.get(subject) ?? [];
  }

  async list(): Promise<readonly KeptPosture[]> {
    const kept = await this.#parts.store.list();
    return kept.map(({ expiresAt, facts, observedAt, source, subject }) => ({
      ...{ subject, source, facts },
      ...{ observedAt: iso(observedAt), expiresAt: iso(expiresAt) },
    }));
  }

  /** What somebody says at the operators' socket. */
  async put(
    report: PostureReport,
    operator: { readonly uid: number; readonly objection: string | undefined },
  ): Promise<Result<KeptPosture, PostureRefusal>> {
    if (operator.objection !== undefined)
      return refuse({
        code: "operator_unauthorized",
        detail: `${operator.objection}; no agent says how it is`,
      });
    const now = this.#parts.clock.now();
    const observedAt = report.observedAt === undefined ? now : Date.parse(report.observedAt);
    const expiresAt = observedAt + 1000 * report.validFor;
    if (observedAt > now + CLOCKS_DIFFER)
      return malformed(`it was seen in the future: observedAt is ${iso(observedAt)}, here it is ${iso(now)}`);
    if (expiresAt <= now)
      return malformed(`it expired already, at ${iso(expiresAt)}: report what is seen now, or for longer`);
    const { facts, source, subject } = report;
    const stored: StoredPosture = { subject, source, facts, observedAt, expiresAt };
    const outcome = await this.#keep(stored, operator.uid);
    if (outcome === "older")
      return conflict(
        `${source} has said something of ${subject} that was seen later than ${iso(observedAt)}`,
      );
    if (outcome === "full")
      return conflict(`${MOST_KEPT} reports are kept already; withdraw some: report them without facts`);
    this.#parts.changed();
    return ok({ subject, source, facts, observedAt: iso(observedAt), expiresAt: iso(expiresAt) });
  }

  /** What a source that was asked says; how much of it is new. What has expired or was seen in the future is passed over. */
  async take(source: string, all: readonly SeenPosture[]): Promise<number> {
    const now = this.#parts.clock.now();
    let kept = 0;
    for (const { facts, observedAt, subject, validFor } of all) {
      const expiresAt = observedAt + 1000 * validFor;
      if (expiresAt <= now || observedAt > now + CLOCKS_DIFFER || Object.keys(facts).length === 0) continue;
      // eslint-disable-next-line no-await-in-loop
      if ((await this.#keep({ subject, source, facts, observedAt, expiresAt })) === "kept") kept++;
    }
    if (kept > 0) this.#parts.changed();
    return kept;
  }

  /** Takes over what the store has now. */
  async refresh(): Promise<void> {
    await this.#load();
    this.#parts.changed();
  }

  async #load(): Promise<void> {
    const kept = await this.#parts.store.list();
    this.#statements = new Map();
    for (const report of kept) this.#take(report);
  }

  #take({ subject, ...statement }: StoredPosture): void {
    const others = this.of(subject).filter(({ source }) => source !== statement.source);
    if (Object.keys(statement.facts).length > 0) others.push(statement);
    if (others.length > 0) this.#statements.set(subject, others);
    else this.#statements.delete(subject);
  }

  /** In the log before it counts, where it says something else than before. */
  async #keep(stored: StoredPosture, uid?: number): Promise<"kept" | "older" | "full"> {
    await this.#log(stored, uid);
    const outcome = await this.#parts.store.put(stored, MOST_KEPT);
    if (outcome === "kept") this.#take(stored);
    return outcome;
  }

  async #log({ expiresAt, facts, source, subject }: StoredPosture, uid?: number): Promise<void> {
    const before = this.of(subject).find((statement) => statement.source === source);
    const time = this.#parts.clock.now();
    const said = factsText(facts);
    if (said === (before === undefined || before.expiresAt <= time ? "" : factsText(before.facts))) return;
    const change = said === "" ? "withdraw" : "report";
    await this.#parts.audit(
      postureChangeEvent({
        ...{ id: newId(time), time, change, operatorUid: uid, subject, source, expiresAt },
        facts: said === "" ? [] : said.split("\n"),
      }),
    );
  }
}

const factsText = (facts: StoredPosture["facts"]): string =>
  Object.keys(facts)
    .toSorted()
    .map((name) => `${name}=${JSON.stringify(facts[name])}`)
    .join("\n");

const iso = (time: Instant): string => new Date(time).toISOString();
const malformed = (detail: string): Result<never, PostureRefusal> =>
  refuse({ code: "request_malformed", detail });
const conflict = (detail: string): Result<never, PostureRefusal> =>
  refuse({ code: "resource_conflict", detail });
