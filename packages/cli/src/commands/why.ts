// SPDX-License-Identifier: Apache-2.0
import type { WhyResponse } from "@postern/contract";
import { type Command, oneWord } from "../command.ts";

export const why: Command = {
  name: "why",
  usage: "why ID",
  summary: "explain a decision: which policy allowed it, or what was closest and what to change",
  flags: {},
  details:
    "ID is in the answer's `postern-audit-id` header, in the body of a refusal, and in `postern audit tail`.",
  run: async (invocation) => {
    const id = oneWord(invocation, "id").replace(/^urn:uuid:/, "");
    const answer = await invocation.control.get<WhyResponse>(`/v1/decisions/${encodeURIComponent(id)}`);
    invocation.print(invocation.json ? JSON.stringify(answer) : answer.text);
    return 0;
  },
};
