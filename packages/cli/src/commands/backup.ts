// SPDX-License-Identifier: Apache-2.0
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import type { BackupManifest, BackupRequest } from "@postern/contract";
import { readArchive, restoreInto } from "../backup-archive.ts";
import { type Command, oneWord } from "../command.ts";

const create: Command = {
  name: "backup create",
  usage: "backup create FILE [--with-master-key]",
  summary: "write secrets (sealed), resources and the audit log to a file, while the server goes on",
  flags: {
    "with-master-key": {
      type: "boolean",
      help: "put the master key in too: whoever has the file then has every secret",
    },
  },
  run: async (invocation) => {
    const { control, flags, json, print, note } = invocation;
    const file = resolve(oneWord(invocation, "file"));
    if (existsSync(file)) throw new Error(`${file} is there already: choose another name`);
    const request: BackupRequest = { withMasterKey: flags["with-master-key"] === true };
    const archive = await control.stream("/v1/backup", request);
    await writeWhole(file, archive);
    const manifest = await readArchive(file);
    if (json) print(JSON.stringify({ file, ...manifest }));
    else print(`${file} holds ${describe(manifest)}`);
    if (manifest.store === "postgres")
      note(
        "the database is not in it; take it before this archive with: pg_dump --format=custom --serializable-deferrable --file=DATABASE.dump URL",
      );
    if (manifest.holdsMasterKey) note("the master key is in it: keep the file like the secrets themselves");
    else note(`to use it, the master key ${manifest.masterKeyId} is needed: it is not in the file`);
    return 0;
  },
};

const restore: Command = {
  name: "backup restore",
  usage: "backup restore FILE --data DIR",
  summary: "make a data folder of a backup; the folder must be new or empty",
  flags: {},
  details:
    "Changes after the backup are lost: agents that were cut later are active again, secrets set later are gone.\n" +
    "(`postern restore AGENT` is something else: it undoes `postern cut`.)",
  run: async (invocation) => {
    const { dataFolder, json, print, note } = invocation;
    const file = resolve(oneWord(invocation, "file"));
    const manifest = await restoreInto(file, dataFolder);
    if (json) print(JSON.stringify({ dataFolder, ...manifest }));
    else print(`${dataFolder} is made of the backup of ${manifest.takenAt}: ${describe(manifest)}`);
    if (manifest.store === "postgres")
      note("the database comes back with pg_restore; then start with --database-url");
    if (!manifest.holdsMasterKey)
      note(
        `before the start, put the master key ${manifest.masterKeyId} at ${dataFolder}/master.key, or use --master-key`,
      );
    return 0;
  },
};

export const backupCommands: readonly Command[] = [create, restore];

const describe = ({ files, store, holdsMasterKey }: BackupManifest): string =>
  [
    `${Object.keys(files).length} files`,
    store === "sqlite" ? "the database" : "no database (it is on PostgreSQL)",
    holdsMasterKey ? "WITH the master key" : "without the master key",
  ].join(", ");

/** Under its name only when it is complete and on disk. */
async function writeWhole(file: string, chunks: AsyncIterable<Buffer>): Promise<void> {
  const draft = `${file}.part`;
  const out = openSync(draft, "wx", 0o600);
  try {
    for await (const chunk of chunks) {
      for (let done = 0; done < chunk.length;) done += writeSync(out, chunk, done);
    }
    fsyncSync(out);
    await readArchive(draft);
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  } finally {
    closeSync(out);
  }
}
