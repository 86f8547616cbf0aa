// SPDX-License-Identifier: Apache-2.0
/**
 * `postern demo`: everything, offline, in one go.
 *
 * Starts stand-ins of three providers and the real product, runs real SDKs without keys, attacks it, asks
 * conditions, budgets and a person, cuts an agent off, lets one in from elsewhere by evidence, verifies the log, and
 * searches everything for the keys. Exit code 0 only if every check holds.
 */
import { stopAllPrograms } from "@postern/testkit";
import { checkAttacks } from "./attack-checks.ts";
import { checkAudit, checkCanary } from "./audit-checks.ts";
import { checkContext } from "./context-checks.ts";
import { checkCut } from "./cut-checks.ts";
import { checkIdentity } from "./identity-checks.ts";
import { checkSdks } from "./sdk-checks.ts";
import { setStage, type Check, type Stage } from "./stage.ts";
import { tableOf, WHERE_NEXT } from "./table.ts";

const json = process.argv.includes("--json");
const say = (line: string) => {
  if (!json) process.stdout.write(line + "\n");
};

const ACTS: readonly { title: string; play: (stage: Stage) => Promise<Check[]> }[] = [
  { title: "three real SDKs, two ways, no key in reach", play: checkSdks },
  { title: "an agent that attacks", play: checkAttacks },
  { title: "decisions in context: a condition, a budget, a person's yes", play: checkContext },
  { title: "the kill switch, in the middle of a stream", play: checkCut },
  { title: "an agent elsewhere: evidence, identity, call, revoked", play: checkIdentity },
  { title: "the log", play: checkAudit },
  { title: "the canary", play: async (stage) => [await checkCanary(stage)] },
];

let setting: Promise<Stage> | undefined;
let closing: Promise<void> | undefined;

/** Also in the middle of setting the stage: without its programs that fails, and tidies up after itself. */
const close = () =>
  (closing ??= (async () => {
    await stopAllPrograms();
    await (await setting?.catch(() => undefined))?.close();
  })());

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const) {
  process.on(signal, () => void close().finally(() => process.exit(code)));
}

async function play(): Promise<readonly Check[]> {
  say("starting stand-ins of OpenAI, Anthropic and Gemini, and Postern …");
  setting = setStage();
  const stage = await setting;
  const checks: Check[] = [];
  for (const { title, play: act } of ACTS) {
    say(`\n${title}`);
    for (const check of await act(stage)) {
      checks.push(check);
      say(`  ${check.ok ? "ok  " : "FAIL"}  ${check.name}`);
    }
  }
  return checks;
}

try {
  const checks = await play();
  const failed = checks.filter(({ ok }) => !ok).length;
  if (json) process.stdout.write(JSON.stringify({ checks }) + "\n");
  else
    say(`\n${tableOf(checks)}\n\n${checks.length - failed} of ${checks.length} checks hold\n\n${WHERE_NEXT}`);
  process.exitCode = failed === 0 ? 0 : 1;
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  const check = { name: "the demo runs to its end", ok: false, detail: message };
  if (json) process.stdout.write(JSON.stringify({ checks: [check] }) + "\n");
  process.stderr.write(`postern demo: ${message}\n`);
  process.exitCode = 1;
} finally {
  await close();
}
