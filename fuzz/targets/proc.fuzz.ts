// SPDX-License-Identifier: Apache-2.0
/** Does /proc say the same of a process whatever names it has chosen for itself, its groups and its mounts? */
import { parseMountTable } from "../../packages/cli/src/sandbox/mount-table.ts";
import { parseCgroup, parseStat, tcpRows } from "../../packages/server/src/attestation/process/proc.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

/** `mangle` of the kernel: four characters in octal. */
const mangled = (path: string): string =>
  path.replaceAll(/[ \t\n\\]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`);

/** The input is a name that somebody chose; and, as it is, what is read. */
function check(input: Buffer): void {
  const name = input.subarray(0, 200).toString("latin1").replaceAll("\0", "");
  const stat = parseStat(`77 (${name}) S 12 77 77 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 9999 1 2\n`);
  demand(stat?.parent === 12 && stat.startTime === 9999n, "parent and start time");
  const group = `/${input.toString("utf8").replaceAll(/[\n\0]/g, "")}`;
  demandEqual(parseCgroup(`3:cpuset:${group}\n1:name=systemd:/a\n0::/real\n`), "/real", "the control group");
  demandEqual(parseCgroup(`0::${group}\n`), group, "a control group of any name");
  const path = `/${name}`;
  const mounts = parseMountTable(
    `36 35 98:0 ${mangled(path)} ${mangled(path)} rw - ext3 ${mangled(path)} rw\n37 35 98:0 / /mnt rw,shared:1 - ext4 /dev/x rw\n`,
  );
  demandEqual(mounts.length, 2, "mounts");
  demandEqual(
    Buffer.from(mounts[0]!.mountPoint).toString("latin1"),
    Buffer.from(path).toString("latin1"),
    "the mount point",
  );
  checkAnyText(input.toString("latin1"));
}

/** What is no such table is none: nothing is thrown, and no row is made of less than its fields. */
function checkAnyText(text: string): void {
  parseCgroup(text);
  parseMountTable(text);
  const lines = text.split("\n").length;
  const rows = [...tcpRows(text)];
  demand(rows.length < lines, "more rows than lines behind the header");
  for (const { local, remote, inode } of rows)
    demand(local !== "" && remote !== "" && inode !== undefined, "a row without its fields");
}

const WORDS = [
  "\rUid:\t0\t0\t0",
  "\u2028Uid:\t0\t0",
  "\n",
  ") S 1 ",
  "(",
  ")",
  "\\",
  "\\040",
  "\\n",
  " - ",
  "0::/",
  "\r0::/",
  "\x85",
  "  0: 0100007F:0050 0100007F:1234 01 0 0 0 0 0 77 ",
];

const target: FuzzTarget = {
  parsers: ["packages/server/src/attestation/process/proc.ts", "packages/cli/src/sandbox/mount-table.ts"],
  property:
    "A process that names itself, a control group or a mount as it likes changes neither its user nor its parent, start, group and mounts.",
  words: WORDS.map((word) => Buffer.from(word).toString("latin1")),
  make: (choose) => choose.list(5, () => choose.pick([...WORDS, "a", " ", "é"])).join(""),
  check,
};
export default target;
