// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run fuzz -- NAME [--seconds=N | --runs=N] [--seed=N]`, and `npm run fuzz -- --all --seconds=N`.
 *
 * Prints one line of JSON for each fuzzer. The exit code is 1 where one found something; README.md says the rest.
 */
import { readdirSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runTarget } from "./run-target.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    all: { type: "boolean", default: false },
    /** For each fuzzer. */
    seconds: { type: "string" },
    runs: { type: "string" },
    seed: { type: "string" },
    /** Tries these files alone, once each. */
    replay: { type: "string", multiple: true },
    patience: { type: "string", default: "20" },
    targets: { type: "string", default: join(here, "targets") },
    corpus: { type: "string", default: join(here, "corpus") },
    findings: { type: "string", default: join(here, "findings") },
  },
});

const known = readdirSync(values.targets).flatMap((file) => /^(.*)\.fuzz\.ts$/.exec(file)?.[1] ?? []);
const names = values.all ? known : positionals;
if (
  names.length === 0 ||
  !names.every((name) => known.includes(name)) ||
  (values.all && positionals.length > 0)
) {
  process.stderr.write(`fuzz: give --all, or some of ${known.join(", ")}\n`);
  process.exit(2);
}

function amount(option: "seconds" | "runs" | "seed" | "patience", otherwise: number): number {
  const text = values[option];
  if (text !== undefined && !/^\d{1,9}$/.test(text)) {
    process.stderr.write(`fuzz: --${option} is a whole number\n`);
    process.exit(2);
  }
  return text === undefined ? otherwise : Number(text);
}

const runs = values.replay === undefined ? amount("runs", Number.POSITIVE_INFINITY) : 0;
const seconds = amount("seconds", values.runs === undefined ? 10 : Number.POSITIVE_INFINITY);
const seed = amount("seed", Date.now() % 1_000_000_000);

for (const name of names) {
  const ended = await runTarget({
    name,
    targetFile: join(resolve(values.targets), `${name}.fuzz.ts`),
    corpus: values.replay?.map((file) => resolve(file)) ?? join(resolve(values.corpus), name),
    seconds,
    runs,
    seed,
    findings: resolve(values.findings),
    patience: amount("patience", 20),
  });
  const { finding, slowest, ...rest } = ended;
  const line = {
    name,
    seed,
    ...rest,
    runsPerSecond: Math.round((rest.runs ?? 0) / Math.max(rest.seconds ?? 0, 0.001)),
    slowest,
    finding: finding?.message.split("\n", 1)[0],
  };
  process.stdout.write(
    `${JSON.stringify(line, (_, value: unknown) => (typeof value === "number" ? Math.round(value * 100) / 100 : value))}\n`,
  );
  if (finding === undefined) continue;
  process.exitCode = 1;
  process.stderr.write(
    `fuzz: ${name}: ${finding.message}\n  again: npm run fuzz -- ${name} --replay=${relative(process.cwd(), finding.file)}\n`,
  );
}
