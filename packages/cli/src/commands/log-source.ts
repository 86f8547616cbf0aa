// SPDX-License-Identifier: Apache-2.0
/** Where do commands that look at the past read the log and the resources from: the server, or files? */
import { createReadStream, existsSync, readFileSync } from "node:fs";
import type { ResourcesResponse } from "@postern/contract";
import type { RecordedDecision } from "@postern/server/rehearsal";
import type { Flag, Invocation } from "../command.ts";
import { FilesError, listFlag, nameOf, stringFlag, UsageError } from "../command.ts";
import { readResourceFiles } from "./resource-files.ts";
import { sinceOf } from "./period.ts";

export const logFlags = {
  log: { type: "string", value: "FILE", help: "read this export of the log; no server is needed then" },
  key: { type: "string", value: "VKEY", help: "verifier key of the log, which you kept elsewhere" },
  base: {
    type: "string",
    multiple: true,
    value: "FILE",
    help: "with --log: what is in force, as YAML or as `postern get --json` printed it",
  },
  since: { type: "string", value: "TIME", help: "only from then on: 30m, 24h, 7d, or a date" },
} as const satisfies Record<string, Flag>;

export interface LogSource {
  /** An export of the log. */
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly vkey: string | undefined;
  /** Milliseconds. */
  readonly since: number | undefined;
}

export async function openLog({ flags, control }: Invocation): Promise<LogSource> {
  const file = stringFlag(flags["log"]);
  const since = stringFlag(flags["since"]);
  const source = {
    vkey: stringFlag(flags["key"]),
    since: since === undefined ? undefined : sinceOf(since, Date.now()),
  };
  if (file === undefined) return { ...source, chunks: await control.stream("/v1/audit/export") };
  if (file !== "-" && !existsSync(file)) throw new UsageError(`there is no file ${file}`);
  return { ...source, chunks: file === "-" ? process.stdin : createReadStream(file) };
}

/** What is in force; undefined where a log is read from a file and nobody said what is. */
export async function resourcesInForce({ flags, control }: Invocation) {
  const { policySet, ResourceSet, storedResources } = await import("@postern/server/rehearsal");
  if (stringFlag(flags["log"]) === undefined)
    return storedResources(await control.get<ResourcesResponse>("/v1/resources"));
  const names = listFlag(flags["base"]);
  if (names.length === 0) return undefined;
  const [only, ...others] = names;
  const answer = others.length === 0 && only !== "-" ? jsonOf(only!) : undefined;
  const stored = answer === undefined ? undefined : storedResources(answer);
  if (stored !== undefined) return stored;
  const set = policySet(ResourceSet.empty, readResourceFiles(names));
  if (!set.ok) throw new FilesError("--base cannot be used", set.reason);
  return set.value.resources;
}

function jsonOf(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

/** Gives every decision of the log to `visit`; throws where the log does not verify, whatever was visited. */
export async function requireVerified(
  { flags, note }: Invocation,
  { chunks, vkey, since }: LogSource,
  visit: (decision: RecordedDecision) => void,
  onOther?: (event: unknown) => void,
): Promise<void> {
  const { readDecisions } = await import("@postern/server/rehearsal");
  const named = stringFlag(flags["agent"]);
  const agent = named === undefined ? undefined : nameOf(named);
  const onProgress = (entries: number): void => {
    if (entries % 100_000 === 0) note(`${entries} entries read`);
  };
  const read = await readDecisions(chunks, visit, { vkey, since, agent, onProgress, onOther });
  if (read.ok) return;
  const { detail, line } = read.reason;
  throw new Error(
    `the log does not verify, so nothing is said: ${detail}${line === undefined ? "" : ` (line ${line})`}`,
  );
}
