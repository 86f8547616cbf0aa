// SPDX-License-Identifier: Apache-2.0
/**
 * Is every MUST and SHOULD of the SPIFFE standards that concerns Postern tested, and does it hold?
 *
 * The tests stand beside the code and name the rule in their title (`X1: …`). This runs them, joins them with the
 * table of rules, and prints it; the same for the checks of the client catalogue. The exit code is 1 where a test fails, a
 * rule or a check has no test, or a test names no rule.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CLIENT_CHECKS, RULES } from "./spiffe-rules.ts";

const FOLDERS = [
  "packages/identity",
  "packages/sdk",
  "packages/server/src/issuer",
  "packages/server/src/config",
  "packages/server/src/attestation/federation",
  "e2e/federation.test.ts",
];

interface TestResult {
  readonly title: string;
  readonly status: string;
}

function runTests(): { tests: readonly TestResult[]; isPassed: boolean } {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), "postern-conformance-"));
  const output = join(folder, "results.json");
  try {
    const vitest = join(root, "node_modules/vitest/vitest.mjs");
    const words = [
      "run",
      "--project",
      "unit",
      "--project",
      "e2e",
      "--reporter",
      "json",
      "--outputFile",
      output,
      ...FOLDERS,
    ];
    const { status } = spawnSync(process.execPath, [vitest, ...words], {
      cwd: root,
      stdio: ["ignore", "ignore", "inherit"],
    });
    const { testResults } = JSON.parse(readFileSync(output, "utf8")) as {
      testResults: readonly { assertionResults: readonly TestResult[] }[];
    };
    return { tests: testResults.flatMap(({ assertionResults }) => assertionResults), isPassed: status === 0 };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** `X1, X3: …` and `is refused with X1: …` name rules, `XV-8` a check of clients; `P-256` and the like neither. */
const namesOf = (title: string): string[] => [
  ...[...title.matchAll(/\b((?:(?:ID|[XJBFW])\d{1,2}(?:, )?)+):/g)].flatMap(([, names]) =>
    names!.split(", "),
  ),
  ...(title.match(/\b(?:EP|WA|XS|XV|XF|JV|JB|JF|ID|HX)-\d{1,2}\b/g) ?? []),
];

const { tests, isPassed } = runTests();
const known = new Set([...RULES.map(({ id }) => id), ...CLIENT_CHECKS]);
const named = new Map<string, TestResult[]>();
const problems: string[] = isPassed ? [] : ["a test fails"];
for (const test of tests)
  for (const id of namesOf(test.title)) {
    if (!known.has(id)) problems.push(`"${test.title}" names ${id}, which is no rule`);
    named.set(id, [...(named.get(id) ?? []), test]);
  }
const count = (id: string, status: string): number =>
  (named.get(id) ?? []).filter((test) => test.status === status).length;
for (const { id, level, says, without } of RULES) {
  const [passed, failed] = [count(id, "passed"), count(id, "failed")];
  if (without === undefined && passed === 0) problems.push(`${id} has no test that passes`);
  if (without !== undefined && passed > 0) problems.push(`${id} is tested, and said not to be: ${without}`);
  if (failed > 0) problems.push(`${id} does not hold`);
  const state =
    without === undefined ? `${passed} tests${failed > 0 ? `, ${failed} FAIL` : ""}` : `no: ${without}`;
  process.stdout.write(`${id.padEnd(4)} ${level.padEnd(6)} ${says.padEnd(92)} ${state}\n`);
}
const open = CLIENT_CHECKS.filter((id) => count(id, "passed") === 0 || count(id, "failed") > 0);
for (const id of open) problems.push(`${id} of the client catalogue has no test, or one that fails`);
const skipped = tests.filter(({ status }) => status !== "passed" && status !== "failed").length;
for (const problem of problems) process.stdout.write(`PROBLEM  ${problem}\n`);
const claimed = RULES.filter(({ without }) => without === undefined).length;
process.stdout.write(`${claimed} of ${RULES.length} rules are tested, ${problems.length} problems\n`);
process.stdout.write(
  `${CLIENT_CHECKS.length - open.length} of ${CLIENT_CHECKS.length} checks of the client catalogue are tested\n`,
);
if (skipped > 0)
  process.stdout.write(`${skipped} of ${tests.length} tests were SKIPPED: what they need is not here\n`);
process.exitCode = problems.length === 0 ? 0 : 1;
