// SPDX-License-Identifier: Apache-2.0
/**
 * Does an installation survive `kill -9`, as often as it comes?
 *
 * `--rounds N` kills for each store (200), `--store sqlite|postgres|both`, `--seed TEXT` to do a failed run again,
 * `--json` for the result on standard output.
 */
import { parseArgs } from "node:util";
import { randomBytes } from "node:crypto";
import { stopAllPrograms } from "@postern/testkit";
import { crashRounds, type CrashReport, type StoreKind, storesToTry } from "./rounds.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "200" },
    store: { type: "string", default: "both" },
    seed: { type: "string", default: randomBytes(4).toString("hex") },
    json: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds);
const store = (["sqlite", "postgres", "both"] as const).find((name) => name === values.store);
if (!Number.isInteger(rounds) || rounds < 1 || store === undefined) {
  process.stderr.write("use: --rounds=N --store=sqlite|postgres|both [--seed=TEXT] [--json]\n");
  process.exit(2);
}

const killsOf = ({ kills }: CrashReport): number => kills.work + kills.starting + kills.stopping;
const inWords = (report: CrashReport): string =>
  `${report.store}: ${killsOf(report)} kills (${report.kills.work} at work, ${report.kills.starting} starting, ${report.kills.stopping} stopping), ` +
  `${report.acknowledged} changes acknowledged, ${report.unanswered} unanswered (${report.unansweredDone} of them done), ` +
  `${report.answeredCalls} calls answered, ${report.seconds} s`;

process.stderr.write(`seed ${values.seed}\n`);
const reports: CrashReport[] = [];
let problem: string | undefined;
try {
  for (const each of storesToTry(store) satisfies StoreKind[])
    reports.push(
      await crashRounds({
        store: each,
        rounds,
        seed: values.seed,
        onProgress: (report) => {
          if (killsOf(report) % 10 === 0 || killsOf(report) === rounds)
            process.stderr.write(`${inWords(report)}\n`);
        },
      }),
    );
} catch (error) {
  problem = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${problem}\n`);
} finally {
  await stopAllPrograms();
}
if (values.json)
  process.stdout.write(`${JSON.stringify({ seed: values.seed, reports, problem: problem ?? null })}\n`);
process.exit(problem === undefined ? 0 : 1);
