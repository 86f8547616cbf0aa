// SPDX-License-Identifier: Apache-2.0
/**
 * Kills a server again and again while it works, and compares what it has at its next start with what it said before.
 *
 * The seed decides what clients do and how long a server lives. Which change is open at that moment is up to the
 * machine, so a seed makes the same rounds, not the same instant.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  hasPostgres,
  type Postern,
  POSTERN,
  startPostern,
  startPostgres,
  startProgram,
  startStandIns,
} from "@postern/testkit";
import type { PostgresServer, StandIns } from "@postern/testkit";
import { RunningAgent } from "../run-agent.ts";
import { Ledger } from "./ledger.ts";
import { agentYaml, type Heard, loadUntilDeath, STATE_AGENTS } from "./load.ts";
import {
  leftBehind,
  observeCredentials,
  observeStored,
  postgresTables,
  readLog,
  secretsInFolder,
  sqliteTables,
  statusOf,
  type Tables,
} from "./observe.ts";
import { chanceFrom } from "./random.ts";

export type StoreKind = "sqlite" | "postgres";

export interface CrashOptions {
  readonly store: StoreKind;
  readonly rounds: number;
  readonly seed: string;
  /** A new data folder and database after so many rounds: first starts are killed too. */
  readonly freshAfter?: number;
  /** How many of the first starts on a new folder are killed before they are done. */
  readonly firstStarts?: number;
  readonly onProgress?: (report: CrashReport) => void;
  /** Where the data folders go; one whose promise was broken stays there. */
  readonly scratch?: string;
  /** For the control: harms the data folder of a dead server, before it is started again. */
  readonly harm?: (folder: string, age: number, secrets: Readonly<Record<string, string>>) => void;
}

export interface CrashReport {
  readonly store: StoreKind;
  readonly seed: string;
  /** How often the server was killed: at work, while it started, while it stopped. */
  readonly kills: { work: number; starting: number; stopping: number };
  /** Changes that were acknowledged, and that were there after the crash. */
  acknowledged: number;
  /** Changes without an answer, and how many of them turned out to be done. */
  unanswered: number;
  unansweredDone: number;
  /** Answers that agents got, each with its decision in the log. */
  answeredCalls: number;
  auditEntries: number;
  exportsVerified: number;
  seconds: number;
}

/** What the product promised and did not keep. The data folder is left for whoever looks into it. */
export class BrokenPromise extends Error {}

const AUDIT_CHECK_EVERY = 10;
/** A server at work is killed after fewer changes than this, and after so many milliseconds at the latest. */
const MOST_CHANGES = 40;
const LONGEST_LIFE = 2000;

export async function crashRounds(options: CrashOptions): Promise<CrashReport> {
  const startedAt = performance.now();
  const report: CrashReport = {
    store: options.store,
    seed: options.seed,
    kills: { work: 0, starting: 0, stopping: 0 },
    acknowledged: 0,
    unanswered: 0,
    unansweredDone: 0,
    answeredCalls: 0,
    auditEntries: 0,
    exportsVerified: 0,
    seconds: 0,
  };
  const standIns = await startStandIns();
  const database = options.store === "postgres" ? await startPostgres() : undefined;
  try {
    const freshAfter = options.freshAfter ?? 50;
    for (let done = 0; done < options.rounds; done += freshAfter) {
      const installation = await Installation.make(options, report, standIns, database);
      const rounds = Math.min(freshAfter, options.rounds - done);
      for (let round = 0; round < rounds; round++) {
        await installation.round(done + round, round);
        report.seconds = Math.round((performance.now() - startedAt) / 1000);
        options.onProgress?.(report);
      }
      await installation.conclude();
    }
  } finally {
    await standIns.close();
    await database?.remove();
  }
  return report;
}

/** One data folder, and all that was heard of its servers. */
class Installation {
  readonly #options: CrashOptions;
  readonly #report: CrashReport;
  readonly #standIns: StandIns;
  readonly #scratch: string;
  readonly #folder: string;
  readonly #tables: Tables;
  readonly #env: Record<string, string>;
  readonly #args: readonly string[];
  readonly #heard: Heard = {
    ledger: new Ledger(),
    traces: new Map(),
    answered: [],
    complaints: [],
    secrets: {},
  };
  #isPrepared = false;
  #entriesSeen = 0;
  #epochs: ReadonlyMap<string, string> = new Map();
  /** Where the server's master key may be: the last one acknowledged, and one that was on its way. */
  #keyFiles: string[] = [];
  #startTime = 800;

  private constructor(
    options: CrashOptions,
    report: CrashReport,
    standIns: StandIns,
    database: PostgresServer | undefined,
    url: string | undefined,
  ) {
    this.#options = options;
    this.#scratch = mkdtempSync(join(options.scratch ?? tmpdir(), "postern-crash-"));
    this.#folder = join(this.#scratch, "data");
    this.#report = report;
    this.#standIns = standIns;
    this.#env = url === undefined ? {} : { CRASH_DATABASE: url };
    this.#args = url === undefined ? [] : ["--database-url", "env:CRASH_DATABASE"];
    this.#tables =
      database === undefined || url === undefined
        ? sqliteTables(this.#folder)
        : postgresTables(database, url);
    mkdirSync(this.#folder, { mode: 0o700 });
    if (url !== undefined) this.#keyFiles = [this.#newKeyFile()];
  }

  static async make(
    options: CrashOptions,
    report: CrashReport,
    standIns: StandIns,
    database: PostgresServer | undefined,
  ): Promise<Installation> {
    return new Installation(options, report, standIns, database, await database?.createDatabase());
  }

  /** `number` counts over all folders, `age` in this one. */
  async round(number: number, age: number): Promise<void> {
    const chance = chanceFrom(this.#options.seed, this.#options.store, number);
    const kind = age < (this.#options.firstStarts ?? 4) ? 0 : chance.below(10);
    if (kind === 0) return this.#killWhileStarting(chance.below(Math.round(this.#startTime * 1.3)));
    await this.#guarded(number, async () => {
      const { postern, agent } = await this.#startAndCompare(number);
      const isStopping = kind === 1;
      const until = chance.below(MOST_CHANGES);
      const loaded = loadUntilDeath(
        { folder: this.#folder, standIns: this.#standIns, nextKey: () => this.#nextKey() },
        this.#heard,
        `${this.#options.seed}/${number}`,
        agent,
      );
      // Counted in changes and not in time alone, so that a slow machine has as much to lose as a fast one.
      const patience = performance.now() + LONGEST_LIFE;
      while (this.#heard.ledger.acknowledged < until && performance.now() < patience) await delay(2);
      await delay(chance.below(20));
      if (isStopping) {
        process.kill(postern.server.pid, "SIGTERM");
        await delay(chance.below(40));
      }
      kill(postern.server.pid);
      await Promise.all([postern.server.ended, loaded]);
      this.#report.kills[isStopping ? "stopping" : "work"]++;
      this.#options.harm?.(this.#folder, age, this.#heard.secrets);
      await agent.stop();
      const [complaint] = this.#heard.complaints;
      if (complaint !== undefined && !isStopping) throw new BrokenPromise(complaint);
      this.#heard.complaints.length = 0;
    });
  }

  /** Starts it a last time, compares, and looks through everything that is there. */
  async conclude(): Promise<void> {
    await this.#guarded(-1, async () => {
      const { postern, agent } = await this.#startAndCompare(0);
      await agent.stop();
      await postern.stop();
      const findings = await secretsInFolder(this.#scratch, this.#heard.secrets);
      if (findings.length > 0)
        throw new BrokenPromise(
          `a secret lies in clear in the data folder: ${JSON.stringify(findings.slice(0, 5))}`,
        );
    });
    this.#report.auditEntries += this.#entriesSeen;
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  async #killWhileStarting(after: number): Promise<void> {
    const args = ["up", "--data", this.#folder, ...this.#args, ...this.#keyArgs(0)];
    const program = startProgram(POSTERN, args, { env: this.#env });
    await delay(after);
    kill(program.pid);
    await program.ended;
    this.#report.kills.starting++;
  }

  async #startAndCompare(number: number): Promise<{ postern: Postern; agent: RunningAgent }> {
    const postern = await this.#start();
    const left = leftBehind(this.#folder);
    if (left.length > 0) throw new BrokenPromise(`left behind by an earlier server: ${left.join(", ")}`);
    if (!this.#isPrepared) await this.#prepare(postern);
    const [agent] = await Promise.all([
      RunningAgent.start({ folder: this.#folder, agent: "caller" }),
      this.#compareStored(),
    ]);
    this.#compare(await observeCredentials(agent, this.#standIns));
    await this.#compareLog(postern);
    if (number % AUDIT_CHECK_EVERY === 0) await this.#verifyLog(postern);
    return { postern, agent };
  }

  /** By itself: with the same words as before, and nothing mended by hand. */
  async #start(): Promise<Postern> {
    const startedAt = performance.now();
    let failure: unknown;
    for (let at = 0; at < Math.max(1, this.#keyFiles.length); at++) {
      try {
        const postern = await startPostern({
          folder: this.#folder,
          args: [...this.#args, ...this.#keyArgs(at)],
          env: this.#env,
        });
        // A rotation to a key elsewhere may have been under way: whoever asked for it tries both.
        this.#keyFiles = this.#keyFiles.slice(at, at + 1);
        this.#startTime = performance.now() - startedAt;
        return postern;
      } catch (error) {
        failure = error;
        if (!String(error).includes("wrong master key")) break;
      }
    }
    throw new BrokenPromise(`the server does not start again: ${String(failure)}`);
  }

  async #prepare(postern: Postern): Promise<void> {
    for (const [name, value] of Object.entries(this.#standIns.secrets)) {
      await postern.setSecret(name, value);
      this.#heard.secrets[name] = value;
    }
    const agents = STATE_AGENTS.map((name) => agentYaml(name, "0"));
    await postern.apply([this.#standIns.resources({ agents: ["caller"] }), ...agents].join("---\n"));
    this.#isPrepared = true;
    this.#entriesSeen = (await statusOf(this.#folder)).auditEntries;
    for (const [thing, state] of await observeStored(this.#folder, this.#tables))
      await this.#heard.ledger.change(
        thing,
        () => false,
        async () => ({ done: true, state }),
      );
    for (const provider of ["openai", "anthropic", "gemini"] as const) {
      const state = this.#standIns.secrets[`${provider}-key`];
      await this.#heard.ledger.change(
        `credential ${provider}`,
        () => false,
        async () => ({ done: true, state }),
      );
    }
  }

  async #compareStored(): Promise<void> {
    this.#compare(await observeStored(this.#folder, this.#tables));
    const epochs = await this.#tables.rows("epochs");
    for (const [area, value] of this.#epochs)
      if (Number(epochs.get(area)) < Number(value))
        throw new BrokenPromise(`epoch of ${area} went back from ${value} to ${epochs.get(area)}`);
    this.#epochs = epochs;
  }

  #compare(seen: Parameters<Ledger["compare"]>[0]): void {
    const { ledger } = this.#heard;
    const contradictions = ledger.compare(seen);
    this.#report.acknowledged += ledger.acknowledged;
    this.#report.unanswered += ledger.open;
    this.#report.unansweredDone += ledger.openDone;
    ledger.acknowledged = ledger.open = ledger.openDone = 0;
    if (contradictions.length > 0)
      throw new BrokenPromise(contradictions.map(({ thing, detail }) => `${thing} ${detail}`).join("; "));
  }

  async #compareLog(postern: Postern): Promise<void> {
    const { answered, traces } = this.#heard;
    const { auditEntries } = await statusOf(postern.folder);
    if (auditEntries < this.#entriesSeen)
      throw new BrokenPromise(`the audit log had ${this.#entriesSeen} entries and has ${auditEntries}`);
    const logged = await readLog(postern.folder, auditEntries - this.#entriesSeen);
    const missing = answered.filter((id) => !logged.decisions.has(id));
    if (missing.length > 0)
      throw new BrokenPromise(`answers without a decision in the log: ${missing.slice(0, 5).join(", ")}`);
    for (const [trace, count] of traces)
      if ((logged.traces.get(trace) ?? 0) < count)
        throw new BrokenPromise(
          `acknowledged ${count} times and logged ${logged.traces.get(trace) ?? 0} times: ${trace}`,
        );
    this.#entriesSeen = auditEntries;
    this.#report.answeredCalls += answered.length;
    answered.length = 0;
    traces.clear();
  }

  async #verifyLog(postern: Postern): Promise<void> {
    const file = join(this.#scratch, "export.jsonl");
    const exported = await postern.postern(["audit", "export", file]);
    const verified = await postern.postern(["audit", "verify", file]);
    rmSync(file, { force: true });
    if (exported.code !== 0 || verified.code !== 0)
      throw new BrokenPromise(
        `the audit log does not verify: ${exported.stderr}${verified.stdout}${verified.stderr}`,
      );
    this.#report.exportsVerified++;
  }

  #keyArgs(at: number): readonly string[] {
    const file = this.#keyFiles[at];
    return file === undefined ? [] : ["--master-key", `file:${file}`];
  }

  #nextKey(): string | undefined {
    if (this.#keyFiles.length === 0) return undefined;
    const file = this.#newKeyFile();
    this.#keyFiles.unshift(file);
    return `file:${file}`;
  }

  #newKeyFile(): string {
    const file = join(this.#scratch, `${randomBytes(6).toString("hex")}.key`);
    writeFileSync(file, randomBytes(32).toString("base64"), { mode: 0o600 });
    return file;
  }

  async #guarded(number: number, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const where = number === -1 ? "at the end" : `in round ${number}`;
      throw new BrokenPromise(
        `${this.#options.store}, seed ${this.#options.seed}, ${where}: ${error instanceof Error ? error.message : String(error)} (data folder: ${this.#folder})`,
        { cause: error },
      );
    }
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It had already ended.
  }
}

export const storesToTry = (asked: StoreKind | "both"): StoreKind[] =>
  asked === "both" ? (hasPostgres() ? ["sqlite", "postgres"] : ["sqlite"]) : [asked];
