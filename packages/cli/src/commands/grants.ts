// SPDX-License-Identifier: Apache-2.0
import type { GrantRequest, GrantsResponse, GrantSummary } from "@postern/contract";
import { visible } from "@postern/server/visible-text";
import { type Command, listFlag, oneWord, stringFlag, UsageError } from "../command.ts";
import { positiveCount, secondsOf } from "../spans.ts";

const grant: Command = {
  name: "grant",
  usage: "grant AGENT --policy NAME --for TIME --uses COUNT",
  summary: "say yes ahead, for a time and so many uses, to what a policy would ask about",
  flags: {
    policy: { type: "string", value: "NAME", help: "the access policy that asks" },
    "server-workload": {
      type: "string",
      value: "NAME",
      help: "instead: all policies of the agent there that let themselves be answered ahead",
    },
    operation: { type: "string", multiple: true, value: "NAME", help: "only this operation (repeatable)" },
    model: { type: "string", multiple: true, value: "NAME", help: "only this model (repeatable)" },
    for: { type: "string", value: "TIME", help: "how long, such as 30m, 1h or 90s" },
    uses: { type: "string", value: "COUNT", help: "how many requests" },
    task: { type: "string", value: "TEXT", help: "what for, for the audit log" },
  },
  details:
    "It allows nothing that no policy allows, and counts under the policy as it is now. Afterwards every request is asked for again.",
  run: async (invocation) => {
    const agent = oneWord(invocation, "agent");
    const { flags } = invocation;
    const operations = listFlag(flags["operation"]);
    const models = listFlag(flags["model"]);
    const request: GrantRequest = {
      ...{ agent, policy: stringFlag(flags["policy"]), serverWorkload: stringFlag(flags["server-workload"]) },
      ...{ seconds: secondsOf("--for", flags["for"]), uses: positiveCount("--uses", flags["uses"]) },
      ...(operations.length === 0 ? {} : { operations }),
      ...(models.length === 0 ? {} : { models }),
      task: stringFlag(flags["task"]),
    };
    if ((request.policy === undefined) === (request.serverWorkload === undefined))
      throw new UsageError("give one of --policy and --server-workload");
    const answer = await invocation.control.post<GrantSummary>("/v1/grants", request);
    invocation.print(invocation.json ? JSON.stringify(answer) : `grant ${line(answer)}`);
    return 0;
  },
};

const list: Command = {
  name: "grants list",
  usage: "grants list",
  summary: "list what was said yes to ahead",
  flags: { all: { type: "boolean", help: "also those that are over" } },
  run: async ({ control, flags, json, print, words }) => {
    if (words.length > 0) throw new UsageError("it takes no words");
    const answer = await control.get<GrantsResponse>(`/v1/grants${flags["all"] === true ? "?all" : ""}`);
    if (json) print(JSON.stringify(answer));
    else if (answer.grants.length === 0) print("there is no grant");
    else for (const each of answer.grants) print(line(each));
    return 0;
  },
};

const revoke: Command = {
  name: "grants revoke",
  usage: "grants revoke ID",
  summary: "end a grant now",
  flags: {},
  run: async (invocation) => {
    const id = oneWord(invocation, "id");
    const answer = await invocation.control.post<GrantSummary>(
      `/v1/grants/${encodeURIComponent(id)}/revoke`,
      {},
    );
    invocation.print(invocation.json ? JSON.stringify(answer) : `grant ${id} is revoked`);
    return 0;
  },
};

export const grantCommands: readonly Command[] = [grant, list, revoke];

const line = ({
  agent,
  by,
  expiresAt,
  id,
  models,
  operations,
  policies,
  state,
  task,
  usesLeft,
}: GrantSummary) =>
  [
    ...[id, state, agent, policies.join(","), (operations ?? ["every operation"]).map(visible).join(",")],
    ...(models === undefined ? [] : [models.map(visible).join(",")]),
    ...[`${usesLeft} uses left`, `until ${expiresAt}`, `by ${by}`],
    ...(task === undefined ? [] : [visible(task)]),
  ].join("  ");
