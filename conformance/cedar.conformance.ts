// SPDX-License-Identifier: Apache-2.0
/**
 * Does the way that each request takes through Cedar give the decisions that Cedar's authors expect?
 *
 * Their public corpus: policies, schemas, entities and requests that were made at random and decided by the proved
 * implementation. It is no part of this repository; where it is missing, nothing is tested and the exit code is 0, or 1
 * with POSTERN_REQUIRE_TEST_DATA=1. The exit code is 1 where one decision is wrong.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outsideData } from "@postern/testkit";
import type { AccessRequest } from "../packages/server/src/policy/access-request.ts";
import {
  type CedarQuestion,
  evaluateCedar,
  prepareSchema,
} from "../packages/server/src/policy/cedar-slots.ts";
import { policiesIn } from "../packages/server/src/policy/compile-cedar.ts";
import type { CompiledPolicy, Slice } from "../packages/server/src/policy/compile.ts";
import { decideQuestion } from "../packages/server/src/policy/decide.ts";

interface CorpusRequest {
  readonly description: string;
  readonly principal: CedarQuestion["principal"];
  readonly action: CedarQuestion["action"];
  readonly resource: CedarQuestion["resource"];
  readonly context: CedarQuestion["context"];
  readonly validateRequest: boolean;
  readonly decision: "allow" | "deny";
  readonly reason: readonly string[];
  readonly errors: readonly string[];
}

interface CorpusTest {
  readonly policies: string;
  readonly entities: string;
  readonly schema: string;
  readonly requests: readonly CorpusRequest[];
}

const PUBLISHED = "https://github.com/cedar-policy/cedar-integration-tests (corpus-tests.tar.gz)";
const folder = outsideData("cedar", PUBLISHED);
const archive = folder === undefined ? undefined : join(folder, "corpus-tests.tar.gz");

const SCHEMA = "corpus";
const asked: AccessRequest = { agent: "corpus", serverWorkload: "corpus", method: "GET", path: "/" };

function run(root: string): void {
  const names = readdirSync(join(root, "corpus-tests"))
    .filter((name) => name.endsWith(".json") && !name.endsWith(".entities.json"))
    .toSorted();
  const count = { tests: names.length, requests: 0, equal: 0, inError: 0, stricter: 0, refused: 0 };
  const wrong: string[] = [];
  const failed = new Set<string>();
  const refusals = new Map<string, string>();
  for (const name of names) {
    const test = JSON.parse(readFileSync(join(root, "corpus-tests", name), "utf8")) as CorpusTest;
    const slice = sliceOf(name, readFileSync(join(root, test.policies), "utf8"));
    prepareSchema(SCHEMA, readFileSync(join(root, test.schema), "utf8"));
    const entities = JSON.parse(readFileSync(join(root, test.entities), "utf8")) as CedarQuestion["entities"];
    for (const request of test.requests) {
      count.requests++;
      const result =
        slice === undefined
          ? "the policies are refused"
          : judge(slice, request, { ...request, entities, preparsedSchemaName: SCHEMA });
      if (result === "equal") count.equal++;
      else if (result === "in error") {
        count.inError++;
        if (request.decision === "allow") count.stricter++;
      } else if (result.startsWith("WRONG")) {
        wrong.push(`${name}, ${request.description}: ${result}`);
        failed.add(name);
      } else {
        count.refused++;
        refusals.set(name, result);
      }
    }
  }
  const lines = [
    `tests: ${count.tests}, requests: ${count.requests}`,
    `decided as expected, with the same reasons: ${count.equal}`,
    `denied because a policy is in error: ${count.inError}; Cedar passes over such policies and would allow ${count.stricter} of them`,
    `refused by the library, and denied: ${count.refused} requests of ${refusals.size} tests`,
    ...[...refusals].map(([name, why]) => `  ${name}: ${why}`),
    ...wrong,
    `${wrong.length === 0 ? "no" : wrong.length} wrong decisions`,
    // For whoever counts: one line in the form of test runners.
    `${count.tests - failed.size - refusals.size} passed, ${failed.size} failed, ${refusals.size} skipped`,
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
  if (wrong.length > 0 || count.tests === 0) process.exitCode = 1;
}

/** The policies as a slice that the gateway would evaluate; undefined where they are refused. */
function sliceOf(key: string, text: string): Slice | undefined {
  if (text.trim() === "") return { key, policies: new Map(), conditions: [], cedar: {}, hasDryRun: false };
  const split = policiesIn(text);
  if (!split.ok) return undefined;
  const policies = split.value.map((cedar, index): CompiledPolicy => {
    const names = {
      agents: [asked.agent],
      serverWorkload: asked.serverWorkload,
      credentialProvider: "corpus",
    };
    return { ...names, id: `policy${index}`, policy: `policy${index}`, effect: "permit", cedar };
  });
  return {
    key,
    policies: new Map(policies.map((policy) => [policy.id, policy])),
    conditions: [],
    hasDryRun: false,
    cedar: Object.fromEntries(policies.map(({ id, cedar }) => [id, cedar])),
  };
}

function judge(slice: Slice, expected: CorpusRequest, question: CedarQuestion): string {
  const { principal, action, resource, context, entities, preparsedSchemaName, validateRequest } = question;
  const plain = {
    principal,
    action,
    resource,
    context,
    entities,
    preparsedSchemaName,
    validateRequest,
  } as const;
  const decision = decideQuestion(slice, plain as CedarQuestion, asked);
  if (decision.outcome === "allow" && expected.decision === "deny")
    return "WRONG: allowed, and should be denied";
  let why: string;
  try {
    const answer = evaluateCedar(slice, plain as CedarQuestion);
    if (answer.type === "success") return compare(decision.outcome, answer.response, expected);
    why = answer.errors[0]?.message ?? "refused";
  } catch (error) {
    why = error instanceof Error ? error.message : String(error);
  }
  return decision.outcome === "deny"
    ? why.slice(0, 200).replaceAll("\n", " ")
    : "WRONG: allowed what is refused";
}

function compare(
  outcome: "allow" | "deny",
  response: {
    decision: string;
    diagnostics: { reason: readonly string[]; errors: readonly { policyId: string }[] };
  },
  expected: CorpusRequest,
): string {
  const { decision, diagnostics } = response;
  const errors = diagnostics.errors.map(({ policyId }) => policyId);
  if (decision !== expected.decision) return `WRONG: Cedar says ${decision}`;
  if (!isSame(diagnostics.reason, expected.reason))
    return `WRONG: for the reasons ${diagnostics.reason.join(", ")}`;
  if (!isSame(errors, expected.errors)) return `WRONG: with errors in ${errors.join(", ")}`;
  if (errors.length > 0) return outcome === "deny" ? "in error" : "WRONG: allowed with a policy in error";
  return outcome === expected.decision ? "equal" : `WRONG: decided ${outcome}`;
}

const isSame = (a: readonly string[], b: readonly string[]): boolean =>
  JSON.stringify(a.toSorted()) === JSON.stringify(b.toSorted());

if (archive === undefined || !existsSync(archive)) {
  process.stdout.write(`SKIPPED: Cedar's corpus is not here; it is published at ${PUBLISHED}\n`);
  process.exit(0);
}

const scratch = mkdtempSync(join(tmpdir(), "postern-cedar-"));
try {
  const unpacked = spawnSync("tar", ["xzf", archive, "-C", scratch], { stdio: "inherit" });
  if (unpacked.status !== 0) throw new Error("the corpus cannot be unpacked");
  run(scratch);
} finally {
  rmSync(scratch, { recursive: true });
}
