// SPDX-License-Identifier: Apache-2.0
import type { Grant } from "@postern/server/rehearsal";
import { type Command, stringFlag, UsageError } from "../command.ts";
import { printable } from "../printable.ts";
import { logFlags, openLog, requireVerified, resourcesInForce } from "./log-source.ts";
import { sinceOf } from "./period.ts";

export const review: Command = {
  name: "review",
  usage: "review",
  summary: "list what was granted and never used: agents, policies, operations, models, credential providers",
  flags: { ...logFlags, since: { ...logFlags.since, help: "unused from then on (default: 30d)" } },
  details: "Reads the whole log, to know the last use. Exit codes: 0 all is used, 3 something is not.",
  run: async (invocation) => {
    const { flags, json, print } = invocation;
    const since = sinceOf(stringFlag(flags["since"]) ?? "30d", Date.now());
    const { Reviewer } = await import("@postern/server/rehearsal");
    const resources = await resourcesInForce(invocation);
    if (resources === undefined) throw new UsageError("with --log, say with --base what is in force");
    const reviewer = new Reviewer(resources, since);
    const { chunks, vkey } = await openLog(invocation);
    await requireVerified(
      invocation,
      { chunks, vkey, since: undefined },
      (decision) => reviewer.add(decision),
      (event) => reviewer.addOther(event),
    );
    const result = reviewer.result();
    if (json) print(JSON.stringify({ since: new Date(since).toISOString(), ...result }));
    else {
      print(
        `${result.unused.length} of ${result.grants} grants unused since ${new Date(since).toISOString()}, in ${result.decisions} decisions`,
      );
      for (const grant of result.unused) print(printable(`  ${grantText(grant)}`));
    }
    return result.unused.length === 0 ? 0 : 3;
  },
};

function grantText(grant: Grant): string {
  const { lastUse, createdAt } = grant;
  const last = lastUse === undefined ? "never used" : `last used ${day(lastUse)}`;
  const made = createdAt === undefined ? "" : `, made ${day(createdAt)}`;
  return `${what(grant)}: ${last}${made}`;
}

function what({ kind, name, policy, field }: Grant): string {
  switch (kind) {
    case "agent":
      return `agent ${name}`;
    case "policy":
      return `access policy ${name}`;
    case "credential_provider":
      return `credential provider ${name}`;
    case "agent_of_policy":
      return `agent ${name} in access policy ${policy}`;
    case "value_of_policy":
      return `${name} in ${field} of access policy ${policy}`;
  }
}

const day = (time: number): string => new Date(time).toISOString().slice(0, 10);
