// SPDX-License-Identifier: Apache-2.0
/** What is written down of a decision makes the same decision again, under the same policies. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AuditLog } from "../audit/log.ts";
import type { DecisionRecord, IdentifiedCaller } from "../gateway/ports.ts";
import type { AccessRequest, Decision } from "../policy/access-request.ts";
import { askAgain } from "../policy/ask-again.ts";
import type { CompiledPolicies } from "../policy/compile.ts";
import { callerFacts, conditionFacts } from "../policy/conditions/condition.fixture.ts";
import { judgeConditions, type Judgement } from "../policy/conditions/judge-conditions.ts";
import { decide } from "../policy/decide.ts";
import { compiled, condition, policy } from "../policy/policy-fixtures.ts";
import { parseDecision } from "../policy/recorded-decision.ts";
import { auditSink } from "./audit-sink.ts";

/** As it is read from the log. */
function written(record: DecisionRecord): unknown {
  const events: unknown[] = [];
  const log = { append: (event: unknown) => events.push(event) } as unknown as AuditLog;
  void auditSink(log).decision(record);
  return JSON.parse(JSON.stringify(events[0]));
}

interface Made {
  readonly decision: Decision;
  readonly event: unknown;
}

/** As the gateway does, at `time`, for a caller with these selectors. */
function make(
  policies: CompiledPolicies,
  request: AccessRequest,
  time: number,
  selectors: readonly string[],
): Made {
  const conditions = policies.sliceOf(request.agent, request.serverWorkload)?.conditions ?? [];
  const caller = callerFacts({ agent: request.agent, selectors }) as IdentifiedCaller;
  const facts = conditionFacts({ now: time, request, caller });
  const { holding, unknown, results } = judgeConditions(conditions, facts) as Judgement;
  const decision = decide(policies, {
    ...request,
    ...(holding.length === 0 ? {} : { conditions: holding }),
    ...(unknown.length === 0 ? {} : { unknownConditions: unknown }),
  });
  const allow = decision.outcome === "allow" ? decision : undefined;
  const event = written({
    ...{ id: "d", time, run: undefined, isolated: undefined, policyDigest: policies.digest },
    ...request,
    ...{ caller, host: "h" },
    ...{ outcome: decision.outcome, policies: decision.policies, conditions: results },
    credentialProvider: allow?.credentialProvider,
    code: decision.outcome === "deny" ? decision.code : undefined,
    reasons: decision.outcome === "deny" ? decision.reasons : [],
  });
  return { decision, event };
}

const HOUR = 3_600_000;
const CONDITIONS = [
  condition("hours", { kind: "time", zone: "Europe/Berlin", hours: ["09:00-17:00"] }),
  condition("signed", { kind: "attested", anyOf: ["image:signed-by=us"] }),
  condition("not-dev", { kind: "attested", noneOf: ["kubernetes:namespace=dev"] }),
  condition("posts", { kind: "request", methods: ["POST"] }),
];

const names = fc.subarray(CONDITIONS.map(({ metadata }) => metadata.name));
const anyPolicy = fc
  .tuple(names, fc.constantFrom("everything", "m", "forbid"), names)
  .map(([conditions, what, asked], index = 0) => [conditions, what, asked, index] as const);
const policySet = fc.array(anyPolicy, { minLength: 1, maxLength: 4 }).map((all) =>
  all.map(([conditions, what, asked], index) => {
    const name = `p${index}`;
    if (what !== "forbid")
      return policy(name, {
        ...(conditions.length === 0 ? {} : { conditions }),
        allow: what === "everything" ? { everything: true } : { models: [what] },
      });
    const clauses = asked.map((each) => ` when { context.conditions.contains("${each}") }`);
    return policy(name, { cedar: `forbid(principal, action, resource)${clauses.join("")};` });
  }),
);

const anyRequest = fc.record({
  request: fc.record(
    {
      agent: fc.constantFrom("a", "b"),
      serverWorkload: fc.constantFrom("s", "t"),
      method: fc.constantFrom("GET", "POST"),
      path: fc.constantFrom("/", "/v1/x"),
      model: fc.constantFrom("m", "n"),
    },
    { requiredKeys: ["agent", "serverWorkload", "method", "path"] },
  ),
  time: fc.integer({ min: 0, max: 48 }).map((hours) => Date.UTC(2026, 9, 24) + hours * HOUR),
  selectors: fc.subarray([
    "image:signed-by=us",
    "image:signed-by=them",
    "kubernetes:namespace=dev",
    "kubernetes:namespace=prod",
  ]),
});

describe("a decision in the log", () => {
  it("is made again from the event alone, with its policies, reasons and digest", () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(policySet, fc.array(anyRequest, { minLength: 10, maxLength: 10 }), (policies, asked) => {
        const then = compiled(...CONDITIONS, ...policies);
        const now = compiled(...policies.toReversed(), ...CONDITIONS.toReversed());
        for (const { request, time, selectors } of asked) {
          const { decision, event } = make(then, request, time, selectors);
          const recorded = parseDecision(event)!;
          expect(recorded.policyDigest).toBe(now.digest);
          if (!recorded.asked.ok) throw new Error(recorded.asked.reason);
          expect(decide(now, recorded.asked.value)).toEqual(decision);
          const again = askAgain(recorded, now);
          expect(again).toEqual(recorded.asked);
          for (const reason of decision.outcome === "deny" ? decision.reasons : ["allow"]) seen.add(reason);
        }
      }),
      { numRuns: 80 },
    );
    expect([...seen]).toEqual(
      expect.arrayContaining([
        "allow",
        "forbidden",
        "condition_unmet",
        "condition_unknown",
        "no_matching_policy",
      ]),
    );
  });

  it("is not made again where not all that it depended on is in the event", () => {
    const many = Array.from({ length: 70 }, (_, index) =>
      condition(`c${String(index).padStart(2, "0")}`, { kind: "delegation", maxDepth: index }),
    );
    const conditions = many.map(({ metadata }) => metadata.name);
    const policies = compiled(
      ...many,
      policy("p", { conditions: conditions.slice(0, 40), allow: { everything: true } }),
      policy("q", { conditions: conditions.slice(40), allow: { everything: true } }),
    );
    const { event } = make(policies, { agent: "a", serverWorkload: "s", method: "GET", path: "/" }, 0, []);
    expect(parseDecision(event)?.asked).toEqual({ ok: false, reason: "cut_short" });
  });
});
