// SPDX-License-Identifier: Apache-2.0
/** What was granted and never used, going by the log, and when was it used last? */
import type { ResourceOf } from "@postern/contract";
import type { AccessRequest } from "../policy/access-request.ts";
import { CLAUSES } from "../policy/clauses.ts";
import { globMatches } from "../policy/glob.ts";
import type { RecordedDecision } from "../policy/recorded-decision.ts";
import type { ResourceSet } from "../resources/resource-set.ts";

export type GrantKind = "agent" | "policy" | "credential_provider" | "agent_of_policy" | "value_of_policy";

export interface Grant {
  readonly kind: GrantKind;
  /** The agent, the policy, the credential provider, or the value. */
  readonly name: string;
  /** Where it stands, for the last two kinds. */
  readonly policy?: string;
  /** `operations`, `models` and so on, for a value. */
  readonly field?: string;
  /** Before the period; absent where the log knows of none. */
  readonly lastUse?: number;
  /** When it was made, where that is in the period: it had less time to be used. */
  readonly createdAt?: number;
}

export interface Review {
  readonly decisions: number;
  readonly grants: number;
  /** Broad ones first: of what is unused as a whole, the parts are not listed. */
  readonly unused: readonly Grant[];
}

type AccessPolicy = ResourceOf<"AccessPolicy">;

interface Entry extends Grant {
  used: boolean;
  last: number | undefined;
}

export class Reviewer {
  readonly #since: number;
  readonly #entries = new Map<string, Entry>();
  readonly #policies: ReadonlyMap<string, AccessPolicy>;
  readonly #created = new Map<string, number>();
  #decisions = 0;

  constructor(resources: ResourceSet, since: number) {
    this.#since = since;
    for (const { metadata } of resources.all("Agent")) this.#expect({ kind: "agent", name: metadata.name });
    for (const { metadata } of resources.all("CredentialProvider"))
      this.#expect({ kind: "credential_provider", name: metadata.name });
    for (const { metadata, spec } of resources.all("AccessPolicy")) {
      const policy = metadata.name;
      this.#expect({ kind: "policy", name: policy });
      for (const name of spec.agents) this.#expect({ kind: "agent_of_policy", policy, name });
      for (const { clause: field } of CLAUSES)
        for (const name of spec.allow?.[field] ?? [])
          this.#expect({ kind: "value_of_policy", policy, field, name });
    }
    this.#policies = new Map(resources.all("AccessPolicy").map((policy) => [policy.metadata.name, policy]));
  }

  #expect(grant: Grant): void {
    this.#entries.set(keyOf(grant), { ...grant, used: false, last: undefined });
  }

  /** Of the whole log, also of before the period: that is how the last use is known. */
  add(decision: RecordedDecision): void {
    const { time, outcome, agent, policies, credentialProvider } = decision;
    if (time >= this.#since) this.#decisions++;
    // What forbids is used by denying.
    for (const policy of [...policies, ...(decision.dryRun?.policies ?? [])])
      this.#use({ kind: "policy", name: policy }, time);
    if (outcome === "deny" || agent === undefined) return;
    this.#use({ kind: "agent", name: agent }, time);
    if (credentialProvider !== undefined)
      this.#use({ kind: "credential_provider", name: credentialProvider }, time);
    for (const name of policies) {
      this.#use({ kind: "agent_of_policy", policy: name, name: agent }, time);
      const policy = this.#policies.get(name);
      if (policy !== undefined && decision.asked.ok) this.#useValues(policy, decision.asked.value, time);
    }
  }

  #useValues({ metadata, spec }: AccessPolicy, request: AccessRequest, time: number): void {
    for (const { clause: field, attribute, match } of CLAUSES) {
      const saw = request[attribute];
      if (saw === undefined) continue;
      for (const name of spec.allow?.[field] ?? [])
        if (match === "exact" ? name === saw : globMatches(name, saw))
          this.#use({ kind: "value_of_policy", policy: metadata.name, field, name }, time);
    }
  }

  #use(grant: Grant, time: number): void {
    const entry = this.#entries.get(keyOf(grant));
    if (entry === undefined) return;
    if (time >= this.#since) entry.used = true;
    entry.last = Math.max(entry.last ?? 0, time);
  }

  /** Another event of the log: one may say when a resource was made. */
  addOther(event: unknown): void {
    const { time, unmapped } = (event ?? {}) as { time?: unknown; unmapped?: Record<string, unknown> };
    if (typeof time !== "number" || time < this.#since) return;
    if (unmapped?.["kind"] !== "resource_change" || unmapped["change"] !== "create") return;
    this.#created.set(`${String(unmapped["resource_kind"])}/${String(unmapped["name"])}`, time);
  }

  result(): Review {
    const unused = [...this.#entries.values()].filter((entry) => !entry.used && !this.#isPartOfUnused(entry));
    return {
      decisions: this.#decisions,
      grants: this.#entries.size,
      unused: unused.map(({ used: _used, last, ...grant }) => ({
        ...grant,
        ...(last === undefined ? {} : { lastUse: last }),
        ...this.#createdAt(grant),
      })),
    };
  }

  #isPartOfUnused({ policy, kind, name }: Entry): boolean {
    if (policy === undefined) return false;
    const isUnused = (whole: Grant): boolean => this.#entries.get(keyOf(whole))?.used === false;
    return (
      isUnused({ kind: "policy", name: policy }) ||
      (kind === "agent_of_policy" && isUnused({ kind: "agent", name }))
    );
  }

  #createdAt({ kind, name, policy }: Grant): { createdAt?: number } {
    const resource =
      policy === undefined
        ? `${RESOURCE_KIND[kind as keyof typeof RESOURCE_KIND]}/${name}`
        : `AccessPolicy/${policy}`;
    const createdAt = this.#created.get(resource);
    return createdAt === undefined ? {} : { createdAt };
  }
}

const RESOURCE_KIND = {
  agent: "Agent",
  policy: "AccessPolicy",
  credential_provider: "CredentialProvider",
} as const;

const keyOf = ({ kind, policy, field, name }: Grant): string => JSON.stringify([kind, policy, field, name]);
