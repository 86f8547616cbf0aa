// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock.ts";
import { openStore } from "./open-store.ts";

/** Opens the store, then acknowledges every committed version on standard output, for ever. */
const WRITER = `
  const { openStore } = await import(process.argv[1]);
  const { writeSync } = await import("node:fs");
  const store = await openStore({ file: process.argv[2], clock: { now: () => 0 } });
  for (;;) {
    const version = await store.secrets.reserveVersion("a");
    const sealed = Buffer.from("material of " + version);
    await store.secrets.put({ name: "a", version, sealed, keyId: "mk" });
    writeSync(1, version + "\\n");
  }
`;

let folder: string;
let file: string;
let child: ChildProcess | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-death-"));
  file = join(folder, "postern.db");
});
afterEach(() => {
  child?.kill("SIGKILL");
  rmSync(folder, { recursive: true });
});

const startWriter = () => {
  const module = import.meta.resolve("./open-store.ts");
  const started = spawn(process.execPath, ["--input-type=module", "-e", WRITER, module, file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  child = started;
  return started;
};

/** Kills the writer after `count` acknowledgements; all that it acknowledged until it was dead. */
async function killAfter(count: number): Promise<number[]> {
  const writer = startWriter();
  const exited = once(writer, "exit");
  const acknowledged: number[] = [];
  for await (const line of createInterface({ input: writer.stdout })) {
    acknowledged.push(Number(line));
    if (acknowledged.length === count) writer.kill("SIGKILL");
  }
  const [, signal] = (await exited) as [number | null, string | null];
  expect(signal).toBe("SIGKILL");
  return acknowledged;
}

test("whatever was acknowledged before kill -9 is there afterwards, three times in a row", async () => {
  const acknowledged: number[] = [];
  for (const count of [1, 150, 400]) {
    acknowledged.push(...(await killAfter(count)));
    const store = await openStore({ file, clock: systemClock });
    const stored = new Map((await store.secrets.all()).map((row) => [row.version, row.sealed.toString()]));
    await store.close();
    const lost = acknowledged.filter((version) => stored.get(version) !== `material of ${version}`);
    expect(lost).toEqual([]);
  }
  expect(acknowledged.length).toBeGreaterThanOrEqual(551);
});

test("a second process is told the pid of the first, and gets in once that is killed", async () => {
  const writer = startWriter();
  const exited = once(writer, "exit");
  await once(writer.stdout, "data");
  writer.stdout.resume();
  await expect(openStore({ file, clock: systemClock })).rejects.toThrow(
    `the data folder ${folder} is in use by process ${writer.pid}: stop that server`,
  );
  writer.kill("SIGKILL");
  await exited;
  const store = await openStore({ file, clock: systemClock });
  expect((await store.secrets.list())[0]?.name).toBe("a");
  await store.close();
});
