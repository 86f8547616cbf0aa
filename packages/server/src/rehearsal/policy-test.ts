// SPDX-License-Identifier: Apache-2.0
/**
 * What is expected of policies, as fixtures in files, and does a set of policies keep to it?
 *
 * A fixture is a YAML document of the kind `PolicyTest`: a request as the audit log knows it, and what is to come of it.
 */
import type { Place } from "@postern/contract";
import { z } from "zod";
import { ok, refuse, type Result } from "../kernel/result.ts";
import type { AccessRequest, Decision } from "../policy/access-request.ts";
import type { CompiledPolicies } from "../policy/compile.ts";
import { explain, explanationText } from "../policy/explain.ts";
import type { NotReplayable, RecordedDecision } from "../policy/recorded-decision.ts";
import { readYaml, type SourceFile } from "../resources/yaml-document.ts";

const name = z.string().min(1).max(200);

const fixtureSchema = z.strictObject({
  kind: z.literal("PolicyTest"),
  metadata: z.strictObject({ name, description: z.string().max(500).optional() }),
  spec: z.strictObject({
    request: z.strictObject({
      agent: name,
      serverWorkload: name,
      method: name,
      path: z.string().startsWith("/").max(8192),
      operation: name.optional(),
      model: name.optional(),
      /** Names of the AccessConditions that hold. */
      conditions: z.array(name).max(64).optional(),
      /** Of which nobody can tell. */
      unknownConditions: z.array(name).max(64).optional(),
    }),
    /** What is not named may be anything. */
    expect: z.strictObject({
      outcome: z.enum(["allow", "deny"]),
      credentialProvider: name.optional(),
      policies: z.array(name).max(100).optional(),
      reasons: z.array(name).max(20).optional(),
    }),
  }),
});

type Fixture = z.infer<typeof fixtureSchema>;

export interface PolicyTest {
  readonly file: string;
  readonly line: number;
  readonly name: string;
  readonly request: AccessRequest;
  readonly expected: Fixture["spec"]["expect"];
}

export interface PolicyTestResult extends Pick<PolicyTest, "file" | "line" | "name"> {
  readonly passed: boolean;
  /** One line for each thing that is not as expected. */
  readonly differences: readonly string[];
  /** Why it is so, in words; only where it failed. */
  readonly explanation?: string;
}

export interface TestFiles {
  readonly tests: readonly PolicyTest[];
  /** Those that hold no fixture: resources, presumably. */
  readonly others: readonly SourceFile[];
}

/** A file holds fixtures or resources: what its first document is. */
export function parsePolicyTests(files: readonly SourceFile[]): Result<TestFiles, Place[]> {
  const tests: PolicyTest[] = [];
  const others: SourceFile[] = [];
  const problems: Place[] = [];
  for (const file of files) {
    const { documents, problems: unsound } = readYaml(file);
    // Whatever it is: a fixture that cannot be read must not count as none.
    problems.push(...unsound);
    if (!documents.some(({ value }) => kindOf(value) === "PolicyTest")) {
      others.push(file);
      continue;
    }
    for (const document of documents) {
      const parsed = fixtureSchema.safeParse(document.value);
      if (!parsed.success) {
        for (const issue of parsed.error.issues) problems.push(...placesOf(issue, document.place));
        continue;
      }
      const { metadata, spec } = parsed.data;
      const { line } = document.place(["metadata", "name"]);
      const request = Object.fromEntries(
        Object.entries(spec.request).filter(([, value]) => value !== undefined),
      ) as unknown as AccessRequest;
      tests.push({ file: file.name, line, name: metadata.name, request, expected: spec.expect });
    }
  }
  return problems.length === 0 ? ok({ tests, others }) : refuse(problems);
}

const kindOf = (value: unknown): unknown => (value as { kind?: unknown } | null)?.kind;

function placesOf(
  issue: z.core.$ZodIssue,
  place: (path: (string | number)[], atKey?: boolean) => Omit<Place, "message">,
): Place[] {
  const path = issue.path.map((step) => (typeof step === "symbol" ? String(step) : step));
  if (issue.code !== "unrecognized_keys") return [{ ...place(path), message: issue.message }];
  return issue.keys.map((key) => ({
    ...place([...path, key], true),
    message: `a policy test has no key \`${key}\` here`,
  }));
}

export function runPolicyTest(test: PolicyTest, policies: CompiledPolicies): PolicyTestResult {
  const { file, line, name: title, request, expected } = test;
  const explanation = explain(policies, request);
  const differences = differencesOf(expected, explanation.decision);
  const passed = differences.length === 0;
  return {
    ...{ file, line, name: title, passed, differences },
    ...(passed ? {} : { explanation: explanationText(explanation) }),
  };
}

function differencesOf(expected: PolicyTest["expected"], decision: Decision): string[] {
  const found = {
    outcome: decision.outcome,
    credentialProvider: decision.outcome === "allow" ? decision.credentialProvider : undefined,
    policies: decision.policies,
    reasons: decision.outcome === "deny" ? decision.reasons : [],
  };
  return (["outcome", "credentialProvider", "policies", "reasons"] as const).flatMap((field) => {
    const [wanted, got] = [inWords(expected[field]), inWords(found[field])];
    return expected[field] === undefined || wanted === got
      ? []
      : [`${field}: expected ${wanted}, got ${got}`];
  });
}

function inWords(value: string | readonly string[] | undefined): string {
  if (value === undefined) return "none";
  if (typeof value === "string") return value;
  return value.length === 0 ? "none" : value.toSorted((a, b) => (a < b ? -1 : 1)).join(", ");
}

/** The fixture that expects what was decided then. */
export function fixtureOf(recorded: RecordedDecision): Result<string, NotReplayable> {
  const { asked, outcome, credentialProvider, reasons, id, time } = recorded;
  if (!asked.ok) return asked;
  const request = Object.entries(asked.value).map(([key, value]) => `    ${key}: ${JSON.stringify(value)}`);
  const expected = [
    `    outcome: ${outcome}`,
    ...(credentialProvider === undefined ? [] : [`    credentialProvider: ${credentialProvider}`]),
    ...(outcome === "deny" && reasons.length > 0 ? [`    reasons: ${JSON.stringify(reasons)}`] : []),
  ];
  return ok(
    [
      `# Made from decision ${id} of ${new Date(time).toISOString()}.`,
      "kind: PolicyTest",
      `metadata: { name: ${JSON.stringify(`decision ${id}`)} }`,
      "spec:",
      "  request:",
      ...request,
      "  expect:",
      ...expected,
      "",
    ].join("\n"),
  );
}
