// SPDX-License-Identifier: Apache-2.0
import type {
  AccessEffect,
  ApplyResponse,
  Change,
  Place,
  ResourcesResponse,
  StoredResource,
} from "@postern/contract";
import { RESOURCE_KINDS } from "@postern/contract/resource-kinds";
import { type Command, type Invocation, listFlag, UsageError } from "../command.ts";
import { printable } from "../printable.ts";
import { fileFlag, readResourceFiles } from "./resource-files.ts";

const apply: Command = {
  name: "apply",
  usage: "apply -f FILE",
  summary: "make the resources in a file so; says what changes",
  flags: { ...fileFlag, "dry-run": { type: "boolean", help: "only say what would change" } },
  run: (invocation) => applyFiles(invocation, invocation.flags["dry-run"] === true),
};

const diff: Command = {
  name: "diff",
  usage: "diff -f FILE",
  summary: "say what `apply` would change, and change nothing",
  flags: fileFlag,
  run: (invocation) => applyFiles(invocation, true),
};

async function applyFiles(
  { control, flags, json, note, print, words }: Invocation,
  dryRun: boolean,
): Promise<number> {
  const names = [...listFlag(flags["file"]), ...words];
  if (names.length === 0) throw new UsageError("give a file: -f FILE");
  const files = readResourceFiles(names);
  const answer = await control.post<ApplyResponse>("/v1/apply", { files, dryRun });
  if (answer.changes.length === 0) throw new UsageError(`no resource in ${names.join(", ")}`);
  if (json) print(JSON.stringify(answer));
  else {
    for (const change of answer.changes) print(changeText(change, dryRun));
    for (const effect of answer.effects)
      for (const text of effectLines(effect, dryRun)) print(printable(text));
    for (const warning of answer.warnings) note(printable(warningText(warning)));
  }
  return 0;
}

function changeText({ action, kind, name, details }: Change, dryRun: boolean): string {
  const would = dryRun && action !== "unchanged" ? "would be " : "";
  return [`${kind}/${name} ${would}${action}`, ...details.map((detail) => `    ${detail}`)].join("\n");
}

const warningText = ({ file, line: row, column, path, message }: Place): string =>
  `warning: ${file}:${row}:${column} ${path}: ${message}`;

const MOST_AGENTS = 10;

function effectLines({ agents, serverWorkload, ...effect }: AccessEffect, dryRun: boolean): string[] {
  const shown = agents.slice(0, MOST_AGENTS).join(", ");
  const more = agents.length > MOST_AGENTS ? ` and ${agents.length - MOST_AGENTS} more` : "";
  const end = agents.length === 1 ? "s" : "";
  const verb = (word: string): string => (dryRun ? `would ${word}` : `${word}${end}`);
  return [
    `${agents.length === 1 ? "agent" : "agents"} ${shown}${more} at ${serverWorkload}:`,
    ...effect.gains.map((what) => `    + ${verb("gain")} ${what}`),
    ...effect.loses.map((what) => `    - ${verb("lose")} ${what}`),
    ...effect.conditions.map(
      (name) => `    ~ may gain or lose what depends on condition ${name}, which is another one`,
    ),
  ];
}

const get: Command = {
  name: "get",
  usage: "get [KIND [NAME]]",
  summary: "show resources and their state",
  flags: {},
  details: `Kinds: ${RESOURCE_KINDS.join(", ")}. Agents are shown with state and open runs.`,
  run: async ({ control, json, print, words }) => {
    const [kind, name, ...rest] = words;
    if (rest.length > 0) throw new UsageError("give a kind and a name at most");
    const path = [
      "/v1/resources",
      ...(kind === undefined ? [] : [kindOf(kind)]),
      ...(name === undefined ? [] : [name]),
    ];
    const answer = await control.get<ResourcesResponse>(
      path.map((part, i) => (i === 0 ? part : encodeURIComponent(part))).join("/"),
    );
    if (json) print(JSON.stringify(answer));
    else
      for (const stored of answer.resources)
        print(name === undefined ? line(stored) : JSON.stringify(stored, null, 2));
    return 0;
  },
};

function line({ resource, version, state, runs }: StoredResource): string {
  const marks = [`version ${version}`];
  if (state !== undefined)
    marks.push(
      state.state === "cut" ? `CUT OFF${state.reason === undefined ? "" : ` (${state.reason})`}` : "active",
    );
  for (const run of runs ?? []) marks.push(`run ${run.id}${run.isolated ? "" : " NOT ISOLATED"}`);
  return `${resource.kind}/${resource.metadata.name}  ${marks.join("  ")}`;
}

const remove: Command = {
  name: "delete",
  usage: "delete KIND NAME",
  summary: "delete a resource that nothing refers to",
  flags: {},
  run: async ({ control, json, print, words }) => {
    const [kind, name, ...rest] = words;
    if (kind === undefined || name === undefined || rest.length > 0)
      throw new UsageError("give a kind and a name");
    const path = `/v1/resources/${kindOf(kind)}/${encodeURIComponent(name)}`;
    await control.delete(path);
    print(
      json ? JSON.stringify({ deleted: `${kindOf(kind)}/${name}` }) : `${kindOf(kind)}/${name} is deleted`,
    );
    return 0;
  },
};

/** A kind in any case, singular or plural. */
function kindOf(word: string): string {
  const plain = word.toLowerCase();
  const found = RESOURCE_KINDS.find((kind) =>
    [kind.toLowerCase(), `${kind.toLowerCase()}s`, kind.toLowerCase().replace(/y$/, "ies")].includes(plain),
  );
  if (found === undefined)
    throw new UsageError(`there is no kind ${word}; there are ${RESOURCE_KINDS.join(", ")}`);
  return found;
}

export const resourceCommands: readonly Command[] = [apply, diff, get, remove];
