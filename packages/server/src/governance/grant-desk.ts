// SPDX-License-Identifier: Apache-2.0
/**
 * A yes said ahead: for one agent, for what a policy asks about, for some time and so many uses.
 *
 * A grant allows nothing that no policy allows. It answers the question that a policy would ask, where that policy says
 * that it may be answered so, and counts under the policy as it was when it was given.
 */
import type { GrantRequest, GrantSummary } from "@postern/contract";
import { grantEvent } from "../audit/approval-events.ts";
import type { AuditEvent } from "../audit/event-frame.ts";
import type { Clock } from "../kernel/clock.ts";
import { newId } from "../kernel/ids.ts";
import { nearestName } from "../kernel/nearest-name.ts";
import { type Result, ok, refuse } from "../kernel/result.ts";
import { type ApprovalRule, approvalRulesOf, mayApprove, type Person } from "../policy/approval-rules.ts";
import type { ResourceSet } from "../resources/resource-set.ts";
import type { GrantStore, StoredGrant } from "../store/grant-store.ts";
import { personWith } from "./persons.ts";

export interface GrantDeskParts {
  readonly store: GrantStore;
  resources(): ResourceSet;
  audit(event: AuditEvent): Promise<void>;
  readonly clock: Clock;
}

/** Who gives it. */
export interface Giver {
  readonly identity: string;
  objectionFor?(agent: string): string | undefined;
}

export interface GrantRefusal {
  readonly code: "not_found" | "operator_unauthorized" | "resource_conflict" | "resource_invalid";
  readonly detail: string;
}

export interface Wanted {
  readonly agent: string;
  readonly rules: readonly ApprovalRule[];
  readonly operation?: string;
  readonly model?: string;
}

const MOST_ACTIVE = 100;
const MOST_LISTED = 1000;

interface Body {
  readonly policies: readonly { readonly policy: string; readonly basis: string }[];
  readonly operations?: readonly string[];
  readonly models?: readonly string[];
  readonly task?: string;
  readonly by: string;
  readonly identity: string;
}

export class GrantDesk {
  readonly #parts: GrantDeskParts;

  constructor(parts: GrantDeskParts) {
    this.#parts = parts;
  }

  /** Takes a use of a grant that covers all of it, if there is one. */
  async take(wanted: Wanted): Promise<{ readonly id: string; readonly by: readonly string[] } | undefined> {
    // No policy that is asked about here can be answered ahead: nothing has to be looked up.
    if (wanted.rules.some(({ grants }) => grants === undefined)) return undefined;
    const { store } = this.#parts;
    for (const grant of await store.usable(wanted.agent)) {
      const body = bodyOf(grant);
      if (!covers(body, wanted)) continue;
      // eslint-disable-next-line no-await-in-loop
      const taken = await store.take(grant.id);
      if (taken !== undefined) return { id: grant.id, by: [body.by] };
    }
    return undefined;
  }

  /** In the log before it is in force. */
  async give(request: GrantRequest, giver: Giver): Promise<Result<GrantSummary, GrantRefusal>> {
    const judged = this.#judge(request, giver);
    if (!judged.ok) return judged;
    const { person, rules } = judged.value;
    const { clock, store } = this.#parts;
    const { agent, models, operations, seconds, task, uses } = request;
    const body: Body = {
      policies: rules.map(({ basis, policy }) => ({ policy, basis })),
      ...{ by: person.name, identity: giver.identity },
      ...(operations === undefined ? {} : { operations }),
      ...(models === undefined ? {} : { models }),
      ...(task === undefined ? {} : { task }),
    };
    const now = clock.now();
    const grant = {
      id: newId(now),
      agent,
      body: JSON.stringify(body),
      uses,
      expiresAt: now + 1000 * seconds,
    };
    await this.#log("create", grant, giver.identity);
    if (!(await store.add(grant, MOST_ACTIVE)))
      return conflict(`agent ${agent} has ${MOST_ACTIVE} grants; revoke some: \`postern grants list\``);
    return ok(summaryOf({ ...grant, state: "active", usesLeft: uses, createdAt: now }));
  }

  /** Any operator may: less is allowed then. In force before it is in the log. */
  async revoke(id: string, identity: string): Promise<Result<GrantSummary, GrantRefusal>> {
    const { store } = this.#parts;
    const grant = await store.get(id);
    if (grant === undefined) return refuse({ code: "not_found", detail: `there is no grant ${id}` });
    if (!(await store.revoke(id)))
      return conflict(`grant ${id} is ${(await store.get(id))?.state ?? "over"}`);
    await this.#log("revoke", grant, identity);
    return ok(summaryOf({ ...grant, state: "revoked" }));
  }

  async list(which: "active" | "all"): Promise<readonly GrantSummary[]> {
    await this.sweep(0);
    return (await this.#parts.store.list(which, MOST_LISTED)).map(summaryOf);
  }

  async sweep(forgetBefore: number): Promise<void> {
    const ended = await this.#parts.store.expire(forgetBefore);
    await Promise.all(ended.map((grant) => this.#log("expire", grant)));
  }

  #judge(
    request: GrantRequest,
    giver: Giver,
  ): Result<{ person: Person; rules: readonly ApprovalRule[] }, GrantRefusal> {
    const resources = this.#parts.resources();
    const agent = resources.get("Agent", request.agent);
    if (agent === undefined)
      return notFound(
        "Agent",
        request.agent,
        resources.all("Agent").map(({ metadata }) => metadata.name),
      );
    const found = this.#rulesOf(request, resources);
    if (!found.ok) return found;
    const rules = found.value;
    const objection = giver.objectionFor?.(request.agent);
    if (objection !== undefined) return unauthorized(objection);
    const person = personWith(giver.identity, resources);
    if (person === undefined)
      return unauthorized(`${giver.identity} belongs to no Approver; apply one with this identity first`);
    for (const rule of rules) {
      const why = objectionOf(rule, person, agent.spec.owner, request);
      if (why !== undefined) return refuse(why);
    }
    return ok({ person, rules });
  }

  #rulesOf(
    { agent, policy, serverWorkload }: GrantRequest,
    resources: ResourceSet,
  ): Result<readonly ApprovalRule[], GrantRefusal> {
    const policies = resources
      .all("AccessPolicy")
      .filter(({ spec }) => spec.agents.includes(agent))
      .filter(({ metadata, spec }) =>
        policy === undefined ? spec.serverWorkload === serverWorkload : metadata.name === policy,
      );
    const all = approvalRulesOf(resources);
    const rules = policies.flatMap(({ metadata }) => all?.get(metadata.name) ?? []);
    if (policy !== undefined && policies.length === 0)
      return refuse({ code: "not_found", detail: `there is no AccessPolicy ${policy} for agent ${agent}` });
    const grantable = policy === undefined ? rules.filter(({ grants }) => grants !== undefined) : rules;
    return grantable.length > 0
      ? ok(grantable)
      : conflict(
          `no AccessPolicy of agent ${agent} ${policy === undefined ? `at ${serverWorkload} ` : `named ${policy} `}asks for an approval that can be given ahead: say so there in spec.approval.grants`,
        );
  }

  #log(
    change: "create" | "revoke" | "expire",
    grant: Pick<StoredGrant, "id" | "agent" | "body" | "expiresAt">,
    identity?: string,
  ): Promise<void> {
    const { policies, task, operations, models } = bodyOf(grant);
    const time = this.#parts.clock.now();
    const person = identity === undefined ? undefined : personWith(identity, this.#parts.resources())?.name;
    return this.#parts.audit(
      grantEvent({
        ...{ id: newId(time), time, change, grant: grant.id, agent: grant.agent, identity, person },
        ...{ task, operations, models, expiresAt: grant.expiresAt },
        policies: policies.map(({ policy }) => policy),
      }),
    );
  }
}

function objectionOf(
  rule: ApprovalRule,
  person: Person,
  owner: string | undefined,
  { seconds, uses }: GrantRequest,
): GrantRefusal | undefined {
  const { grants, needed, policy } = rule;
  if (!mayApprove(rule, person, owner))
    return {
      code: "operator_unauthorized",
      detail: `${person.name} may not say yes for AccessPolicy ${policy} and this agent`,
    };
  const conflicting = (detail: string): GrantRefusal => ({ code: "resource_conflict", detail });
  if (grants === undefined)
    return conflicting(`AccessPolicy ${policy} has every request asked for: it has no spec.approval.grants`);
  if (needed > 1)
    return conflicting(`AccessPolicy ${policy} wants ${needed} persons, and a grant is one person's yes`);
  if (seconds > grants.longest || uses > grants.mostUses)
    return conflicting(
      `AccessPolicy ${policy} lets a grant last ${grants.longest} seconds and ${grants.mostUses} uses at most`,
    );
  return undefined;
}

/** Every rule has to be among what was granted, under the same policy; what was named has to be met. */
function covers({ models, operations, policies }: Body, { model, operation, rules }: Wanted): boolean {
  const isAmong = (list: readonly string[] | undefined, value: string | undefined): boolean =>
    list === undefined || (value !== undefined && list.includes(value));
  return (
    rules.every((rule) =>
      policies.some(({ basis, policy }) => policy === rule.policy && basis === rule.basis),
    ) &&
    isAmong(operations, operation) &&
    isAmong(models, model)
  );
}

const bodyOf = ({ body }: Pick<StoredGrant, "body">): Body => JSON.parse(body) as Body;

function summaryOf(grant: StoredGrant): GrantSummary {
  const { policies, ...body } = bodyOf(grant);
  const { agent, id, state, usesLeft } = grant;
  return {
    ...body,
    ...{ id, agent, state, usesLeft, policies: policies.map(({ policy }) => policy) },
    createdAt: new Date(grant.createdAt).toISOString(),
    expiresAt: new Date(grant.expiresAt).toISOString(),
  };
}

function notFound(kind: string, name: string, names: readonly string[]): Result<never, GrantRefusal> {
  const nearest = nearestName(name, names);
  const hint = nearest === undefined ? "" : `; did you mean \`${nearest}\`?`;
  return refuse({ code: "not_found", detail: `there is no ${kind} \`${name}\`${hint}` });
}

const conflict = (detail: string): Result<never, GrantRefusal> =>
  refuse({ code: "resource_conflict", detail });
const unauthorized = (detail: string): Result<never, GrantRefusal> =>
  refuse({ code: "operator_unauthorized", detail });
