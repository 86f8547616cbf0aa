// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { formatVkey, signCheckpoint, verifyCheckpoint } from "./checkpoint.ts";
import { exportLog, exportTiles } from "./export.ts";
import { appendMany, linesOf, newSigner, openLog, START, temporaryFolder } from "./log.fixture.ts";
import { CompactRange, hashLeaf, rootOfHashes } from "./merkle.ts";
import { readBundle, tilePath } from "./tile-paths.ts";
import { verifyExport, verifyExportBytes } from "./verify-export.ts";

const signer = newSigner();
const vkey = formatVkey(signer);
const SIZE = 300;

/** Exports of one log, as lines: whole, of a part, and of another log of the same key. */
let whole: Buffer[];
let part: Buffer[];
let other: Buffer[];

async function exported(size: number, from?: number, to?: number): Promise<Buffer[]> {
  using folder = temporaryFolder();
  const log = await openLog(folder.path, signer);
  await appendMany(log, size);
  const lines: Buffer[] = [];
  for await (const line of exportLog(log, from, to)) lines.push(line);
  await log.close();
  return lines;
}

beforeAll(async () => {
  whole = await exported(SIZE);
  part = await exported(SIZE, 70, 130);
  other = await exported(SIZE);
});

const verify = (lines: readonly (Buffer | string)[], key?: string) =>
  verifyExport(linesOf(lines), { vkey: key });
const asFile = (lines: readonly Buffer[]): Buffer =>
  Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\n")]));

async function* chunksOf(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let offset = 0; offset < bytes.length; offset += size) yield bytes.subarray(offset, offset + size);
}

describe("an export that was tampered with", () => {
  it(
    "is refused when any one byte is changed, in a whole export and in a part",
    { timeout: 60_000 },
    async () => {
      for (const lines of [whole, part]) {
        const file = asFile(lines);
        const head = lines[0]!.length;
        const tail = file.length - lines.at(-1)!.length - 1;
        const offsets = Array.from({ length: 150 }, () => Math.floor(Math.random() * file.length));
        for (let offset = 0; offset < head + 2; offset++) offsets.push(offset);
        for (let offset = tail - 2; offset < file.length; offset++) offsets.push(offset);
        const accepted = [];
        for (const offset of offsets) {
          const changed = Buffer.from(file);
          changed[offset]! ^= 1 << (offset % 8);
          if ((await verifyExportBytes(chunksOf(changed, 65_536))).ok) accepted.push(offset);
        }
        expect(accepted).toEqual([]);
      }
    },
  );

  const swapped = (lines: Buffer[], a: number, b: number): Buffer[] =>
    lines.with(a, lines[b]!).with(b, lines[a]!);
  it.each<[string, string, (lines: Buffer[]) => (Buffer | string)[]]>([
    ["it is empty", "header_invalid", () => []],
    ["the header is missing", "header_invalid", (lines) => lines.slice(1)],
    ["only the header is left", "checkpoint_missing", (lines) => lines.slice(0, 1)],
    ["the first entry is removed", "size_mismatch", (lines) => lines.toSpliced(1, 1)],
    ["an entry in the middle is removed", "size_mismatch", (lines) => lines.toSpliced(20, 1)],
    ["the last entry is removed", "size_mismatch", (lines) => lines.toSpliced(-2, 1)],
    ["an entry is inserted", "size_mismatch", (lines) => lines.toSpliced(20, 0, lines[3]!)],
    ["an entry is replaced by another", "root_mismatch", (lines) => lines.with(20, lines[3]!)],
    ["two neighbours are swapped", "root_mismatch", (lines) => swapped(lines, 8, 9)],
    ["two far entries are swapped", "root_mismatch", (lines) => swapped(lines, 3, 50)],
    ["the tail is cut off", "checkpoint_missing", (lines) => lines.slice(0, -1)],
    ["an empty line is inserted", "entry_invalid", (lines) => lines.toSpliced(5, 0, Buffer.alloc(0))],
    ["an empty line is appended", "checkpoint_missing", (lines) => [...lines, Buffer.alloc(0)]],
    ["something is appended", "checkpoint_missing", (lines) => [...lines, Buffer.from("{}")]],
    [
      "an entry is written with spaces",
      "root_mismatch",
      (lines) => lines.with(4, Buffer.from(respaced(lines[4]!))),
    ],
    [
      "an entry has a carriage return",
      "root_mismatch",
      (lines) => lines.with(4, Buffer.from(`${String(lines[4])}\r`)),
    ],
    ["an entry is too large", "entry_invalid", (lines) => lines.with(4, Buffer.alloc(65_536, "x"))],
    ["the checkpoint is of another log", "root_mismatch", (lines) => lines.with(-1, other.at(-1)!)],
    [
      "the checkpoint has a second signature",
      "checkpoint_invalid",
      (lines) => lines.with(-1, cosigned(lines.at(-1)!)),
    ],
    [
      "the header has one more member",
      "header_invalid",
      (lines) => lines.with(0, Buffer.from(`${String(lines[0]).slice(0, -1)},"x":1}`)),
    ],
  ])("is refused when %s", async (_, reason, tamper) => {
    expect(await verify(tamper(whole))).toMatchObject({ ok: false, reason: { reason } });
  });

  it("is refused when it was made again and signed with another key, if the key is pinned", async () => {
    const forger = newSigner(signer.name);
    const forged = forge(whole, forger);
    expect(await verify(forged)).toMatchObject({ ok: true, value: { keyPinned: false } });
    expect(await verify(forged, vkey)).toMatchObject({
      ok: false,
      reason: { reason: "key_mismatch", line: 1 },
    });
    const mixed = forged.with(0, whole[0]!);
    expect(await verify(mixed, vkey)).toMatchObject({ ok: false, reason: { reason: "checkpoint_invalid" } });
    expect(await verify(whole, "nonsense")).toMatchObject({ ok: false, reason: { reason: "key_invalid" } });
  });

  it("is refused when a part claims another place", async () => {
    const header = JSON.parse(String(part[0]));
    for (const from of [69, 71, 6, 0, -1, 0.5, 1e300]) {
      const moved = Buffer.from(JSON.stringify({ ...header, from }));
      expect(await verify(part.with(0, moved))).toMatchObject({ ok: false });
    }
  });

  it("is refused as a file without its last line end, and with a line that never ends", async () => {
    const cut = asFile(whole).subarray(0, -1);
    const refused = await verifyExportBytes(chunksOf(cut, 1000));
    expect(refused).toMatchObject({ ok: false, reason: { reason: "truncated" } });
    const endless = Buffer.concat([asFile(whole.slice(0, 3)), Buffer.alloc(400_000, "x")]);
    expect(await verifyExportBytes(chunksOf(endless, 10_000))).toMatchObject({ ok: false });
  });
});

describe("an export", () => {
  it("verifies, and says whose it is, how much and from when to when", async () => {
    const expected = {
      entries: SIZE,
      from: 0,
      size: SIZE,
      origin: signer.name,
      keyPinned: true,
      firstTime: START,
      lastTime: START + SIZE - 1,
    };
    expect(await verify(whole, vkey)).toMatchObject({ ok: true, value: expected });
    expect(await verify(whole.map(String), vkey)).toMatchObject({ ok: true, value: expected });
    for (const size of [1, 7, 70_000]) {
      const verified = await verifyExportBytes(chunksOf(asFile(whole), size), { vkey });
      expect(verified).toMatchObject({ ok: true, value: expected });
    }
  });

  it("of a part proves its place under the same checkpoint", async () => {
    expect(part).toHaveLength(62);
    expect(await verify(part)).toMatchObject({ ok: true, value: { entries: 60, from: 70, size: SIZE } });
    for (const [from, to] of [
      [0, 0],
      [0, 1],
      [299, 300],
      [256, 300],
      [0, 256],
      [300, 300],
      [1, 299],
    ] as const) {
      const verified = await verify(await exported(SIZE, from, to));
      expect(verified).toMatchObject({ ok: true, value: { entries: to - from, from, size: SIZE } });
    }
  });

  it("of an empty log verifies", async () => {
    const verified = await verify(await exported(0));
    expect(verified).toMatchObject({ ok: true, value: { entries: 0, firstTime: undefined } });
  });
});

describe("an export as tiles", () => {
  it("holds the tree of its checkpoint in full and partial tiles", async () => {
    using folder = temporaryFolder();
    using target = temporaryFolder();
    const log = await openLog(folder.path, signer);
    await appendMany(log, SIZE);
    expect(await exportTiles(log, target.path)).toEqual({ size: SIZE });
    await log.close();
    const read = (path: string): Buffer => readFileSync(join(target.path, path));
    const checkpoint = verifyCheckpoint(read("checkpoint").toString(), signer);
    const entries = ["tile/entries/000", "tile/entries/001.p/44"].flatMap(
      (path) => readBundle(read(path)).entries,
    );
    const range = new CompactRange();
    for (const entry of entries) range.append(hashLeaf(entry));
    expect(checkpoint).toMatchObject({ ok: true, value: { size: SIZE, root: range.root() } });
    expect(read("tile/0/000")).toEqual(Buffer.concat(entries.slice(0, 256).map(hashLeaf)));
    expect(read("tile/0/001.p/44")).toEqual(Buffer.concat(entries.slice(256).map(hashLeaf)));
    expect(read("tile/1/000.p/1")).toEqual(rootOfHashes(entries.slice(0, 256).map(hashLeaf)));
    expect(read("vkey").toString()).toBe(`${vkey}\n`);
  });

  it("numbers tiles as C2SP tlog-tiles does", () => {
    expect(tilePath("entries", 1_234_067)).toBe("tile/entries/x001/x234/067");
    expect(tilePath(0, 1000, 7)).toBe("tile/0/x001/000.p/7");
  });
});

function respaced(entry: Buffer): string {
  return JSON.stringify(JSON.parse(String(entry)), undefined, 1).replaceAll("\n", "");
}

function cosigned(line: Buffer): Buffer {
  const { checkpoint } = JSON.parse(String(line)) as { checkpoint: string };
  const witness = signCheckpoint({ size: 1, root: Buffer.alloc(32) }, newSigner("witness.test"));
  return Buffer.from(JSON.stringify({ checkpoint: checkpoint + witness.split("\n\n")[1]! }));
}

/** The same entries but the first, vouched for by somebody else. */
function forge(lines: readonly Buffer[], forger: ReturnType<typeof newSigner>): Buffer[] {
  const entries = lines.slice(2, -1);
  const root = rootOfHashes(entries.map(hashLeaf));
  const header = { postern_audit_export: 1, origin: forger.name, vkey: formatVkey(forger) };
  const checkpoint = signCheckpoint({ size: entries.length, root }, forger);
  return [Buffer.from(JSON.stringify(header)), ...entries, Buffer.from(JSON.stringify({ checkpoint }))];
}
