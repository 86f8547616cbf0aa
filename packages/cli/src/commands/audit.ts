// SPDX-License-Identifier: Apache-2.0
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { pipeline } from "node:stream/promises";
import type { AuditTilesResponse } from "@postern/contract";
import { type Command, type Invocation, oneWord, stringFlag, UsageError } from "../command.ts";
import { eventLine } from "./event-line.ts";

const tail: Command = {
  name: "audit tail",
  usage: "audit tail",
  summary: "show the newest decisions and changes",
  flags: {
    follow: { type: "boolean", short: "f", help: "go on with what comes" },
    lines: { type: "string", short: "n", value: "N", help: "how many of the past (default 20)" },
  },
  run: async ({ control, flags, json, print }) => {
    const lines = stringFlag(flags["lines"]) ?? "20";
    const query = `lines=${encodeURIComponent(lines)}${flags["follow"] === true ? "&follow=1" : ""}`;
    const stream = await control.stream(`/v1/audit/events?${query}`);
    for await (const line of createInterface({ input: stream }))
      print(json ? line : eventLine(JSON.parse(line) as Record<string, unknown>));
    return 0;
  },
};

const exportLog: Command = {
  name: "audit export",
  usage: "audit export [FILE]",
  summary: "write the log with its checkpoint, to be verified anywhere",
  flags: {
    tiles: { type: "string", value: "DIR", help: "write a folder in the layout of C2SP tlog-tiles instead" },
  },
  details:
    "JSON Lines: a header, one event a line, a signed checkpoint. Standard output where no FILE is given.",
  run: async (invocation) => {
    const tiles = stringFlag(invocation.flags["tiles"]);
    if (tiles !== undefined) return exportTiles(invocation, resolve(tiles));
    const stream = await invocation.control.stream("/v1/audit/export");
    const file = invocation.words.length === 0 ? undefined : oneWord(invocation, "file");
    if (file === undefined || file === "-") await pipeline(stream, process.stdout, { end: false });
    else {
      await pipeline(stream, createWriteStream(file, { mode: 0o600 }));
      invocation.note(`written to ${file}; check it with \`postern audit verify ${file}\``);
    }
    return 0;
  },
};

async function exportTiles({ control, json, print }: Invocation, folder: string): Promise<number> {
  const answer = await control.post<AuditTilesResponse>("/v1/audit/tiles", { folder });
  print(json ? JSON.stringify(answer) : `${answer.size} entries as tlog-tiles in ${folder}`);
  return 0;
}

const verify: Command = {
  name: "audit verify",
  usage: "audit verify FILE",
  summary: "check an export: any change, removal or reordering is found; works offline",
  flags: {
    key: {
      type: "string",
      value: "VKEY",
      help: "verifier key that you kept elsewhere; without it the key in the export is believed",
    },
  },
  run: async (invocation) => {
    const file = oneWord(invocation, "file");
    const key = stringFlag(invocation.flags["key"]);
    if (file !== "-" && !existsSync(file)) throw new UsageError(`there is no file ${file}`);
    const input = file === "-" ? process.stdin : createReadStream(file);
    const { verifyExportBytes } = await import("@postern/server/verify-export");
    const result = await verifyExportBytes(input, key === undefined ? {} : { vkey: key });
    if (result.ok) return verified(invocation, result.value);
    const { reason, line, detail } = result.reason;
    if (invocation.json) invocation.print(JSON.stringify({ ok: false, reason, line, detail }));
    else invocation.print(`NOT VERIFIED: ${detail}${line === undefined ? "" : ` (line ${line})`}`);
    return 1;
  },
};

function verified(
  { json, print, note }: Invocation,
  report: { entries: number; keyPinned: boolean; root: string },
): number {
  if (json) print(JSON.stringify({ ok: true, ...report }));
  else print(`verified: ${report.entries} entries, root ${report.root}`);
  if (!report.keyPinned && !json)
    note(
      "the key was taken from the export itself: give --key to exclude a log that was rewritten as a whole",
    );
  return 0;
}

export const auditCommands: readonly Command[] = [tail, exportLog, verify];
