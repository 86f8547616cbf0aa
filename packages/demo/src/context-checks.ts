// SPDX-License-Identifier: Apache-2.0
/** Does a decision look at more than who asks: at what the request holds, at what was used, and at a person's yes? */
import type { RunningProgram } from "@postern/testkit";
import { type Check, jsonLines, type Stage } from "./stage.ts";

const CAREFUL_AGENT = "careful-agent";
const [TOO_LARGE, MODEST, FOR_A_PERSON] = ["gpt-4o:5000", "gpt-4o:50", "gpt-5:50"];

const resources = (): string => `\
kind: Agent
metadata: { name: ${CAREFUL_AGENT} }
spec: { trustProvider: local, selectors: ["process:uid=${process.getuid?.() ?? 0}", "process:agent=${CAREFUL_AGENT}"] }
---
kind: AccessCondition
metadata: { name: modest }
spec: { kind: request, body: [{ pointer: /max_tokens, max: 1000 }] }
---
kind: AccessPolicy
metadata: { name: while-modest }
spec: { agents: [${CAREFUL_AGENT}], serverWorkload: openai, credentialProvider: openai-credential, conditions: [modest], allow: { models: [gpt-4o] } }
---
kind: Budget
metadata: { name: one-request }
spec: { appliesTo: { agents: [${CAREFUL_AGENT}], models: [gpt-4o] }, period: month, limits: { requests: 1 } }
---
kind: Approver
metadata: { name: you }
spec: { identities: ["uid:${process.getuid?.() ?? 0}"] }
---
kind: AccessPolicy
metadata: { name: after-a-yes }
spec: { agents: [${CAREFUL_AGENT}], serverWorkload: openai, credentialProvider: openai-credential, approval: { approvers: [you], wait: 30 }, allow: { models: [gpt-5] } }
`;

interface Line {
  readonly event: "asking" | "answer";
  readonly word: string;
  readonly status?: number;
  readonly code?: string;
}

export async function checkContext(stage: Stage): Promise<Check[]> {
  await stage.postern.apply(resources());
  const { openai } = stage.standIns;
  const before = openai.requests.length;
  const args = [TOO_LARGE, MODEST, MODEST, FOR_A_PERSON];
  const agent = stage.startAgent(CAREFUL_AGENT, "ask-in-turn.ts", { args });
  try {
    const leftUnasked = await approveWhenAsked(stage, agent);
    await agent.ended;
    const [tooLarge, first, second, approved] = jsonLines<Line>(agent.stdout).filter(
      ({ event }) => event === "answer",
    );
    const sent = openai.requests.length - before;
    return [
      check("a condition refuses what asks for too much", tooLarge, 403, first?.status === 200),
      check("a budget ends when it is used", second, 429, first?.status === 200),
      check(
        "nothing leaves before a person's yes, then it goes once",
        approved,
        200,
        leftUnasked && sent === 2,
      ),
    ];
  } finally {
    await agent.stop();
  }
}

/** Whether the request was still held when the person was asked. */
async function approveWhenAsked({ postern, standIns }: Stage, agent: RunningProgram): Promise<boolean> {
  await agent.line((line) => line.includes(`"asking","word":"${FOR_A_PERSON}"`));
  const before = standIns.openai.requests.length;
  for (let attempt = 0; attempt < 10; attempt++) {
    const { stdout } = await postern.postern(["approvals", "list", "--json"]);
    const id = /"id":"([0-9a-f-]{36})"/.exec(stdout)?.[1];
    if (id === undefined) continue;
    const isHeld = standIns.openai.requests.length === before;
    return isHeld && (await postern.postern(["approvals", "approve", id])).code === 0;
  }
  return false;
}

const check = (name: string, line: Line | undefined, status: number, isRest: boolean): Check => ({
  name,
  ok: line?.status === status && isRest,
  detail: `status ${line?.status ?? "unknown"}${line?.code === undefined ? "" : ` ${line.code}`}`,
});
