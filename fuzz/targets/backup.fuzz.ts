// SPDX-License-Identifier: Apache-2.0
/** Is a backup restored as it was made, or refused, and never written anywhere but into its folder? */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { restoreInto } from "../../packages/cli/src/backup-archive.ts";
import { padding, TAR_END, tarHeader } from "../../packages/server/src/wiring/tar-archive.ts";
import { Choices } from "../choices.ts";
import { scratchFolder } from "../scratch-folder.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const root = scratchFolder();

const FILES: Readonly<Record<string, Buffer>> = {
  "postern.db": Buffer.alloc(1500, "d"),
  "ca.pem": Buffer.from("-----BEGIN CERTIFICATE-----\n"),
  "audit/checkpoint": Buffer.from("postern\n1\nx\n"),
  "audit/tile/entries/000": Buffer.alloc(512, "e"),
  "audit/tile/0/x001/000": Buffer.alloc(0),
};
const NAMES = [
  ...Object.keys(FILES),
  "../evil",
  "/tmp/evil",
  "audit/../../evil",
  "audit/tile/0/x001",
  "manifest.json",
  "audit/tile/entries/000/001",
  "audit/tile/entries/../000",
  "postern.db\n",
  "a".repeat(100),
];

interface Part {
  readonly name: string;
  readonly content: Buffer;
}

function archive(parts: readonly Part[], manifest: Buffer): Buffer {
  const all = [...parts, { name: "manifest.json", content: manifest }];
  return Buffer.concat([
    ...all.flatMap(({ name, content }) => [
      tarHeader(name, content.length, 0),
      content,
      padding(content.length),
    ]),
    TAR_END,
  ]);
}

function manifestOf(parts: readonly Part[]): Record<string, unknown> {
  const files = Object.fromEntries(
    parts.map(({ name, content }) => [
      name,
      { size: content.length, sha256: createHash("sha256").update(content).digest("hex") },
    ]),
  );
  return {
    format: 1,
    takenAt: "2026-01-01T00:00:00.000Z",
    store: "sqlite",
    masterKeyId: "mk-x",
    holdsMasterKey: false,
    files,
  };
}

const MANIFESTS = [
  "null",
  "[]",
  '"x"',
  "{}",
  '{"format":1}',
  '{"format":1,"files":null}',
  '{"format":1,"files":{"postern.db":null}}',
  '{"format":2}',
  "{",
];
let number = 0;

/** Choices: which parts there are, and what is done to names, manifest and bytes. */
async function check(input: Buffer): Promise<void> {
  const choose = new Choices(input);
  const names = Object.keys(FILES).filter(() => !choose.once(4));
  if (choose.once(3)) names.push(choose.pick(NAMES));
  const parts = names.map((name) => ({ name, content: FILES[name] ?? choose.bytes(20) }));
  const listed = choose.once(4)
    ? Buffer.from(choose.pick(MANIFESTS))
    : Buffer.from(JSON.stringify(manifestOf(parts)));
  const original = archive(parts, listed);
  const bytes = choose.once(3) ? altered(original, choose) : original;
  const inside = join(root, String(number++));
  mkdirSync(inside);
  writeFileSync(join(inside, "backup.tar"), bytes);
  try {
    await checkRestored(inside, parts, isSound(names, listed) && bytes.equals(original));
  } finally {
    rmSync(inside, { recursive: true });
  }
}

const isSound = (names: readonly string[], manifest: Buffer): boolean =>
  names.every((name) => name in FILES) && new Set(names).size === names.length && manifest.length > 100;

async function checkRestored(inside: string, parts: readonly Part[], mustWork: boolean): Promise<void> {
  const folder = join(inside, "restored");
  const rootBefore = readdirSync(root).length;
  let refusal: Error | undefined;
  try {
    await restoreInto(join(inside, "backup.tar"), folder);
  } catch (error) {
    refusal = error instanceof Error ? error : new TypeError("no error was thrown");
  }
  demandEqual(readdirSync(root).length, rootBefore, "files beside the folder");
  if (refusal !== undefined) {
    demand(!mustWork, `a sound backup was refused: ${refusal.message}`);
    demand(
      !(refusal instanceof TypeError) && !(refusal instanceof RangeError),
      `refused by accident: ${refusal.message}`,
    );
    return demandEqual(readdirSync(inside), ["backup.tar"], "what a refusal leaves");
  }
  const found = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const wanted = new Map(parts.map(({ name, content }) => [name, content]));
  demandEqual(
    found.map((path) => relative(folder, path)).toSorted(),
    [...wanted.keys()].toSorted(),
    "the files",
  );
  for (const path of found)
    demand(wanted.get(relative(folder, path))!.equals(readFileSync(path)), "a file's content");
}

function altered(bytes: Buffer, choose: Choices): Buffer {
  const at = choose.below(bytes.length + 1);
  if (choose.once(3)) return bytes.subarray(0, at);
  const copy = Buffer.from(bytes);
  for (let left = 1 + choose.below(3); left > 0; left--)
    copy[choose.below(copy.length)] = choose.pick([0, 0x20, 0x30, 0x37, 0xff, choose.below(256)]);
  return copy;
}

const target: FuzzTarget = {
  parsers: ["packages/cli/src/backup-archive.ts"],
  property:
    "A backup is restored file for file, or refused in words and without a trace; no name in it leads out of the folder.",
  make: (choose) => choose.rest(),
  largest: 256,
  slowest: 1500,
  check,
};
export default target;
