// SPDX-License-Identifier: Apache-2.0
/** How does an AccessCondition become something that can be judged for each request, and keeps what it found? */
import { createHash } from "node:crypto";
import type { AccessConditionSpec, ResourceOf } from "@postern/contract";
import canonicalize from "canonicalize";
import type { Instant } from "../../kernel/clock.ts";
import { type Judge, type SpecProblem, unknown, type Verdict } from "./condition-kind.ts";
import type { ConditionFacts } from "./facts.ts";
import { kindOf } from "./kinds.ts";

export interface CompiledCondition {
  readonly name: string;
  readonly spec: AccessConditionSpec;
  /** JSON pointers of what it reads of the body. */
  readonly bodyPointers: readonly string[];
  /** The beginning of a SHA-256 over the spec: a finding of one definition says nothing of another. */
  readonly definition: string;
  /** Never throws and never rejects: what goes wrong is unknown. */
  judge(facts: ConditionFacts): Verdict | Promise<Verdict>;
}

export function conditionProblems({ spec }: ResourceOf<"AccessCondition">): SpecProblem[] {
  return kindOf(spec).problems?.(spec) ?? [];
}

export function compileCondition({ metadata, spec }: ResourceOf<"AccessCondition">): CompiledCondition {
  const kind = kindOf(spec);
  return {
    name: metadata.name,
    spec,
    bodyPointers: kind.bodyPointers?.(spec) ?? [],
    definition: definitionOf(spec),
    judge: safely(kept(kind.scope, kind.judge(spec))),
  };
}

function definitionOf(spec: AccessConditionSpec): string {
  return createHash("sha256")
    .update(canonicalize(spec) ?? "")
    .digest("hex")
    .slice(0, 32);
}

function safely(judge: Judge): Judge {
  const failed = (): Verdict => unknown("it could not be judged");
  return (facts) => {
    try {
      const verdict = judge(facts);
      return verdict instanceof Promise ? verdict.catch(failed) : verdict;
    } catch {
      return failed();
    }
  };
}

interface Kept {
  readonly verdict: Verdict;
  readonly judgedAt: Instant;
  readonly revision: number;
}

/** A verdict serves again while nothing that it depended on can have changed; an unknown one never. */
function kept(scope: "nothing" | "caller" | "request", judge: Judge): Judge {
  if (scope === "request") return judge;
  const byCaller = new WeakMap<object, Kept>();
  const everybody = {};
  return (facts) => {
    const owner = scope === "caller" ? facts.caller : everybody;
    const known = byCaller.get(owner);
    if (known !== undefined && isCurrent(known, facts)) return known.verdict;
    const { now } = facts;
    const { revision } = facts.sources;
    const keep = (verdict: Verdict): Verdict => {
      if (verdict.isUnknown !== true) byCaller.set(owner, { verdict, judgedAt: now, revision });
      return verdict;
    };
    const verdict = judge(facts);
    return verdict instanceof Promise ? verdict.then(keep) : keep(verdict);
  };
}

/** A clock that was set back says nothing about what was found later than now. */
const isCurrent = ({ verdict, judgedAt, revision }: Kept, { now, sources }: ConditionFacts): boolean =>
  revision === sources.revision &&
  now >= judgedAt &&
  (verdict.validUntil === undefined || now < verdict.validUntil);

/** Why both can never hold at once, or undefined where they may. */
export function conditionConflict(a: AccessConditionSpec, b: AccessConditionSpec): string | undefined {
  return a.kind === b.kind ? kindOf(a).conflict?.(a, b) : undefined;
}
