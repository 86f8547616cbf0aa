// SPDX-License-Identifier: Apache-2.0
/** `kill -9` at any moment loses nothing that was acknowledged. A few rounds; `npm run e2e:crash` does hundreds. */
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hasPostgres } from "@postern/testkit";
import { afterAll, describe, expect, it } from "vitest";
import { Ledger } from "./crash/ledger.ts";
import { crashRounds, type CrashOptions, type CrashReport } from "./crash/rounds.ts";

const seed = randomBytes(4).toString("hex");
const aside = mkdtempSync(join(tmpdir(), "postern-crash-aside-"));
afterAll(() => rmSync(aside, { recursive: true, force: true }));

const crash = (options: Partial<CrashOptions>): Promise<CrashReport> =>
  crashRounds({ store: "sqlite", rounds: 6, firstStarts: 2, seed, scratch: aside, ...options });

function expectWork(report: CrashReport): void {
  expect(report.kills.starting).toBeGreaterThanOrEqual(2);
  expect(report.kills.work + report.kills.stopping).toBeGreaterThan(0);
  expect(report.acknowledged).toBeGreaterThan(5);
  expect(report.answeredCalls).toBeGreaterThan(0);
  expect(report.exportsVerified).toBeGreaterThan(0);
}

describe("a server that is killed at work, at its start and at its end", () => {
  it("starts again by itself with all that was acknowledged, on SQLite", async () => {
    expectWork(await crash({ store: "sqlite" }));
  });

  it.skipIf(!hasPostgres())("and on PostgreSQL", async () => {
    expectWork(await crash({ store: "postgres" }));
  });
});

describe("the rounds, as a control, find", () => {
  it("a change that was acknowledged and is lost", async () => {
    const harm = (folder: string, age: number): void => {
      const copy = join(aside, "postern.db");
      for (const end of ["", "-wal"]) {
        const file = `${join(folder, "postern.db")}${end}`;
        // The database of the round before is whole, and older than what was said since.
        if (age > 1 && existsSync(`${copy}${end}`)) copyFileSync(`${copy}${end}`, file);
        else if (existsSync(file)) copyFileSync(file, `${copy}${end}`);
      }
      rmSync(`${join(folder, "postern.db")}-shm`, { force: true });
    };
    await expect(crash({ rounds: 12, firstStarts: 0, harm })).rejects.toThrow(
      /was acknowledged|does not start again/,
    );
  });

  it("a secret that lies in the data folder in clear", async () => {
    const harm: CrashOptions["harm"] = (folder, _age, secrets) => {
      const newest = Object.values(secrets).at(-1)!;
      writeFileSync(join(folder, "audit", "note"), Buffer.from(`x${newest}y`).toString("base64"));
    };
    await expect(crash({ rounds: 2, firstStarts: 0, harm })).rejects.toThrow("a secret lies in clear");
  });

  it("a state that nobody acknowledged or asked for", async () => {
    const ledger = new Ledger();
    await ledger.change(
      "thing",
      (state) => state === "1",
      async () => ({ done: true, state: "1" }),
    );
    void ledger.change(
      "thing",
      (state) => state === "2",
      () => new Promise(() => {}),
    );
    expect(ledger.compare(new Map([["thing", "3"]]))).toMatchObject([{ thing: "thing" }]);
    void ledger.change(
      "thing",
      (state) => state === "4",
      () => new Promise(() => {}),
    );
    expect(ledger.compare(new Map([["thing", "4"]]))).toEqual([]);
    expect(ledger.compare(new Map([["thing", "3"]]))).toMatchObject([{ detail: "is 3; 4 was acknowledged" }]);
    expect(ledger.compare(new Map([["thing", undefined]]))).toMatchObject([
      { detail: "is absent; 3 was acknowledged" },
    ]);
  });
});
