// SPDX-License-Identifier: Apache-2.0
/**
 * Where requests wait for a person, and where persons answer.
 *
 * What is asked, and what it may release, is in the store before anybody is told; each answer is in the audit log before
 * it counts; a use is taken in one statement of the store before a request leaves. So a restart loses nothing and a second
 * server releases nothing twice.
 */
import type { ApprovalDetails, ApprovalSummary, ApprovalVote } from "@postern/contract";
import { approvalEvent, type ApprovalEventInput } from "../audit/approval-events.ts";
import type { AuditEvent } from "../audit/event-frame.ts";
import type { Clock } from "../kernel/clock.ts";
import { newId } from "../kernel/ids.ts";
import { type Result, ok, refuse } from "../kernel/result.ts";
import type { ContentKey } from "../keys/content-key.ts";
import {
  type ApprovalRule,
  approvalRulesOf,
  isContent,
  mayApprove,
  type Person,
} from "../policy/approval-rules.ts";
import type { ResourceSet } from "../resources/resource-set.ts";
import type { ApprovalChange, ApprovalStore, StoredApproval } from "../store/approval-store.ts";
import {
  firstUsesOf,
  lookupOf,
  type Question,
  type SealedRequest,
  summarise,
  type Summary,
  summaryOf,
  votesOf,
  yesOf,
} from "./approval-record.ts";
import type { GrantDesk, GrantRefusal } from "./grant-desk.ts";
import { personsOf, personWith } from "./persons.ts";
import { type Gone, WaitingRoom } from "./waiting-room.ts";

export interface ApprovalDeskParts {
  readonly store: ApprovalStore;
  readonly grants: GrantDesk;
  contentKey(): Promise<ContentKey>;
  resources(): ResourceSet;
  /** Resolves when the event is durable; rejects when it cannot be kept. */
  audit(event: AuditEvent): Promise<void>;
  readonly clock: Clock;
  /** Hears of each new question, to tell persons. Never waited for. */
  asked?(approval: ApprovalSummary): void;
}

export type Answer =
  | { readonly status: "free" }
  | { readonly status: "released"; readonly id: string; readonly by: readonly string[] }
  | { readonly status: "pending" | "denied"; readonly id: string; readonly expiresAt: number }
  | { readonly status: "too_often"; readonly most: number };

/** What somebody says to an approval. */
export interface Word {
  readonly verdict: "approve" | "deny";
  /** How the person was recognised, such as `uid:1000`. */
  readonly identity: string;
  /** Whether this one may say no without being named in a policy. */
  readonly isOperator: boolean;
  readonly reason?: string | undefined;
  /** Why this one may not say yes, whoever it is, such as a process of the agent's own run. */
  objectionFor?(agent: string): string | undefined;
}

export interface WordRefusal {
  readonly code: "not_found" | "operator_unauthorized" | "resource_conflict";
  readonly detail: string;
}

/** Questions that one agent may have open; the oldest give way. */
export const MOST_PENDING = 32;
const HOUR = 3_600_000;
const MOST_LISTED = 1000;
const KEPT = 30 * 86_400_000;
const ATTEMPTS = 5;

export class ApprovalDesk {
  readonly #parts: ApprovalDeskParts;
  readonly #room = new WaitingRoom();

  constructor(parts: ApprovalDeskParts) {
    this.#parts = parts;
  }

  /** Takes a use of what a person has said yes to, or asks. Rejects where the store cannot tell. */
  async ask(question: Question): Promise<Answer> {
    const { store } = this.#parts;
    const firstUses = firstUsesOf(question);
    const rules = (await this.#areKnown(firstUses))
      ? question.rules.filter(({ when }) => when !== "first-use")
      : question.rules;
    if (rules.length === 0) return { status: "free" };
    const credential = this.#parts.resources().get("CredentialProvider", question.credentialProvider)?.spec;
    const lookup = lookupOf(question, credential);
    const approved = await store.release(lookup);
    const released =
      approved === undefined
        ? await this.#parts.grants.take({ ...question, rules })
        : { id: approved.id, by: yesOf(votesOf(approved)) };
    if (released !== undefined) {
      if (firstUses.length > 0) await store.noteUses(firstUses);
      return { status: "released", ...released };
    }
    const put = await this.#put({ ...question, rules }, lookup);
    if (put === undefined) return { status: "too_often", most: mostAsked(rules) };
    const { approval, isNew } = put;
    if (isNew) this.#parts.asked?.(summaryOf(approval));
    const { expiresAt, id, state } = approval;
    return { status: state === "denied" ? "denied" : "pending", id, expiresAt };
  }

  /** Resolves with true once somebody has decided; with false when the time is up or the agent has gone. */
  settled(id: string, agent: string, milliseconds: number, gone: Gone): Promise<boolean> {
    return this.#room.wait({ id, agent, milliseconds, gone }, async () => {
      const approval = await this.#parts.store.get(id);
      return approval?.state !== "pending";
    });
  }

  async list(which: "pending" | "all"): Promise<readonly ApprovalSummary[]> {
    await this.sweep();
    return (await this.#parts.store.list(which, MOST_LISTED)).map(summaryOf);
  }

  /** With the request to the byte, as long as it can still be sent. */
  async show(id: string): Promise<ApprovalDetails | undefined> {
    const approval = await this.#parts.store.get(id);
    if (approval === undefined) return undefined;
    if (approval.sealed.length === 0) return summaryOf(approval);
    const key = await this.#parts.contentKey();
    const { body, ...rest } = JSON.parse(key.decrypt(approval.sealed, id).toString("utf8")) as SealedRequest;
    return { ...summaryOf(approval), request: { ...rest, ...(body === null ? {} : { body }) } };
  }

  /** Refuses whoever may not say it, and what is too late. In the audit log before it counts. */
  async say(id: string, word: Word): Promise<Result<ApprovalSummary, WordRefusal>> {
    let isLogged = false;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      // eslint-disable-next-line no-await-in-loop
      const approval = await this.#parts.store.get(id);
      if (approval === undefined) return refuse({ code: "not_found", detail: `there is no approval ${id}` });
      const judged = this.#judge(approval, word);
      if (!judged.ok) return judged;
      const { change, to } = judged.value;
      // eslint-disable-next-line no-await-in-loop
      if (!isLogged) await this.#log(approval, change, word, judged.value.person);
      isLogged = true;
      // eslint-disable-next-line no-await-in-loop
      if (!(await this.#parts.store.change(id, approval.version, to))) continue;
      this.#room.wake(id);
      return ok(summaryOf({ ...approval, ...to, version: approval.version + 1 }));
    }
    return refuse({
      code: "resource_conflict",
      detail: `approval ${id} is being changed by others; look again`,
    });
  }

  /** Yes to this request, and ahead to others of its kind. The grant comes first: it is the narrower door. */
  async grant(
    id: string,
    word: Word,
    { seconds, uses }: { readonly seconds: number; readonly uses: number },
  ): Promise<Result<ApprovalSummary, WordRefusal | GrantRefusal>> {
    const approval = await this.#parts.store.get(id);
    if (approval === undefined) return refuse({ code: "not_found", detail: `there is no approval ${id}` });
    const judged = this.#judge(approval, word);
    if (!judged.ok) return judged;
    const { model, operation, policies } = summaryOf(approval);
    const [policy, ...others] = policies;
    if (operation === undefined || policy === undefined || others.length > 0)
      return conflict(
        "only what is one named operation under one policy can be granted so: use `postern grant` for more",
      );
    const given = await this.#parts.grants.give(
      {
        ...{ agent: approval.agent, policy, operations: [operation], seconds, uses },
        ...(model === undefined ? {} : { models: [model] }),
        ...(word.reason === undefined ? {} : { task: word.reason }),
      },
      word,
    );
    return given.ok ? this.say(id, word) : given;
  }

  /** Ends what is over, and says so in the log. */
  async sweep(): Promise<void> {
    const { clock, store } = this.#parts;
    const ended = await store.expire(clock.now() - KEPT);
    await this.#parts.grants.sweep(clock.now() - KEPT);
    await Promise.all(ended.map((approval) => this.#log(approval, "expire")));
    for (const { id } of ended) this.#room.wake(id);
  }

  async #areKnown(firstUses: readonly string[]): Promise<boolean> {
    return firstUses.length > 0 && this.#parts.store.areKnownUses(firstUses);
  }

  /** Undefined where the agent has asked too often. */
  async #put(
    question: Question,
    lookup: string,
  ): Promise<{ approval: StoredApproval; isNew: boolean } | undefined> {
    const { clock, store } = this.#parts;
    const id = newId(clock.now());
    const { body, ...rest } = question.request;
    const sealed: SealedRequest = { ...rest, body: body?.toString("base64") ?? null };
    const key = await this.#parts.contentKey();
    const asked = await store.ask(
      {
        ...{ id, lookup, agent: question.agent, summary: JSON.stringify(summarise(question)) },
        sealed: key.encrypt(Buffer.from(JSON.stringify(sealed), "utf8"), id),
        expiresAt: clock.now() + 1000 * Math.min(...question.rules.map(({ expiresAfter }) => expiresAfter)),
      },
      { pending: MOST_PENDING, asked: mostAsked(question.rules), since: clock.now() - HOUR },
    );
    if (asked === undefined) return undefined;
    const { approval, displaced } = asked;
    await Promise.all(displaced.map((one) => this.#log(one, "displace")));
    for (const one of displaced) this.#room.wake(one.id);
    return { approval, isNew: approval.id === id };
  }

  /** What this word makes of it, or why it may not be said. */
  #judge(approval: StoredApproval, word: Word): Result<Judged, WordRefusal> {
    const { clock } = this.#parts;
    const { state } = approval;
    const isOpen = state === "pending" || (state === "approved" && word.verdict === "deny");
    if (!isOpen || approval.expiresAt <= clock.now())
      return conflict(`approval ${approval.id} is ${isOpen ? "expired" : state}`);
    const person = personWith(word.identity, this.#parts.resources());
    return word.verdict === "deny"
      ? this.#judgeNo(approval, word, person)
      : this.#judgeYes(approval, word, person);
  }

  #judgeNo(approval: StoredApproval, word: Word, person: Person | undefined): Result<Judged, WordRefusal> {
    const { owner, rules } = this.#facts(approval);
    const mayRefuse =
      word.isOperator || (person !== undefined && rules.some((rule) => mayApprove(rule, person, owner)));
    if (!mayRefuse) return unauthorized(`${word.identity} is not asked about approval ${approval.id}`);
    const votes = JSON.stringify([...votesOf(approval), this.#vote(word, person)]);
    const isTakenBack = approval.state === "approved";
    const to = { votes, usesLeft: 0, expiresAt: approval.expiresAt };
    return ok(
      isTakenBack
        ? { person, change: "withdraw", to: { ...to, state: "withdrawn" } }
        : { person, change: "deny", to: { ...to, state: "denied" } },
    );
  }

  #judgeYes(approval: StoredApproval, word: Word, person: Person | undefined): Result<Judged, WordRefusal> {
    const { clock, resources } = this.#parts;
    const { owner, rules } = this.#facts(approval);
    const objection = word.objectionFor?.(approval.agent);
    if (objection !== undefined) return unauthorized(objection);
    if (person === undefined)
      return unauthorized(`${word.identity} belongs to no Approver; apply one with this identity first`);
    if (!rules.some((rule) => mayApprove(rule, person, owner)))
      return unauthorized(
        owner === person.name || person.identities.includes(owner ?? "")
          ? `${person.name} is the owner of agent ${approval.agent}, and somebody else has to approve what it does`
          : `${person.name} is not among the approvers of ${rules.map(({ policy }) => policy).join(", ")}`,
      );
    const present = approvalRulesOf(resources());
    const changed = rules.find(({ basis, policy }) => present?.get(policy)?.basis !== basis);
    if (changed !== undefined)
      return conflict(
        `AccessPolicy ${changed.policy}, or where it leads, was changed after the agent asked; when it asks again there will be a new approval`,
      );
    const votes = [...votesOf(approval), this.#vote(word, person)];
    if (yesOf(votesOf(approval)).includes(person.name))
      return conflict(`${person.name} has said yes already; another person has to`);
    const persons = this.#personsOf(yesOf(votes));
    if (!rules.every((rule) => isContent(rule, persons, owner)))
      return ok({
        ...{ person, change: "approve" },
        to: { state: "pending", votes: JSON.stringify(votes), usesLeft: 0, expiresAt: approval.expiresAt },
      });
    return ok({
      ...{ person, change: "approve" },
      to: {
        ...{ state: "approved", votes: JSON.stringify(votes) },
        usesLeft: Math.min(...rules.map(({ uses }) => uses)),
        expiresAt: clock.now() + 1000 * Math.min(...rules.map(({ validFor }) => validFor)),
      },
    });
  }

  #facts(approval: StoredApproval): { rules: readonly ApprovalRule[]; owner: string | undefined } {
    const { rules } = JSON.parse(approval.summary) as Summary;
    return { rules, owner: this.#parts.resources().get("Agent", approval.agent)?.spec.owner };
  }

  #vote({ identity, reason, verdict }: Word, person: Person | undefined): ApprovalVote {
    return {
      ...{ verdict, identity, at: new Date(this.#parts.clock.now()).toISOString() },
      ...(person === undefined ? {} : { person: person.name }),
      ...(reason === undefined || reason === "" ? {} : { reason }),
    };
  }

  #personsOf(names: readonly string[]): readonly Person[] {
    return personsOf(this.#parts.resources()).filter(({ name }) => names.includes(name));
  }

  #log(
    approval: StoredApproval,
    change: ApprovalEventInput["change"],
    word?: Word,
    person?: Person,
  ): Promise<void> {
    const { digest, policies } = JSON.parse(approval.summary) as Summary;
    const time = this.#parts.clock.now();
    return this.#parts.audit(
      approvalEvent({
        ...{ id: newId(time), time, change, approval: approval.id, agent: approval.agent },
        ...{ policies, requestDigest: digest, person: person?.name },
        ...{ identity: word?.identity, reason: word?.reason },
      }),
    );
  }
}

const mostAsked = (rules: readonly ApprovalRule[]): number =>
  Math.min(...rules.map(({ asksPerHour }) => asksPerHour));

interface Judged {
  readonly person: Person | undefined;
  readonly change: "approve" | "deny" | "withdraw";
  readonly to: ApprovalChange;
}

const conflict = (detail: string): Result<never, WordRefusal> =>
  refuse({ code: "resource_conflict", detail });
const unauthorized = (detail: string): Result<never, WordRefusal> =>
  refuse({ code: "operator_unauthorized", detail });
