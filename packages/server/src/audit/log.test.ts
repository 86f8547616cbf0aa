// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import canonicalize from "canonicalize";
import { describe, expect, it } from "vitest";
import { verifyCheckpoint } from "./checkpoint.ts";
import { outcomeEvent } from "./events.ts";
import { nodeDisk } from "./log-disk.ts";
import type { LogDisk } from "./log-disk.ts";
import { anEvent, appendMany, newSigner, openLog, START, temporaryFolder } from "./log.fixture.ts";
import { CompactRange, hashLeaf } from "./merkle.ts";
import { inclusionProof, verifyInclusion } from "./merkle-proof.ts";

const signer = newSigner();
const unavailable = { name: "Fault", code: "audit_unavailable" };

/** A disk whose operations fail on demand, as a full or broken one would. */
function faultyDisk(): LogDisk & {
  failing: { write?: number | "torn"; truncate?: true; sync?: true; replace?: true };
} {
  const full = (): never => {
    throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  };
  return {
    ...nodeDisk,
    failing: {},
    write(file, bytes, offset) {
      const { write } = this.failing;
      if (write === undefined) return nodeDisk.write(file, bytes, offset);
      // A disk that fills up takes some of the bytes and none of the rest.
      if (write === "torn" || offset > 0) full();
      return nodeDisk.write(file, bytes.subarray(0, write as number), 0);
    },
    truncate(file, length) {
      if (this.failing.truncate) full();
      nodeDisk.truncate(file, length);
    },
    sync(file) {
      return this.failing.sync ? Promise.reject(new Error("input/output error")) : nodeDisk.sync(file);
    },
    replace(path, bytes) {
      if (this.failing.replace) full();
      nodeDisk.replace(path, bytes);
    },
    async replaceDurably(path, bytes) {
      if (this.failing.replace) full();
      await nodeDisk.replaceDurably(path, bytes);
    },
  };
}

async function numbersIn(log: Awaited<ReturnType<typeof openLog>>): Promise<number[]> {
  const numbers: number[] = [];
  for await (const { bytes } of log.entries()) numbers.push(JSON.parse(bytes.toString()).time - START);
  return numbers;
}

describe("a log whose disk fails", () => {
  it("refuses while the disk is full, has no hole afterwards, and goes on", async () => {
    using folder = temporaryFolder();
    const disk = faultyDisk();
    const log = await openLog(folder.path, signer, { disk });
    await appendMany(log, 2);
    for (const write of ["torn", 1, 2, 100] as const) {
      disk.failing = { write };
      expect(() => log.append(anEvent(99))).toThrow(expect.objectContaining(unavailable));
      disk.failing = {};
      expect(log.append(anEvent(log.size())).index).toBe(log.size() - 1);
    }
    await log.close();
    const again = await openLog(folder.path, signer);
    expect(again.recovery.cutBytes).toBe(0);
    expect(await numbersIn(again)).toEqual([0, 1, 2, 3, 4, 5]);
    await again.close();
  });

  it("stays refused while a torn write cannot be taken back, even if writing works again", async () => {
    using folder = temporaryFolder();
    const disk = faultyDisk();
    const log = await openLog(folder.path, signer, { disk });
    await appendMany(log, 1);
    disk.failing = { write: 7, truncate: true };
    expect(() => log.append(anEvent(99))).toThrow(expect.objectContaining(unavailable));
    disk.failing = { truncate: true };
    expect(() => log.append(anEvent(99))).toThrow(expect.objectContaining(unavailable));
    expect(log.size()).toBe(1);
    disk.failing = {};
    await appendMany(log, 1);
    expect(await numbersIn(log)).toEqual([0, 1]);
    await log.close();
  });

  it("rejects `durable` and everything after it once the disk lost data, and signs none of it", async () => {
    using folder = temporaryFolder();
    const disk = faultyDisk();
    const faults: unknown[] = [];
    const log = await openLog(folder.path, signer, { disk, onFault: (error) => faults.push(error) });
    await appendMany(log, 3);
    const signed = await log.checkpoint();
    disk.failing = { sync: true };
    const ticket = log.append(anEvent(3));
    await expect(ticket.durable).rejects.toMatchObject(unavailable);
    disk.failing = {};
    expect(() => log.append(anEvent(4))).toThrow(expect.objectContaining(unavailable));
    await expect(log.checkpoint()).rejects.toMatchObject(unavailable);
    await expect(log.close()).rejects.toMatchObject(unavailable);
    expect(readFileSync(join(folder.path, "checkpoint"), "utf8")).toBe(signed);
    expect(faults).toHaveLength(1);
    const again = await openLog(folder.path, signer);
    expect(again.size()).toBe(4);
    await again.close();
  });

  it("says that it fails from the first refused entry on until one is written, and for good after a failed sync", async () => {
    using folder = temporaryFolder();
    const disk = faultyDisk();
    let failed = 0;
    const syncs: number[] = [];
    const watcher = { synced: (time: number) => void syncs.push(time), failed: () => void failed++ };
    const log = await openLog(folder.path, signer, { disk, watcher });
    await appendMany(log, 1);
    expect([log.failure(), failed]).toEqual([undefined, 0]);
    disk.failing = { write: "torn" };
    expect(() => log.append(anEvent(99))).toThrow(expect.objectContaining(unavailable));
    expect(log.failure()).toBeDefined();
    expect(failed).toBe(1);
    disk.failing = {};
    await appendMany(log, 1);
    expect(log.failure()).toBeUndefined();
    expect(syncs.length).toBeGreaterThan(1);
    expect(syncs.every((time) => time >= 0)).toBe(true);
    disk.failing = { sync: true };
    await expect(log.append(anEvent(2)).durable).rejects.toMatchObject(unavailable);
    disk.failing = {};
    expect(() => log.append(anEvent(3))).toThrow(expect.objectContaining(unavailable));
    expect(log.failure()).toBeDefined();
    expect(failed).toBe(3);
    await expect(log.close()).rejects.toMatchObject(unavailable);
  });

  it("says that it fails while its checkpoint cannot be written", async () => {
    using folder = temporaryFolder();
    const disk = faultyDisk();
    const log = await openLog(folder.path, signer, { disk, checkpointIntervalMs: 1 });
    disk.failing = { replace: true };
    await appendMany(log, 1);
    await expect.poll(() => log.failure(), { interval: 1, timeout: 20_000 }).toBeDefined();
    disk.failing = {};
    await expect.poll(() => log.failure(), { interval: 1, timeout: 20_000 }).toBeUndefined();
    await log.close();
  });

  it("drops what nobody waits for, refuses what somebody does, and has no hole afterwards", async () => {
    using folder = temporaryFolder();
    const disk = faultyDisk();
    const faults: unknown[] = [];
    const log = await openLog(folder.path, signer, { disk, onFault: (fault) => faults.push(fault) });
    await appendMany(log, 1);
    disk.failing = { write: "torn" };
    log.appendSoon(anEvent(100));
    await nextTurn();
    expect(faults).toMatchObject([unavailable]);
    log.appendSoon(anEvent(101));
    expect(() => log.append(anEvent(102))).toThrow(expect.objectContaining(unavailable));
    disk.failing = {};
    await appendMany(log, 1);
    expect(await numbersIn(log)).toEqual([0, 1]);
    await log.close();
  });

  it("refuses the next entry until a full hash tile could be kept", async () => {
    using folder = temporaryFolder();
    const disk = faultyDisk();
    const log = await openLog(folder.path, signer, { disk });
    await appendMany(log, 256);
    disk.failing = { replace: true };
    expect(() => log.append(anEvent(256))).toThrow(expect.objectContaining(unavailable));
    await expect(log.checkpoint()).rejects.toMatchObject(unavailable);
    disk.failing = {};
    await appendMany(log, 1);
    expect(statSync(join(folder.path, "tile/0/000")).size).toBe(8192);
    await log.close();
  });

  it("refuses an event that is larger than an entry, or has no canonical form, and stays usable", async () => {
    using folder = temporaryFolder();
    const log = await openLog(folder.path, signer);
    const event = anEvent(0);
    const tooLarge = { ...event, more: "x".repeat(65_535) };
    expect(() => log.append(tooLarge)).toThrow(expect.objectContaining(unavailable));
    expect(() => log.append({ ...event, more: "\uD800" })).toThrow(expect.objectContaining(unavailable));
    expect(log.append(event).index).toBe(0);
    await log.close();
    expect(() => log.append(event)).toThrow(expect.objectContaining(unavailable));
  });
});

describe("a log", () => {
  it("belongs to one process at a time", async () => {
    using folder = temporaryFolder();
    const log = await openLog(folder.path, signer);
    await expect(openLog(folder.path, signer)).rejects.toThrow(`open in process ${process.pid}`);
    await log.close();
    await (await openLog(folder.path, signer)).close();
  });

  it("has entries in the page cache when `append` returns", async () => {
    using folder = temporaryFolder();
    const log = await openLog(folder.path, signer);
    const event = anEvent(0);
    log.append(event);
    const bundle = readFileSync(join(folder.path, "tile/entries/000"));
    expect(bundle.subarray(2).toString()).toBe(canonicalize(event));
    expect(bundle.readUInt16BE(0)).toBe(bundle.length - 2);
    await log.close();
  });

  it("takes what nobody waits for in the order it came, with the next entry or at the end of the turn", async () => {
    using folder = temporaryFolder();
    let writes = 0;
    const counting: LogDisk = {
      ...nodeDisk,
      write: (...args) => {
        writes++;
        return nodeDisk.write(...args);
      },
    };
    const log = await openLog(folder.path, signer, { disk: counting });
    log.appendSoon(anEvent(0));
    log.appendSoon(anEvent(1));
    expect([log.append(anEvent(2)).index, writes]).toEqual([2, 1]);
    log.appendSoon(anEvent(3));
    expect(log.size()).toBe(3);
    await nextTurn();
    expect([log.size(), writes]).toEqual([4, 2]);
    for (let number = 4; number < 700; number++) log.appendSoon(anEvent(number));
    await log.append(anEvent(700)).durable;
    expect(await numbersIn(log)).toEqual(Array.from({ length: 701 }, (_, number) => number));
    log.appendSoon(anEvent(701));
    await log.close();
    const again = await openLog(folder.path, signer);
    expect(again.size()).toBe(702);
    await again.close();
  });

  it("signs the root over all entries, across bundles, and goes on where it ended", async () => {
    using folder = temporaryFolder();
    const range = new CompactRange();
    for (const count of [0, 1, 255, 1, 300, 211, 5]) {
      const log = await openLog(folder.path, signer);
      await appendMany(log, count);
      for await (const { bytes } of log.entries(range.size)) range.append(hashLeaf(bytes));
      const checkpoint = verifyCheckpoint(await log.checkpoint(), signer);
      expect(checkpoint).toMatchObject({ ok: true, value: { size: log.size(), root: range.root() } });
      expect(log.recovery).toMatchObject({ cutBytes: 0, rebuiltTiles: 0 });
      await log.close();
    }
    expect(range.size).toBe(773);
  });

  it("proves its entries against its checkpoint", async () => {
    using folder = temporaryFolder();
    const log = await openLog(folder.path, signer);
    await appendMany(log, 600);
    const checkpoint = verifyCheckpoint(await log.checkpoint(), signer);
    if (!checkpoint.ok) throw new Error(checkpoint.reason);
    const { root, size } = checkpoint.value;
    for (const index of [0, 255, 256, 511, 512, 599]) {
      const proof = await inclusionProof(index, size, (subtree) => log.subtreeHash(subtree));
      for await (const { bytes } of log.entries(index, index + 1)) {
        expect(verifyInclusion({ index, size, leafHash: hashLeaf(bytes), proof, root })).toBe(true);
      }
    }
    await log.close();
  });

  it("signs by itself within the interval, and not again while nothing is new", async () => {
    using folder = temporaryFolder();
    let signatures = 0;
    const signed = Promise.withResolvers<void>();
    const counting = {
      ...signer,
      sign(note: Buffer) {
        if (++signatures === 2) signed.resolve();
        return signer.sign(note);
      },
    };
    const log = await openLog(folder.path, counting, { checkpointIntervalMs: 1 });
    await appendMany(log, 10);
    await signed.promise;
    expect(await log.checkpoint()).toBe(await log.checkpoint());
    await log.close();
    expect(signatures).toBe(2);
  });

  it("finds an event by its id and the outcome of a decision, and nothing that only mentions the id", async () => {
    using folder = temporaryFolder();
    const log = await openLog(folder.path, signer);
    const id = "01890000-0000-7000-8000-000000000001";
    log.append(anEvent(0, id));
    const outcome = {
      time: START,
      bytesIn: 1,
      bytesOut: 1,
      durationMs: 1,
      scrubbed: 0,
      ended: "complete",
    } as const;
    log.append(outcomeEvent({ ...outcome, id: "01890000-0000-7000-8000-000000000002", decisionId: id }));
    await appendMany(log, 600);
    expect(await log.find(id)).toMatchObject({ unmapped: { kind: "decision" } });
    expect(await log.findOutcome(id)).toMatchObject({ unmapped: { kind: "outcome", decision_id: id } });
    expect(await log.find("support-agent")).toBeUndefined();
    expect(await log.find("")).toBeUndefined();
    await log.close();
  });

  it("tells listeners of every entry until they leave, and a listener's failure harms nobody", async () => {
    using folder = temporaryFolder();
    const faults: unknown[] = [];
    const log = await openLog(folder.path, signer, { onFault: (error) => faults.push(error) });
    const heard: number[] = [];
    log.onAppend(() => {
      throw new Error("listener");
    });
    const leave = log.onAppend(({ index }) => heard.push(index));
    await appendMany(log, 2);
    leave();
    await appendMany(log, 1);
    expect(heard).toEqual([0, 1]);
    expect(faults).toHaveLength(3);
    await log.close();
  });

  it("is readable by its own account only", async () => {
    using folder = temporaryFolder();
    const log = await openLog(join(folder.path, "audit"), signer);
    await appendMany(log, 300);
    await log.checkpoint();
    const wrong = [];
    for (const name of readdirSync(folder.path, { recursive: true, encoding: "utf8" })) {
      const stat = statSync(join(folder.path, name));
      if ((stat.mode & 0o777) !== (stat.isDirectory() ? 0o700 : 0o600)) wrong.push(name);
    }
    expect(wrong).toEqual([]);
    await log.close();
  });
});
