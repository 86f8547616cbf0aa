// SPDX-License-Identifier: Apache-2.0
/** What a person has to say yes to: asked, shown to the byte, released once, over time-outs and restarts. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startPostern, startStandIns, type Postern, type StandIns } from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

const UID = process.getuid!();

let standIns: StandIns;
let postern: Postern;
let agent: RunningAgent;

/** The stand-ins' resources with this approval at OpenAI. */
const resources = (approval: object): string =>
  `kind: Approver\nmetadata: { name: ann }\nspec: { identities: ["uid:${UID}"] }\n---\n` +
  standIns
    .resources({ agents: ["agent"] })
    .replace(
      "metadata: { name: agents-may-use-openai }\nspec:\n",
      `$&  approval: ${JSON.stringify({ approvers: ["ann"], wait: 0, ...approval })}\n`,
    );

beforeAll(async () => {
  standIns = await startStandIns();
  postern = await startPostern();
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(resources({}));
  agent = await RunningAgent.start({ folder: postern.folder, agent: "agent" });
});

afterAll(async () => {
  await agent?.stop();
  await postern?.stop();
  await standIns?.close();
});

beforeEach(() => standIns.openai.forgetRequests());

function chat(content: string, headers: readonly string[] = []): string {
  const body = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content }] });
  const lines = [
    "POST /openai/v1/chat/completions HTTP/1.1",
    `Host: ${agent.authority}`,
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...headers,
  ];
  return `${lines.join("\r\n")}\r\n\r\n${Buffer.from(body).toString("latin1")}`;
}

interface Waiting {
  readonly approval: { readonly id: string; readonly status: string; readonly digest: string };
}

async function ask(content: string, headers?: readonly string[]) {
  const answer = await agent.send(chat(content, headers));
  const approval =
    answer.status === 403 ? (JSON.parse(answer.body.toString()) as Partial<Waiting>).approval : undefined;
  return { ...answer, approval };
}

const say = (verdict: string, id: string | undefined) => postern.postern(["approvals", verdict, id ?? "?"]);

async function events(kind: string): Promise<Record<string, unknown>[]> {
  const { stdout } = await postern.postern(["audit", "tail", "--json", "-n", "500"]);
  return stdout
    .trim()
    .split("\n")
    .map((text) => (JSON.parse(text) as { unmapped: Record<string, unknown> }).unmapped)
    .filter((event) => event["kind"] === kind);
}

describe("a request that needs a person", () => {
  it("is refused with what it waits for, in a way that clients try again", async () => {
    const waiting = await ask("refused at first");
    expect(waiting).toMatchObject({ status: 403, code: "approval_required" });
    expect(waiting.headers["retry-after"]).toBe("5");
    expect(waiting.headers["x-should-retry"]).toBe("true");
    expect(waiting.approval).toMatchObject({ status: "pending" });
    expect((await ask("refused at first")).approval?.id).toBe(waiting.approval!.id);
    expect(standIns.openai.requests).toHaveLength(0);
  });

  it("is shown to the byte, released once, and asked for anew after that", async () => {
    const { approval } = await ask("pay 10 €");
    const shown = await postern.postern(["approvals", "show", approval!.id, "--json"]);
    const { request } = JSON.parse(shown.stdout) as { request: { body: string; path: string } };
    expect(request.path).toBe("/v1/chat/completions");
    expect(Buffer.from(request.body, "base64").toString()).toContain("pay 10 €");
    expect(shown.stdout).not.toContain("PosternPlaceholder");
    expect(await say("approve", approval!.id)).toMatchObject({ code: 0 });
    expect((await ask("pay 10 €")).status).toBe(200);
    expect(standIns.openai.requests).toHaveLength(1);
    const again = await ask("pay 10 €");
    expect(again).toMatchObject({ status: 403, code: "approval_required" });
    expect(again.approval!.id).not.toBe(approval!.id);
    const [released] = (await events("decision")).filter((event) => event["approved_by"] !== undefined);
    expect(released).toMatchObject({
      ...{ outcome: "allow", approval: approval!.id, approved_by: ["ann"] },
      request_digest: approval!.digest,
    });
    expect(await events("approval")).toContainEqual(
      expect.objectContaining({ change: "approve", person: "ann", identity: `uid:${UID}` }),
    );
  });

  it("is another one when a byte of it differs", async () => {
    const { approval } = await ask("pay 10");
    await say("approve", approval!.id);
    const changed = await ask("pay 90");
    expect(changed).toMatchObject({ status: 403, code: "approval_required" });
    expect(changed.approval!.id).not.toBe(approval!.id);
    expect((await ask("pay 10", ["X-Extra: 1"])).code).toBe("approval_required");
    expect(standIns.openai.requests).toHaveLength(0);
    expect((await ask("pay 10")).status).toBe(200);
  });

  it("goes out once although many tries race for one yes", async () => {
    const { approval } = await ask("racing");
    await say("approve", approval!.id);
    const answers = await Promise.all(Array.from({ length: 12 }, () => ask("racing")));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(standIns.openai.requests).toHaveLength(1);
  });

  it("stays refused after a no, without asking again", async () => {
    const { approval } = await ask("never");
    expect(await say("deny", approval!.id)).toMatchObject({ code: 0 });
    const refused = await ask("never");
    expect(refused).toMatchObject({ status: 403, code: "access_denied" });
    expect(refused.headers["x-should-retry"]).toBe("false");
    expect(refused.approval).toMatchObject({ id: approval!.id, status: "denied" });
    expect((await say("approve", approval!.id)).code).toBe(1);
  });

  it("is not released by what was said under another policy", async () => {
    const { approval } = await ask("policy changes");
    await say("approve", approval!.id);
    await postern.apply(resources({ uses: 2 }));
    expect((await ask("policy changes")).code).toBe("approval_required");
    await postern.apply(resources({}));
    expect((await ask("policy changes")).status).toBe(200);
  });

  it("finds its answer after a restart in the middle", async () => {
    const { approval } = await ask("restart");
    const { folder } = postern;
    await agent.stop();
    await postern.server.stop();
    postern = await startPostern({ folder });
    await say("approve", approval!.id);
    await postern.server.stop();
    postern = await startPostern({ folder });
    agent = await RunningAgent.start({ folder, agent: "agent" });
    expect((await ask("restart")).status).toBe(200);
    expect((await ask("restart")).code).toBe("approval_required");
  });
});
