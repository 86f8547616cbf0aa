// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, it } from "vitest";
import { exportLog } from "./export.ts";
import { appendMany, childSigner, newSigner, openLog, temporaryFolder } from "./log.fixture.ts";
import { readBundle } from "./tile-paths.ts";
import { verifyExport } from "./verify-export.ts";

const signer = newSigner();

/** A closed log of `size` entries. */
async function writeLog(folder: string, size: number): Promise<void> {
  const log = await openLog(folder, signer);
  await appendMany(log, size);
  await log.close();
}

function flipByte(path: string, offset: number): void {
  const bytes = readFileSync(path);
  bytes[offset]! ^= 0x01;
  writeFileSync(path, bytes);
}

function contentOf(folder: string): Map<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  return new Map(
    names.map(({ name, parentPath }) => [
      join(parentPath, name),
      readFileSync(join(parentPath, name), "hex"),
    ]),
  );
}

describe("opening a log that contradicts its checkpoint", () => {
  it.each<[string, RegExp, (folder: string) => void]>([
    [
      "an entry was changed",
      /entry 3 does not/,
      (folder) => flipByte(join(folder, "tile/entries/000"), offsetOf(folder, 3) + 20),
    ],
    [
      "an entry of the open bundle was changed",
      /another root/,
      (folder) => flipByte(join(folder, "tile/entries/002"), 30),
    ],
    [
      "an entry of the open bundle was changed and a torn one lies behind it",
      /another root/,
      (folder) => {
        flipByte(join(folder, "tile/entries/002"), 30);
        appendFileSync(join(folder, "tile/entries/002"), "torn");
      },
    ],
    [
      "the tail was cut off",
      /700 entries were signed and only the first 699/,
      (folder) => {
        const path = join(folder, "tile/entries/002");
        truncateSync(path, readFileSync(path).length - 1);
      },
    ],
    [
      "a bundle is missing",
      /entry 0 was signed and cannot be read/,
      (folder) => rmSync(join(folder, "tile/entries/000")),
    ],
    [
      "the last bundle is missing",
      /only the first 512/,
      (folder) => rmSync(join(folder, "tile/entries/002")),
    ],
    ["the checkpoint is missing", /no checkpoint/, (folder) => rmSync(join(folder, "checkpoint"))],
    [
      "the checkpoint was changed",
      /cannot be believed/,
      (folder) => flipByte(join(folder, "checkpoint"), 30),
    ],
  ])("fails and changes nothing when %s", async (_, message, damage) => {
    using folder = temporaryFolder();
    await writeLog(folder.path, 700);
    damage(folder.path);
    const before = contentOf(folder.path);
    await expect(openLog(folder.path, signer)).rejects.toThrow(message);
    expect(contentOf(folder.path)).toEqual(before);
  });

  it("fails under another signing key", async () => {
    using folder = temporaryFolder();
    await writeLog(folder.path, 3);
    await expect(openLog(folder.path, newSigner())).rejects.toThrow(/not signed by/);
  });

  it("mends an old hash tile that was changed, since the entries agree with the checkpoint", async () => {
    using folder = temporaryFolder();
    await writeLog(folder.path, 700);
    flipByte(join(folder.path, "tile/0/000"), 0);
    const log = await openLog(folder.path, signer, { rehashBundles: 0 });
    expect(log.recovery).toMatchObject({ rebuiltTiles: 1, rehashedEntries: 700 });
    await log.close();
  });
});

function offsetOf(folder: string, index: number): number {
  return readBundle(readFileSync(join(folder, "tile/entries/000")), index).length;
}

describe("opening a log after a crash", () => {
  it.each([1, 2, 3, 100])(
    "cuts off a torn entry of which %i bytes were written, and keeps them aside",
    async (length) => {
      using folder = temporaryFolder();
      await writeLog(folder.path, 300);
      const torn = Buffer.concat([Buffer.from([0x02, 0x00]), Buffer.alloc(200, "x")]).subarray(0, length);
      appendFileSync(join(folder.path, "tile/entries/001"), torn);
      const log = await openLog(folder.path, signer);
      expect(log.recovery.cutBytes).toBe(length);
      expect(log.size()).toBe(300);
      await appendMany(log, 1);
      await log.close();
      const [aside] = readdirSync(join(folder.path, "cut"));
      expect(readFileSync(join(folder.path, "cut", aside!))).toEqual(torn);
      await expectWhole(folder.path, 301);
    },
  );

  it("cuts off zeros and whole entries that nothing of ours wrote", async () => {
    using folder = temporaryFolder();
    await writeLog(folder.path, 3);
    appendFileSync(join(folder.path, "tile/entries/000"), Buffer.from([0, 2, 0x7b, 0x7b, 0, 0, 0, 0]));
    const log = await openLog(folder.path, signer);
    expect(log.recovery.cutBytes).toBe(8);
    expect(log.size()).toBe(3);
    await log.close();
  });

  it("continues behind a full bundle, an empty one, and with entries that were not signed yet", async () => {
    using folder = temporaryFolder();
    using copy = temporaryFolder();
    const log = await openLog(folder.path, signer);
    await appendMany(log, 256);
    cpSync(folder.path, copy.path, { recursive: true });
    rmSync(join(copy.path, "lock"));
    await log.close();
    writeFileSync(join(copy.path, "tile/entries/001"), "");
    const again = await openLog(copy.path, signer);
    expect(again.size()).toBe(256);
    await appendMany(again, 2);
    await again.close();
    await expectWhole(copy.path, 258);
  });

  it("puts a later bundle aside when an earlier unsigned one did not reach the disk whole", async () => {
    using folder = temporaryFolder();
    using copy = temporaryFolder();
    const log = await openLog(folder.path, signer);
    await appendMany(log, 600);
    cpSync(folder.path, copy.path, { recursive: true });
    rmSync(join(copy.path, "lock"));
    await log.close();
    truncateSync(join(copy.path, "tile/entries/001"), 1000);
    const again = await openLog(copy.path, signer);
    expect(again.size()).toBeGreaterThan(256);
    expect(again.size()).toBeLessThan(512);
    expect(existsSync(join(copy.path, "tile/entries/002"))).toBe(false);
    expect(readdirSync(join(copy.path, "cut"))).toHaveLength(2);
    const size = again.size();
    await appendMany(again, 300);
    await again.close();
    await expectWhole(copy.path, size + 300);
  });

  it("rebuilds hash tiles that are missing or short", async () => {
    using folder = temporaryFolder();
    await writeLog(folder.path, 800);
    rmSync(join(folder.path, "tile/0/000"));
    truncateSync(join(folder.path, "tile/0/001"), 4000);
    const log = await openLog(folder.path, signer);
    expect(log.recovery.rebuiltTiles).toBe(2);
    await log.close();
    const again = await openLog(folder.path, signer);
    expect(again.recovery.rebuiltTiles).toBe(0);
    await again.close();
  });

  it.each([
    ["of a process that is gone", JSON.stringify({ pid: 2 ** 22 + 1, started: "x" })],
    ["of an earlier process with this id", JSON.stringify({ pid: process.pid, started: "another boot:1" })],
    ["that makes no sense", "{"],
  ])("takes over a lock %s", async (_, content) => {
    using folder = temporaryFolder();
    await writeLog(folder.path, 1);
    writeFileSync(join(folder.path, "lock"), content);
    await (await openLog(folder.path, signer)).close();
    expect(readdirSync(folder.path).toSorted()).toEqual(["checkpoint", "tile"]);
  });

  it(
    "has every acknowledged entry after each of several SIGKILLs, and verifies",
    { timeout: 60_000 },
    async () => {
      using folder = temporaryFolder();
      let size = 0;
      for (const acknowledgements of [1, 300, 40, 700, 5]) {
        size = await appendUntilKilled(folder.path, size, acknowledgements);
      }
      const log = await openLog(folder.path, childSigner());
      const verified = await verifyExport(exportLog(log));
      expect(verified).toMatchObject({ ok: true, value: { entries: log.size() } });
      await log.close();
    },
  );
});

async function expectWhole(folder: string, size: number): Promise<void> {
  const log = await openLog(folder, signer);
  expect(log.size()).toBe(size);
  expect(await verifyExport(exportLog(log))).toMatchObject({ ok: true, value: { entries: size } });
  await log.close();
}

const MODULES = new URL(".", import.meta.url).href;

/** Appends for ever, and prints the index of each entry as soon as `append` has returned it. */
const CHILD = `
  import { writeSync } from "node:fs";
  const { anEvent, childSigner, openLog } = await import("${MODULES}log.fixture.ts");
  const log = await openLog(process.argv[1], childSigner(), { checkpointIntervalMs: 1 });
  for (;;) {
    for (let turn = 0; turn < 20; turn++) {
      writeSync(1, log.append(anEvent(log.size())).index + "\\n");
    }
    await new Promise(setImmediate);
  }
`;

/** Returns the size of the log after the kill, opened by nobody in between. */
async function appendUntilKilled(folder: string, before: number, acknowledgements: number): Promise<number> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", CHILD, folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let last = -1;
  let heard = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    if (heard === 0) expect(Number(line)).toBeGreaterThanOrEqual(before);
    last = Number(line);
    if (++heard === acknowledgements) child.kill("SIGKILL");
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  expect(child.signalCode).toBe("SIGKILL");
  const log = await openLog(folder, childSigner());
  const size = log.size();
  await log.close();
  expect(size).toBeGreaterThan(last);
  return size;
}
