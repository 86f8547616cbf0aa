// SPDX-License-Identifier: Apache-2.0
/** Does `postern why` say of every kind of decision who decided it, which clause failed, and what was seen? */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Postern, type StandIns, startPostern, startStandIns } from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

const messages = [{ role: "user", content: "hi" }];

let standIns: StandIns;
let postern: Postern;
let agent: RunningAgent;
let stranger: RunningAgent;

const MORE = `\
kind: Approver
metadata: { name: ann }
spec: { identities: ["uid:${process.getuid!()}"] }
---
kind: AccessCondition
metadata: { name: modest }
spec: { kind: request, body: [{ pointer: /max_tokens, max: 1000 }] }
---
kind: AccessPolicy
metadata: { name: modest-only }
spec:
  agents: [agent]
  serverWorkload: openai
  credentialProvider: openai-credential
  conditions: [modest]
  allow: { operations: [chat.completions], models: [gpt-4o] }
---
kind: AccessPolicy
metadata: { name: never-opus }
spec:
  agents: [agent]
  serverWorkload: anthropic
  cedar: forbid (principal, action, resource) when { context has model && context.model like "claude-opus*" };
---
kind: AccessPolicy
metadata: { name: ask-first }
spec:
  agents: [agent]
  serverWorkload: openai
  credentialProvider: openai-credential
  approval: { approvers: [ann], wait: 0 }
  allow: { operations: [responses], models: [gpt-5] }
---
kind: AccessPolicy
metadata: { name: trial }
spec: { mode: dry-run, agents: [agent], serverWorkload: gemini, cedar: "forbid (principal, action, resource);" }
---
kind: Budget
metadata: { name: little }
spec: { appliesTo: { agents: [agent], serverWorkloads: [anthropic] }, period: month, limits: { requests: 1 } }
`;

async function ask(path: string, body?: object, by = agent) {
  const text = body === undefined ? "" : JSON.stringify(body);
  const head = `${body === undefined ? "GET" : "POST"} ${path} HTTP/1.1\r\nHost: ${by.authority}\r\n`;
  const type = "Content-Type: application/json\r\nAnthropic-Version: 2023-06-01\r\n";
  const answer = await by.send(`${head}${type}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
  const { code, stdout } = await postern.postern(["why", answer.headers["postern-audit-id"]!]);
  expect(code).toBe(0);
  return { answer, said: stdout.split("\n") };
}

const approvalOf = (body: Buffer): string =>
  (JSON.parse(body.toString()) as { approval: { id: string } }).approval.id;

beforeAll(async () => {
  standIns = await startStandIns();
  postern = await startPostern();
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  const resources = standIns
    .resources({ agents: ["agent", "stranger"], models: { openai: ["gpt-4o-mini"] } })
    .replaceAll('["agent","stranger"]', "[agent]");
  await postern.apply(`${resources}---\n${MORE}`);
  agent = await RunningAgent.start({ folder: postern.folder, agent: "agent" });
  stranger = await RunningAgent.start({ folder: postern.folder, agent: "stranger" });
});

afterAll(async () => {
  await Promise.all([agent?.stop(), stranger?.stop()]);
  await postern?.stop();
  await standIns?.close();
});

describe("why", () => {
  it("names the clause that failed, what it saw, and the policy that is nearest, first", async () => {
    const { said } = await ask("/openai/v1/chat/completions", { model: "gpt-4.1-mini", messages });
    expect(said).toContain(
      "deny (access_denied): agent agent, POST openai chat.completions with model gpt-4.1-mini",
    );
    const [closest] = said.flatMap((line, index) => (line.startsWith("  closest:") ? [index] : []));
    expect(said.slice(closest, closest! + 3)).toEqual([
      "  closest: `agents-may-use-openai`",
      "    models: wants `gpt-4o-mini`; saw `gpt-4.1-mini`",
      "      fix: add `gpt-4.1-mini` to spec.allow.models of AccessPolicy `agents-may-use-openai`; or did the request mean `gpt-4o-mini`?",
    ]);
  });

  it("says what was asked for where it is no known operation, and where no policy names the agent", async () => {
    const unknown = await ask("/openai/v1/organization/x");
    expect(unknown.said[0]).toBe(
      "deny (access_denied): agent agent, GET openai /v1/organization/x (no known operation)",
    );
    const other = await ask("/openai/v1/chat/completions", { model: "gpt-4o-mini", messages }, stranger);
    expect(other.said).toContain(
      "denied (no_matching_policy): no access policy names both agent `stranger` and server workload `openai`",
    );
  });

  it("says which condition does not hold, what was seen, and that nothing else is missing", async () => {
    const body = { model: "gpt-4o", messages, max_tokens: 5000 };
    const { said } = await ask("/openai/v1/chat/completions", body);
    expect(said).toContain("condition `modest` was not met: /max_tokens is 5000; wanted at most 1000");
    expect(said[said.findIndex((line) => line.includes("closest")) + 1]).toBe(
      "    conditions: `modest` does not hold for this request",
    );
    const allowed = await ask("/openai/v1/chat/completions", { ...body, max_tokens: 5 });
    expect(allowed.said).toContain("    conditions: `modest` held");
  });

  it("shows the text that forbade it", async () => {
    const { said } = await ask("/anthropic/v1/messages", {
      model: "claude-opus-5-5",
      messages,
      max_tokens: 5,
    });
    expect(said).toContain("  forbidden by `never-opus#0`");
    expect(said.join("\n")).toContain('context.model like "claude-opus*"');
  });

  it("says which budget is exhausted and how much it has", async () => {
    const body = { model: "claude-sonnet-5", messages, max_tokens: 5 };
    expect((await ask("/anthropic/v1/messages", body)).answer.status).toBe(200);
    const { answer, said } = await ask("/anthropic/v1/messages", body);
    expect(answer.status).toBe(429);
    expect(said).toContain(
      "the policies allowed it; then it was held back (exhausted, little/requests): `little` has 0 of 1 requests left: too little for what this request may use",
    );
    expect(said).toContain("  see what is left: postern budget show little");
  });

  it("says that a person is asked, has said yes, or has said no", async () => {
    const body = { model: "gpt-5", input: "one" };
    const pending = await ask("/openai/v1/responses", body);
    const id = approvalOf(pending.answer.body);
    expect(pending.said.join("\n")).toMatch(
      /the policies allowed it, by `ask-first`; then it was held back \(approval_pending\): .* waits until/,
    );
    expect(pending.said).toContain(`  see it: postern approvals show ${id}`);
    await postern.postern(["approvals", "approve", id]);
    const approved = await ask("/openai/v1/responses", body);
    expect(approved.said).toContain(`approved by ann: approval ${id}`);
    const other = { ...body, input: "two" };
    const denied = approvalOf((await ask("/openai/v1/responses", other)).answer.body);
    await postern.postern(["approvals", "deny", denied]);
    const { said } = await ask("/openai/v1/responses", other);
    expect(said).toContain(
      `the policies allowed it, by \`ask-first\`; then it was held back (approval_denied): a person refused this request: approval ${denied}`,
    );
  });

  it("says what a policy in dry-run would do, and what was refused before any policy was asked", async () => {
    const path = "/gemini/v1beta/models/gemini-2.5-flash:generateContent";
    const { answer, said } = await ask(path, { contents: [{ parts: [{ text: "hi" }] }] });
    expect(answer.status).toBe(200);
    expect(said).toContain(
      "  DRY-RUN, not in force: with the policies in dry-run it would be denied by `trial`",
    );
    const twice = await ask("/openai/v1/chat/completions", { model: "gpt-4o", Model: "x" });
    expect(twice.said).toContain(
      "refused before any policy was asked (duplicate_field): the body names the model twice or in another spelling",
    );
  });
});
