// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ok, refuse } from "../kernel/result.ts";
import type { AccessRequest } from "../policy/access-request.ts";
import { decide } from "../policy/decide.ts";
import type { RecordedDecision } from "../policy/recorded-decision.ts";
import { loadProfiles } from "../profiles/profile.ts";
import { ResourceSet } from "../resources/resource-set.ts";
import { type Approval, Learner, type LearnOptions } from "./learn.ts";
import { learnedYaml } from "./learned-yaml.ts";
import { OperationPaths } from "./operation-paths.ts";
import { policySet } from "./policy-set.ts";

const resources = new ResourceSet([
  { kind: "ServerWorkload", metadata: { name: "openai" }, spec: { profile: "openai", port: 443 } },
  { kind: "ServerWorkload", metadata: { name: "gemini" }, spec: { profile: "gemini", port: 443 } },
]);
const paths = new OperationPaths(resources, loadProfiles());
const EXACT: LearnOptions = { includeDenied: false, generalise: false };

const request = (
  serverWorkload: string,
  method: string,
  path: string,
  operation?: string,
  model?: string,
): AccessRequest => ({
  agent: "a",
  serverWorkload,
  method,
  path,
  ...(operation === undefined ? {} : { operation }),
  ...(model === undefined ? {} : { model }),
});

/** What the gateway could ask, as it names operations and models. */
const UNIVERSE: readonly AccessRequest[] = [
  ...["gpt-4o", "gpt-5", "*", 'say "hi" # no', "yes"].flatMap((model) => [
    request("openai", "POST", "/v1/chat/completions", "chat.completions", model),
    request("openai", "POST", "/v1/embeddings", "embeddings", model),
    request("openai", "POST", "/v1/responses", "responses", model),
  ]),
  request("openai", "POST", "/v1/moderations", "moderations", "omni"),
  request("openai", "POST", "/v1/moderations", "moderations"),
  request("openai", "POST", "/v1/embeddings", "embeddings"),
  request("openai", "GET", "/v1/models", "models.list"),
  ...["f1", "f2", "f*"].flatMap((id) => [
    request("openai", "GET", `/v1/files/${id}`, "files.get"),
    request("openai", "DELETE", `/v1/files/${id}`, "files.delete"),
    request("openai", "GET", `/v1/things/${id}`),
    request("openai", "PUT", `/v1/things/${id}`),
  ]),
  ...["v1", "v1beta"].flatMap((version) =>
    ["flash", "pro"].flatMap((model) => [
      request("gemini", "POST", `/${version}/models/${model}:generateContent`, "generateContent", model),
      request("gemini", "POST", `/${version}/models/${model}:countTokens`, "countTokens", model),
    ]),
  ),
];

let last = 0;

const seen = (asked: AccessRequest, more: Partial<RecordedDecision> = {}): RecordedDecision => ({
  id: `d${++last}`,
  time: Date.UTC(2026, 10, 20),
  agent: "a",
  serverWorkload: asked.serverWorkload,
  outcome: "allow",
  reasons: [],
  policies: [],
  conditions: [],
  credentialProvider: `${asked.serverWorkload}-key`,
  asked: ok(asked),
  ...more,
});

const denied = (asked: AccessRequest, reason = "no_matching_policy"): RecordedDecision => {
  const { credentialProvider: _none, ...rest } = seen(asked, { outcome: "deny", reasons: [reason] });
  return rest;
};

function learn(decisions: readonly RecordedDecision[], options: LearnOptions = EXACT, name?: string) {
  const learner = new Learner(paths, options);
  for (const decision of decisions) learner.add(decision);
  return learnedYaml(learner.result(), { agent: "a", name, credentialOf: () => undefined });
}

function allowedBy(yaml: string): AccessRequest[] {
  const set = policySet(ResourceSet.empty, [{ name: "learned.yaml", text: yaml }]);
  if (!set.ok) throw new Error(JSON.stringify(set.reason));
  return UNIVERSE.filter((asked) => decide(set.value.policies, asked).outcome === "allow");
}

describe("what is learned", () => {
  it("allows what was seen and nothing else, whatever was seen", () => {
    fc.assert(
      fc.property(fc.subarray([...UNIVERSE], { minLength: 1 }), (some) => {
        const { text, left } = learn(some.map((asked) => seen(asked)));
        expect(left).toEqual({});
        expect(allowedBy(text)).toEqual(some);
      }),
      { numRuns: 60 },
    );
  });

  it("is the same whatever the order in which it was seen", () => {
    const decisions = UNIVERSE.map((asked) => seen(asked));
    expect(learn(decisions.toReversed()).text).toBe(learn(decisions).text);
  });

  it("has no value that could be left out", () => {
    fc.assert(
      fc.property(fc.subarray([...UNIVERSE], { minLength: 1, maxLength: 12 }), (some) => {
        const lines = learn(some.map((asked) => seen(asked))).text.split("\n");
        for (const [index, line] of lines.entries()) {
          const isAlone = [lines[index - 1], lines[index + 1]].every((near) => !near?.startsWith("      - "));
          if (!line.startsWith("      - ") || isAlone) continue;
          const rest = lines.toSpliced(index, 1).join("\n");
          expect(allowedBy(rest).length, line).toBeLessThan(some.length);
        }
      }),
      { numRuns: 20 },
    );
  });

  it("takes the fewer policies where joining by operation and by model differ", () => {
    const asked = (operation: string, model: string) =>
      request("openai", "POST", `/v1/${operation.replace(".", "/")}`, operation, model);
    const some = [
      asked("chat.completions", "gpt-4o"),
      asked("embeddings", "gpt-5"),
      ...["gpt-4o", "gpt-5"].map((model) => asked("responses", model)),
    ];
    const { text, policies } = learn(some.map((each) => seen(each)));
    expect(policies).toBe(2);
    expect(allowedBy(text)).toHaveLength(4);
    expect(learn(some.filter(({ model }) => model === "gpt-5").map((each) => seen(each))).policies).toBe(1);
  });

  it("still asks the persons that the policies asked which allowed it", () => {
    const approval: Approval = {
      ...{ approvers: ["alice"], needed: 1, when: "always", ownerMayApprove: false },
      ...{ wait: 5, expiresAfter: 900, validFor: 900, uses: 1, asksPerHour: 60 },
    };
    const rules: Record<string, Approval> = {
      asks: approval,
      same: approval,
      two: { ...approval, approvers: ["bob"] },
    };
    const learned = (...policies: string[]) => {
      const learner = new Learner(paths, EXACT, (policy) => rules[policy]);
      learner.add(seen(UNIVERSE[0]!, { policies: ["free"], time: 1 }));
      learner.add(seen(UNIVERSE[0]!, { policies }));
      const { text } = learnedYaml(learner.result(), { agent: "a", credentialOf: () => undefined });
      const set = policySet(ResourceSet.empty, [{ name: "learned.yaml", text }]);
      if (!set.ok) throw new Error(JSON.stringify(set.reason));
      return set.value.resources.all("AccessPolicy").map(({ spec }) => spec.approval);
    };
    expect(learned("free")).toEqual([undefined]);
    expect(learned("asks", "same", "free")).toEqual([approval]);
    expect(learned("asks", "two")).toEqual([approval, rules["two"]]);
  });

  it("says how often each was used, and joins what goes together", () => {
    const [chat, embeddings] = [UNIVERSE[0]!, UNIVERSE[1]!];
    expect(learn([seen(chat), seen(chat), seen(embeddings)]).text).toBe(
      `# What agent a was seen to do: 3 requests from 2026-11-20 to 2026-11-20.
# A policy that allows more goes on allowing it until it is deleted or narrowed.
---
# 3 times, last 2026-11-20
kind: AccessPolicy
metadata: { name: a-learned-openai }
spec:
  agents: [a]
  serverWorkload: openai
  credentialProvider: openai-key
  allow:
    operations:
      - chat.completions # 2 times, last 2026-11-20
      - embeddings # 1 time, last 2026-11-20
    models:
      - gpt-4o # 3 times, last 2026-11-20
`,
    );
  });

  it("proposes what was denied only where that is asked for, and never what a policy forbade", () => {
    const [chat, embeddings] = [UNIVERSE[0]!, UNIVERSE[1]!];
    const decisions = [denied(chat), denied(embeddings, "forbidden")];
    expect(learn(decisions)).toMatchObject({ policies: 0, left: {} });
    const options = { includeDenied: true, generalise: false };
    expect(learn(decisions, options)).toMatchObject({ policies: 0, left: { no_credential_provider: 1 } });
    const before = seen(chat);
    const { text } = learn([before, ...decisions], options);
    expect(allowedBy(text)).toEqual([chat]);
    expect(text).toContain("# 2 times, last 2026-11-20, 1 of them denied\n");
  });

  it("generalises only where that is asked for: operations to their paths, ids to any text", () => {
    const files = request("openai", "GET", "/v1/files/f1", "files.get");
    const thing = request("openai", "GET", "/v1/things/12345/parts");
    const { text } = learn([seen(files), seen(thing)], { includeDenied: false, generalise: true });
    expect(text).toContain('- "/v1/things/*/parts"');
    expect(allowedBy(text)).toEqual(UNIVERSE.filter(({ operation }) => operation === "files.get"));
  });

  it("counts what cannot be covered, and says so", () => {
    const long = request("openai", "GET", `/v1/things/${"x".repeat(600)}`);
    const { text, left } = learn([
      seen(UNIVERSE[0]!),
      seen(UNIVERSE[0]!, { asked: refuse("masked") }),
      seen(long),
    ]);
    expect(left).toEqual({ masked: 1, path_too_long: 1 });
    expect(text).toContain("# Not covered: 1 in which the log hides something.\n");
  });

  it("takes the name of a policy that it is to replace, and cuts names that would be too long", () => {
    const two = [UNIVERSE[0]!, UNIVERSE.at(-1)!].map((asked) => seen(asked));
    expect(learn(two, EXACT, "old").text.match(/name: \S+/g)).toEqual(["name: old", "name: old-2"]);
    const [first, second] = learn(two, EXACT, `${"n".repeat(60)}-xx`).text.match(/name: \S+/g) ?? [];
    expect([first, second]).toEqual([`name: ${"n".repeat(60)}-xx`, `name: ${"n".repeat(60)}-2`]);
  });

  it("splits lists that are longer than a policy takes", () => {
    const many = Array.from({ length: 450 }, (_, index) =>
      request("openai", "POST", "/v1/embeddings", "embeddings", `m${String(index).padStart(3, "0")}`),
    );
    const { text, policies } = learn(many.map((asked) => seen(asked)));
    expect(policies).toBe(3);
    const set = policySet(ResourceSet.empty, [{ name: "x", text }]);
    expect(set.ok && many.every((asked) => decide(set.value.policies, asked).outcome === "allow")).toBe(true);
  });
});
