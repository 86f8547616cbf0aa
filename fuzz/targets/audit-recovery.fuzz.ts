// SPDX-License-Identifier: Apache-2.0
/** Does a log that a crash or a disk has damaged open with all that was signed, and say what it cut, or not open? */
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { appendMany, childSigner, openLog } from "../../packages/server/src/audit/log.fixture.ts";
import type { AuditLog } from "../../packages/server/src/audit/log.ts";
import { Fault } from "../../packages/server/src/kernel/fault.ts";
import { Choices } from "../choices.ts";
import { scratchFolder } from "../scratch-folder.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

interface Sound {
  readonly folder: string;
  readonly entries: readonly Buffer[];
  /** How many of them the checkpoint covers. */
  readonly signed: number;
}

const signer = childSigner();
const root = scratchFolder();
const sound = [
  await makeLog(0, 0),
  await makeLog(1, 0),
  await makeLog(3, 4),
  await makeLog(255, 2),
  await makeLog(258, 260),
];

/** `after` entries stand behind the checkpoint, as after a crash. */
async function makeLog(before: number, after: number): Promise<Sound> {
  const folder = join(root, `sound-${before}-${after}`);
  const log = await openLog(folder, signer);
  await appendMany(log, before);
  await log.checkpoint();
  await appendMany(log, after);
  const entries = await entriesOf(log);
  const copy = `${folder}-crashed`;
  cpSync(folder, copy, { recursive: true });
  rmSync(join(copy, "lock"), { force: true });
  await log.close();
  return { folder: copy, entries, signed: before };
}

async function entriesOf(log: AuditLog): Promise<Buffer[]> {
  const entries: Buffer[] = [];
  for await (const { bytes } of log.entries()) entries.push(bytes);
  return entries;
}

const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();

const sizeOf = (folder: string): number =>
  filesIn(folder)
    .filter((file) => file.includes("/tile/entries/"))
    .reduce((sum, file) => sum + statSync(file).size, 0);

let number = 0;

/** Choices: a log, and what happens to its files. */
async function check(input: Buffer): Promise<void> {
  const choose = new Choices(input);
  const { folder: original, entries, signed } = choose.pick(sound);
  const folder = join(root, `${number++}`);
  cpSync(original, folder, { recursive: true });
  try {
    const wasTouched = { signed: false };
    for (let left = 1 + choose.below(3); left > 0; left--) damage(folder, choose, signed, wasTouched);
    const before = sizeOf(folder);
    let log: AuditLog;
    try {
      log = await openLog(folder, signer);
    } catch (error) {
      demand(
        error instanceof Fault && error.code === "audit_unavailable",
        `opening failed with ${String(error)}`,
      );
      demand(wasTouched.signed, `a log whose signed part is whole was refused: ${error.message}`);
      return demandEqual(sizeOf(folder), before, "entries after a refusal");
    }
    await checkOpened(log, folder, { entries, signed, before });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function checkOpened(
  log: AuditLog,
  folder: string,
  { entries, signed, before }: { entries: readonly Buffer[]; signed: number; before: number },
): Promise<void> {
  try {
    const kept = await entriesOf(log);
    demand(kept.length >= signed, `${kept.length} of ${signed} signed entries are left`);
    for (const [index, entry] of entries.slice(0, signed).entries())
      demand(kept[index]!.equals(entry), `signed entry ${index} changed`);
    demandEqual(before - sizeOf(folder), log.recovery.cutBytes, "bytes said to be cut");
    const aside = join(folder, "cut");
    const cut = existsSync(aside) ? filesIn(aside).reduce((sum, file) => sum + statSync(file).size, 0) : 0;
    demandEqual(cut, log.recovery.cutBytes, "bytes kept aside");
    await appendMany(log, 2);
    await log.checkpoint();
    demandEqual(log.size(), kept.length + 2, "entries after two more");
  } finally {
    await log.close();
  }
  const again = await openLog(folder, signer);
  demandEqual(again.recovery.cutBytes, 0, "cut at the second opening");
  await again.close();
}

/** Changes one file. Notes whether that may concern what was signed. */
function damage(folder: string, choose: Choices, signed: number, wasTouched: { signed: boolean }): void {
  const files = filesIn(folder).filter((path) => !path.endsWith("/lock"));
  const file = choose.pick(files);
  const bytes = readFileSync(file);
  const isEntries = file.includes("/tile/entries/");
  const isHash = file.includes("/tile/") && !isEntries;
  // Where the unsigned part of a bundle begins.
  const bundle = isEntries ? Number(file.slice(-3)) : 0;
  let unsignedFrom = 0;
  if (isEntries)
    for (
      let left = Math.min(256, Math.max(0, signed - bundle * 256));
      left > 0 && unsignedFrom + 2 <= bytes.length;
      left--
    )
      unsignedFrom += 2 + bytes.readUInt16BE(unsignedFrom);
  const from = isEntries && choose.below(4) !== 0 ? Math.min(unsignedFrom, bytes.length) : 0;
  const at = from + choose.below(bytes.length - from + 1);
  if (!isHash && (!isEntries || at < unsignedFrom)) wasTouched.signed = true;
  const put = choose.pick([
    Buffer.alloc(0),
    Buffer.alloc(7),
    Buffer.from("{}"),
    choose.bytes(9),
    frame(choose),
  ]);
  const removed = choose.pick([0, 1, put.length, bytes.length]);
  writeFileSync(file, Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + removed)]));
  if (isHash && choose.once(3)) rmSync(file);
}

/** A whole frame, of JSON or not. */
function frame(choose: Choices): Buffer {
  const text = choose.pick(["{}", '{"a":1}', "x", "", "\0\0"]);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(text.length);
  return Buffer.concat([length, Buffer.from(text)]);
}

const target: FuzzTarget = {
  parsers: [
    "packages/server/src/audit/recovery.ts",
    "packages/server/src/audit/tile-paths.ts",
    "packages/server/src/audit/log-reader.ts",
  ],
  property:
    "Damage behind the checkpoint never loses a signed entry; what is cut is said, and kept aside; damage before it leaves the folder as it is and the log closed.",
  make: (choose) => choose.rest(),
  largest: 256,
  slowest: 1500,
  check,
};
export default target;
