// SPDX-License-Identifier: Apache-2.0
/** Is every change of an export found? */
import { exportLog } from "../../packages/server/src/audit/export.ts";
import { formatVkey } from "../../packages/server/src/audit/checkpoint.ts";
import { appendMany, childSigner, openLog } from "../../packages/server/src/audit/log.fixture.ts";
import { verifyExportBytes } from "../../packages/server/src/audit/verify-export.ts";
import { Choices } from "../choices.ts";
import { scratchFolder } from "../scratch-folder.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const signer = childSigner();
/** The entries of the log that they are of. */
const written: Buffer[] = [];
const sound = await soundExports();

/** Whole logs and parts of them. Ids of events are random, so these differ from run to run. */
async function soundExports(): Promise<Buffer[]> {
  const log = await openLog(scratchFolder(), signer);
  const exports: Buffer[] = [];
  for (const [more, from, to] of [
    [1, 0, 1],
    [4, 0, 5],
    [0, 2, 4],
    [255, 0, 260],
    [0, 250, 258],
  ] as const) {
    await appendMany(log, more);
    const lines: Buffer[] = [];
    for await (const line of exportLog(log, from, to)) lines.push(line, Buffer.from("\n"));
    exports.push(Buffer.concat(lines));
  }
  for await (const { bytes } of log.entries()) written.push(bytes);
  await log.close();
  return exports;
}

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Choices: one of the sound exports, and what is done to its bytes and lines. */
async function check(input: Buffer): Promise<void> {
  const choose = new Choices(input);
  const original = choose.pick(sound);
  const size = 1 + choose.below(3000);
  let changed = original;
  for (let left = choose.below(4); left > 0; left--) changed = alter(changed, choose);
  const vkey = choose.once(2) ? formatVkey(signer) : undefined;
  const verified = await verifyExportBytes(pieces(changed, size), { vkey });
  if (changed.equals(original)) {
    demand(verified.ok, `a sound export was refused: ${verified.ok ? "" : verified.reason.detail}`);
    demandEqual(verified.value.keyPinned, vkey !== undefined, "the key pinned");
  }
  if (!verified.ok) return;
  // Lines of two exports can be put together to another true one, of fewer entries.
  const { from, entries, size: covered } = verified.value;
  const lines = changed.toString("latin1").split("\n").slice(1, -2);
  demandEqual(lines.length, entries, "the number of entries");
  for (const [index, line] of lines.entries())
    demand(
      written[from + index]?.toString("latin1") === line,
      `entry ${from + index} is not what was written`,
    );
  demand(from + entries <= covered && covered <= written.length, "more than was signed");
}

function alter(bytes: Buffer, choose: Choices): Buffer {
  const at = choose.below(bytes.length + 1);
  const lines = bytes.toString("latin1").split("\n");
  const line = choose.below(lines.length);
  const other = choose.below(lines.length);
  const joined = (): Buffer => Buffer.from(lines.join("\n"), "latin1");
  switch (choose.below(9)) {
    case 0:
      return Buffer.concat([bytes.subarray(0, at), choose.bytes(5), bytes.subarray(at)]);
    case 1:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + choose.below(300))]);
    case 2: {
      const copy = Buffer.from(bytes);
      if (at < copy.length) copy[at]! ^= 1 << choose.below(8);
      return copy;
    }
    case 3:
      lines.splice(line, 1);
      return joined();
    case 4:
      lines.splice(line, 0, lines[other]!);
      return joined();
    case 5:
      [lines[line], lines[other]] = [lines[other]!, lines[line]!];
      return joined();
    case 6:
      return bytes.subarray(0, at);
    case 7:
      // The tail of another export: another checkpoint, or the roots of other parts.
      lines.splice(-2, 1, choose.pick(sound).toString("latin1").split("\n").at(-2)!);
      return joined();
    default:
      lines[line] = lines[line]!.replace(
        choose.pick([":", ",", '"', "{", "0", "\\"]),
        choose.pick([": ", ", ", "'", '{"a":1,', "00", "\\u005c"]),
      );
      return joined();
  }
}

const target: FuzzTarget = {
  parsers: ["packages/server/src/audit/verify-export.ts"],
  property:
    "An export is believed as it was written, in whatever pieces it is read; changed by a single bit or line it is refused.",
  make: (choose) => choose.rest(),
  slowest: 1500,
  check,
};
export default target;
