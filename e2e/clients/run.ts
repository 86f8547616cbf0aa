// SPDX-License-Identifier: Apache-2.0
/**
 * Does every client of the table in `clients.ts` work through Postern, unchanged and without a key?
 *
 * Real clients, the real product, stand-ins over real TLS. `--only TEXT` runs the clients whose name contains
 * TEXT, `--docs FILE` replaces the table between the markers in FILE.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  findSecrets,
  startPostern,
  startStandIns,
  stopAllPrograms,
  type Postern,
  type StandIns,
} from "@postern/testkit";
import { BASE_URL_VARIABLES, CLIENTS, type Client, type Way } from "./clients.ts";
import { installClients, PYTHON, versionOf } from "./install-clients.ts";
import { metricsProblem, WATCHED } from "./read-metrics.ts";
import { replaceTable, tableOf, type Outcome } from "./client-table.ts";

const EXPECTED = "Hello from the stand-in.";
const AGENT = "client";

const { values } = parseArgs({ options: { only: { type: "string" }, docs: { type: "string" } } });
const say = (line: string) => void process.stderr.write(`${line}\n`);

/** The rest tidies up after itself once its programs are gone. */
let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    interrupted = true;
    void stopAllPrograms();
  });
}

async function main(): Promise<number> {
  await installClients(say);
  const gitFolder = await mkdtemp(join(tmpdir(), "postern-clients-git-"));
  const standIns = await startStandIns({ gitFolder });
  const outcomes: Outcome[] = [];
  let unreadable: string | undefined;
  try {
    const postern = await startPostern({ args: WATCHED });
    try {
      for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
      await postern.apply(standIns.resources({ agents: [AGENT] }));
      for (const client of CLIENTS.filter(({ name }) => name.includes(values.only ?? ""))) {
        if (interrupted) throw new Error("interrupted");
        outcomes.push(...(await tryClient(client, postern, standIns)));
      }
      unreadable = await metricsProblem(postern);
      say(
        `${unreadable === undefined ? "ok  " : "FAIL"}  metrics, read by Prometheus' own parsers ${unreadable ?? ""}`,
      );
    } finally {
      await postern.stop();
    }
  } finally {
    await standIns.close();
    await rm(gitFolder, { recursive: true, force: true });
  }
  return conclude(outcomes, unreadable === undefined);
}

async function tryClient(client: Client, postern: Postern, standIns: StandIns): Promise<Outcome[]> {
  const version = await versionOf(client);
  const outcomes: Outcome[] = [];
  for (const way of client.ways) {
    const problems = await tryWay(client, way, postern, standIns);
    outcomes.push({ client, version, way, problems });
    say(`${problems.length === 0 ? "ok  " : "FAIL"}  ${client.name} ${version}, ${way}`);
    for (const problem of problems) say(`        ${problem}`);
  }
  return outcomes;
}

/** What went wrong; nothing where all calls were answered and no key came near the client. */
async function tryWay(client: Client, way: Way, postern: Postern, standIns: StandIns): Promise<string[]> {
  const program = postern.start(["run", "--agent", AGENT, "--", ...commandOf(client, way)], {
    env: Object.fromEntries(
      Object.keys(process.env)
        .filter(isProviderVariable)
        .map((name) => [name, undefined]),
    ),
  });
  const late = setTimeout(() => void program.stop(1000), 60_000);
  const { code, stdout, stderr } = await program.ended.finally(() => clearTimeout(late));
  const results = new Map(
    stdout
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as { call: string; text?: string; error?: string })
      .map((result) => [result.call, result]),
  );
  const problems = client.calls.flatMap((call) => {
    const result = results.get(call);
    if (result?.text === EXPECTED) return [];
    return [`${call}: ${shorten(result?.error ?? result?.text ?? `no result (code ${code}) ${stderr}`)}`];
  });
  if (code !== 0) problems.push(`ended with code ${code}: ${shorten(stderr)}`);
  if (client.script === "git.sh" && !(await standIns.git!.commits()).includes("pushed by an agent")) {
    problems.push("nothing was pushed");
  }
  const leaks = findSecrets(client.name, stdout + stderr, standIns.secrets);
  return [...problems, ...leaks.map(({ secret, encoding }) => `the real ${secret} came back (${encoding})`)];
}

const isProviderVariable = (name: string) =>
  /^(OPENAI|ANTHROPIC|GEMINI|GOOGLE|LANGCHAIN|LANGSMITH)_/.test(name);

function commandOf(client: Client, way: Way): string[] {
  const path = fileURLToPath(new URL(`scripts/${client.script}`, import.meta.url));
  const program = path.endsWith(".py")
    ? [PYTHON, "-B", path]
    : path.endsWith(".mjs")
      ? [process.execPath, path]
      : ["sh", path];
  const without = way === "proxy" ? BASE_URL_VARIABLES.flatMap((name) => ["-u", name]) : [];
  const set = Object.entries(client.set ?? {}).map(([name, value]) => `${name}=${value}`);
  return ["env", ...without, ...set, ...program];
}

const shorten = (text: string) => text.replaceAll(/\s+/g, " ").trim().slice(0, 300);

async function conclude(outcomes: readonly Outcome[], areMetricsRead: boolean): Promise<number> {
  const table = tableOf(outcomes);
  process.stdout.write(`\n${table}\n\n`);
  if (values.docs !== undefined) {
    await writeFile(values.docs, replaceTable(await readFile(values.docs, "utf8"), table));
  }
  const failed = outcomes.filter(({ problems }) => problems.length > 0).length;
  process.stdout.write(`${outcomes.length - failed} passed, ${failed} failed\n`);
  return failed === 0 && outcomes.length > 0 && areMetricsRead ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.stdout.write("0 passed, 1 failed\n");
  process.exitCode = 1;
} finally {
  await stopAllPrograms();
}
