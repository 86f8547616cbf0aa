// SPDX-License-Identifier: Apache-2.0
import type { ApplyResponse } from "@postern/contract";
import type { ChangeGroup, PolicySet, Simulation } from "@postern/server/rehearsal";
import { type Command, FilesError, type Invocation, listFlag, stringFlag, UsageError } from "../command.ts";
import { printable } from "../printable.ts";
import { logFlags, openLog, requireVerified, resourcesInForce } from "./log-source.ts";
import { fileFlag, readResourceFiles } from "./resource-files.ts";

export const simulate: Command = {
  name: "simulate",
  usage: "simulate -f FILE",
  summary: "decide recorded requests again under changed policies; newly allowed ones first",
  flags: {
    ...fileFlag,
    without: {
      type: "string",
      multiple: true,
      value: "POLICY",
      help: "as if this access policy were deleted",
    },
    agent: { type: "string", value: "NAME", help: "only what this agent asked" },
    ...logFlags,
  },
  details:
    "Compares the policies of now with those after the change. With --log and without --base it compares what was\n" +
    "recorded with the policies of FILE alone. Changes nothing.\n" +
    "Exit codes: 0 nothing would change, 3 something would be newly allowed or get another credential,\n" +
    "4 something would be newly denied and nothing newly allowed, 5 no change was found but not all could be decided again.",
  run: async (invocation) => {
    const { flags, json, print } = invocation;
    const files = readResourceFiles([...listFlag(flags["file"]), ...invocation.words]);
    const without = listFlag(flags["without"]);
    if (files.length === 0 && without.length === 0) throw new UsageError("give a file: -f FILE");
    const { Simulator } = await import("@postern/server/rehearsal");
    const { now, after } = await setsOf(invocation, files, without);
    const simulator = new Simulator(after.policies, now?.policies);
    await requireVerified(invocation, await openLog(invocation), (decision) => simulator.add(decision));
    const result = simulator.result();
    if (json) print(JSON.stringify({ against: now === undefined ? "recorded" : "now", ...result }));
    else for (const line of inWords(result, now !== undefined)) print(printable(line));
    return exitCode(result);
  },
};

interface Sets {
  /** Absent where nobody said what is in force. */
  readonly now: PolicySet | undefined;
  readonly after: PolicySet;
}

async function setsOf(
  invocation: Invocation,
  files: readonly { name: string; text: string }[],
  without: readonly string[],
): Promise<Sets> {
  const { policySet, ResourceSet } = await import("@postern/server/rehearsal");
  const base = await resourcesInForce(invocation);
  for (const name of without)
    if (base?.get("AccessPolicy", name) === undefined)
      throw new UsageError(`--without: there is no AccessPolicy ${name}`);
  const after = policySet(base ?? ResourceSet.empty, files, without);
  if (!after.ok) throw new FilesError(`${after.reason.length} problems; nothing was simulated`, after.reason);
  const now = base === undefined ? undefined : policySet(base, []);
  if (now !== undefined && !now.ok)
    throw new FilesError("what is in force does not compile here", now.reason);
  if (stringFlag(invocation.flags["log"]) === undefined && files.length > 0)
    await agreeWithServer(invocation, files, without, after.value);
  return { now: now?.value, after: after.value };
}

/** The server checks the change as `apply` does, and has to come to the very same policies. */
async function agreeWithServer(
  { control }: Invocation,
  files: readonly { name: string; text: string }[],
  without: readonly string[],
  after: PolicySet,
): Promise<void> {
  const answer = await control.post<ApplyResponse>("/v1/apply", { files, dryRun: true });
  if (without.length === 0 && answer.policyDigest !== after.policies.digest)
    throw new Error(
      "the server compiles other policies than this command: was it changed just now, or is it of another version?",
    );
}

function exitCode({ changed, decisions, replayed, notReplayed }: Simulation): number {
  if (changed.newly_allowed + changed.other_credential > 0) return 3;
  if (changed.newly_denied > 0) return 4;
  const { not_asked: before = 0, beyond_policy: beyond = 0 } = notReplayed;
  return replayed + before + beyond < decisions ? 5 : 0;
}

const HEADINGS = {
  newly_allowed: "newly allowed",
  other_credential: "allowed with another credential provider",
  newly_denied: "newly denied",
  would_be_allowed: "in dry-run, would be allowed",
  would_be_denied: "in dry-run, would be denied",
} as const;

function inWords(result: Simulation, isAgainstNow: boolean): string[] {
  const lines: string[] = [];
  for (const [change, heading] of Object.entries(HEADINGS)) {
    const groups = result.groups.filter((group) => group.change === change);
    if (groups.length === 0) continue;
    lines.push(`${heading}: ${result.changed[change as keyof typeof HEADINGS]}`);
    for (const alike of byAgents(groups)) lines.push(...groupLines(alike));
  }
  if (result.ungrouped > 0) lines.push(`and ${result.ungrouped} more that are not shown one by one`);
  lines.push(
    `${result.decisions} decisions: ${result.replayed} decided again, ${result.unchanged} of them as ${isAgainstNow ? "now" : "recorded"}`,
  );
  for (const [reason, count] of Object.entries(result.notReplayed))
    lines.push(`  not decided again: ${count} ${REASONS[reason as keyof typeof REASONS]}`);
  if (isAgainstNow && result.changedSince > 0)
    lines.push(`  recorded under earlier policies and decided otherwise now already: ${result.changedSince}`);
  return lines;
}

const REASONS: Readonly<Record<keyof Simulation["notReplayed"], string>> = {
  not_asked: "that were refused before any policy was asked",
  cut_short: "that are too long for the log",
  masked: "in which the log hides something",
  incomplete: "of which a value is not in the log",
  beyond_policy: "that a person or a budget decided, not a policy",
  other_schema: "that a later version wrote",
  condition_not_judged: "for which a condition was not judged then, or was another one",
};

/** Groups that differ in the agent alone are one for a reader. */
function byAgents(groups: readonly ChangeGroup[]): [ChangeGroup, ...ChangeGroup[]][] {
  const alike = new Map<string, [ChangeGroup, ...ChangeGroup[]]>();
  for (const group of groups) {
    const { serverWorkload, before, after } = group;
    const key = JSON.stringify([serverWorkload, whatOf(group), before, after]);
    const known = alike.get(key);
    if (known === undefined) alike.set(key, [group]);
    else known.push(group);
  }
  const sum = (some: readonly ChangeGroup[]): number => some.reduce((all, { count }) => all + count, 0);
  return [...alike.values()].toSorted((a, b) => sum(b) - sum(a));
}

const whatOf = ({ operation, method, path, model }: ChangeGroup): string =>
  `${operation ?? `${method} ${path}`}${model === undefined ? "" : ` with model ${model}`}`;

const MOST_AGENTS = 5;

function groupLines(alike: readonly [ChangeGroup, ...ChangeGroup[]]): string[] {
  const last = alike.reduce((a, b) => (b.lastTime > a.lastTime ? b : a));
  const agents = alike.map(({ agent }) => agent).toSorted();
  const more = agents.length > MOST_AGENTS ? ` and ${agents.length - MOST_AGENTS} more` : "";
  const who = `${agents.length === 1 ? "agent" : "agents"} ${agents.slice(0, MOST_AGENTS).join(", ")}${more}`;
  const count = alike.reduce((sum, group) => sum + group.count, 0);
  return [
    `  ${count} × ${who}: ${last.serverWorkload} ${whatOf(last)}`,
    `      ${ruling(last.before)} → ${ruling(last.after)}`,
    `      last ${new Date(last.lastTime).toISOString()}, for example ${last.examples[0]}`,
  ];
}

function ruling({ outcome, policies, credentialProvider, reasons = [] }: ChangeGroup["before"]): string {
  const by = policies.length === 0 ? "" : ` by ${policies.join(", ")}`;
  const credential = credentialProvider === undefined ? "" : ` with ${credentialProvider}`;
  const why = outcome === "deny" && policies.length === 0 ? ` (${reasons.join(", ")})` : "";
  return `${outcome}${by}${credential}${why}`;
}
