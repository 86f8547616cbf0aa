// SPDX-License-Identifier: Apache-2.0
import type { AgentStateResponse } from "@postern/contract";
import { type Command, oneWord, stringFlag } from "../command.ts";

const cut: Command = {
  name: "cut",
  usage: "cut AGENT",
  summary: "cut an agent off now: its open streams end, its next request is refused",
  flags: { reason: { type: "string", value: "TEXT", help: "why, for the audit log" } },
  run: async (invocation) => {
    const agent = oneWord(invocation, "agent");
    const answer = await invocation.control.post<AgentStateResponse>(
      `/v1/agents/${encodeURIComponent(agent)}/cut`,
      {
        reason: stringFlag(invocation.flags["reason"]),
      },
    );
    invocation.print(
      invocation.json
        ? JSON.stringify(answer)
        : `agent ${agent} is cut off; ${answer.ended} open exchange(s) ended. Undo with \`postern restore ${agent}\``,
    );
    return 0;
  },
};

const restore: Command = {
  name: "restore",
  usage: "restore AGENT",
  summary: "let an agent that was cut off pass again",
  flags: {},
  run: async (invocation) => {
    const agent = oneWord(invocation, "agent");
    const answer = await invocation.control.post<AgentStateResponse>(
      `/v1/agents/${encodeURIComponent(agent)}/restore`,
      {},
    );
    invocation.print(
      invocation.json ? JSON.stringify(answer) : `agent ${agent} may pass again, as policies allow`,
    );
    return 0;
  },
};

export const agentCommands: readonly Command[] = [cut, restore];
