// SPDX-License-Identifier: Apache-2.0
/**
 * Does every recorded decision come out the same when it is made again from its audit event?
 *
 * `npm run conformance -- decisions FOLDER`, after tests that ran with POSTERN_KEEP_DECISIONS=FOLDER. A decision is made
 * again under the policies whose digest it names, with the request and the conditions that its event holds, and nothing
 * else. The exit code is 1 where one comes out otherwise, where a log does not verify, or where there is nothing.
 */
import { createReadStream, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { CompiledPolicies } from "../packages/server/src/policy/compile.ts";
import { decide } from "../packages/server/src/policy/decide.ts";
import type { RecordedDecision } from "../packages/server/src/policy/recorded-decision.ts";
import { policySet, storedResources } from "../packages/server/src/rehearsal/policy-set.ts";
import { readDecisions } from "../packages/server/src/rehearsal/read-decisions.ts";

const counts: Record<string, number> = {};
const wrong: string[] = [];
const count = (what: string): void => void (counts[what] = (counts[what] ?? 0) + 1);

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const folder = process.argv[3] ?? "";
if (!existsSync(folder)) {
  process.stderr.write("decisions: give the folder that POSTERN_KEEP_DECISIONS named while tests ran\n");
  process.exit(2);
}
for (const server of readdirSync(folder)) await replay(join(folder, server));
for (const what of Object.keys(counts).toSorted()) say(`${String(counts[what]).padStart(8)} ${what}`);
for (const text of wrong) say(text);
const replayed = (counts["the same: allow"] ?? 0) + (counts["the same: deny"] ?? 0);
say(wrong.length === 0 ? `${replayed} decisions made again, all the same` : `${wrong.length} wrong`);
process.exitCode = wrong.length === 0 && replayed > 0 ? 0 : 1;

async function replay(kept: string): Promise<void> {
  const log = join(kept, "log.jsonl");
  if (!existsSync(log)) return count("servers that were ended by a test, whose log was not kept");
  count("logs");
  const byDigest = new Map<string, CompiledPolicies>();
  for (const name of readdirSync(kept)) {
    const policies = name === "log.jsonl" ? undefined : policiesIn(join(kept, name));
    if (policies !== undefined) byDigest.set(policies.digest, policies);
  }
  const read = await readDecisions(createReadStream(log), (decision) => {
    const policies = byDigest.get(decision.policyDigest ?? "");
    count(policies === undefined ? "under policies that were not kept" : verdictOf(decision, policies));
  });
  if (!read.ok) wrong.push(`${log} does not verify: ${read.reason.detail}`);
}

/** Undefined where the answer broke off, because a test had ended the server. */
function policiesIn(file: string): CompiledPolicies | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
  const resources = storedResources(answer);
  const compiled = resources === undefined ? undefined : policySet(resources, []);
  return compiled?.ok === true ? compiled.value.policies : undefined;
}

function verdictOf(recorded: RecordedDecision, policies: CompiledPolicies): string {
  const { asked, outcome, policies: names, reasons, credentialProvider, dryRun, id } = recorded;
  if (!asked.ok) return `not made again: ${asked.reason}`;
  const again = decide(policies, asked.value);
  const then = { outcome, names, reasons, credentialProvider, dryRun };
  const now = {
    ...{ outcome: again.outcome, names: again.policies, dryRun: again.dryRun },
    reasons: again.outcome === "deny" ? again.reasons : [],
    credentialProvider: again.outcome === "allow" ? again.credentialProvider : undefined,
  };
  if (isDeepStrictEqual(plain(then), plain(now))) return `the same: ${outcome}`;
  wrong.push(`${id}: ${JSON.stringify(then)} was made again as ${JSON.stringify(now)}`);
  return "not the same";
}

/** Without members that are undefined, which are none. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
