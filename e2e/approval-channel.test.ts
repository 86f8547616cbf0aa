// SPDX-License-Identifier: Apache-2.0
/** Persons who are not at the machine: signed messages out, signed clicks in, and what does not count as one. */
import { createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  createTestAuthority,
  startPostern,
  startStandIns,
  type Postern,
  type StandIns,
} from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

const SECRET = randomBytes(24).toString("hex");

interface Message {
  readonly signature: string;
  readonly timestamp: string;
  readonly text: string;
}

let folder: string;
let hook: Server;
let messages: Message[];
let heard: () => void = () => {};
let standIns: StandIns;
let postern: Postern;
let agent: RunningAgent;
let args: string[];
let url: string;
let environment: Record<string, string>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-channel-"));
  const authority = await createTestAuthority();
  const { certificate, privateKey } = await authority.issue(["127.0.0.1"]);
  hook = createServer({ cert: certificate, key: privateKey }, (incoming, answer) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      const header = (name: string): string => String(incoming.headers[name]);
      const [signature, timestamp] = [header("x-slack-signature"), header("x-slack-request-timestamp")];
      messages.push({ signature, timestamp, text: Buffer.concat(chunks).toString() });
      answer.end("ok");
      heard();
    });
  });
  hook.listen(0, "127.0.0.1");
  await once(hook, "listening");
  writeFileSync(join(folder, "ca.pem"), authority.certificate);
  environment = { NODE_EXTRA_CA_CERTS: join(folder, "ca.pem") };
  url = `https://127.0.0.1:${(hook.address() as AddressInfo).port}/services/T0/B0/${randomBytes(12).toString("hex")}`;
  args = [
    ...["--approvals-webhook", "slack-webhook", "--approvals-signing-secret", "slack-signing-secret"],
    ...["--approvals-listen", `unix:${join(folder, "clicks.sock")}`],
  ];
  standIns = await startStandIns();
  postern = await startPostern({
    args: [...args, "--approvals-webhook-network", "127.0.0.0/8"],
    env: environment,
  });
  await fill(postern);
  agent = await RunningAgent.start({ folder: postern.folder, agent: "agent" });
});

afterAll(async () => {
  await agent?.stop();
  await postern?.stop();
  await standIns?.close();
  hook?.close();
  rmSync(folder, { recursive: true, force: true });
});

beforeEach(() => {
  standIns.openai.forgetRequests();
  messages = [];
});

async function fill(server: Postern): Promise<void> {
  const secrets = { ...standIns.secrets, "slack-webhook": url, "slack-signing-secret": SECRET };
  // eslint-disable-next-line no-await-in-loop
  for (const [name, value] of Object.entries(secrets)) await server.setSecret(name, value);
  await server.apply(resources({}));
}

const resources = (approval: object): string =>
  `kind: Approver\nmetadata: { name: ann }\nspec: { identities: ["uid:${process.getuid!()}"] }\n---\n` +
  'kind: Approver\nmetadata: { name: bob }\nspec: { identities: ["slack:T1/UBOB"] }\n---\n' +
  standIns
    .resources({ agents: ["agent"] })
    .replace(
      "metadata: { name: agents-may-use-openai }\nspec:\n",
      `$&  approval: ${JSON.stringify({ approvers: ["ann", "bob"], wait: 0, ...approval })}\n`,
    );

async function ask(content: string) {
  const body = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content }] });
  const answer = await agent.send(
    `POST /openai/v1/chat/completions HTTP/1.1\r\nHost: ${agent.authority}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  return { status: answer.status, code: answer.code };
}

async function message(): Promise<Message> {
  while (messages.length === 0) await new Promise<void>((resolve) => (heard = resolve));
  return messages.shift()!;
}

/** Values of the buttons, by action. */
function buttons({ text }: Message): Record<string, string> {
  const { blocks } = JSON.parse(text) as {
    blocks: { elements?: { action_id: string; value: string }[] }[];
  };
  return Object.fromEntries(
    blocks.flatMap(({ elements = [] }) => elements.map(({ action_id, value }) => [action_id, value])),
  );
}

const sign = (timestamp: string, body: string, secret = SECRET): string =>
  `v0=${createHmac("sha256", secret).update(`v0:${timestamp}:${body}`).digest("hex")}`;

const clickOn = (value: string, user = "UBOB", action = "postern_approve", team = "T1"): string =>
  new URLSearchParams({
    payload: JSON.stringify({
      ...{ type: "block_actions", user: { id: user, team_id: team } },
      actions: [{ action_id: action, value }],
    }),
  }).toString();

async function send(body: string, more: { timestamp?: string; signature?: string } = {}): Promise<number> {
  const { timestamp = String(Math.floor(Date.now() / 1000)) } = more;
  const headers = {
    "x-slack-request-timestamp": timestamp,
    "x-slack-signature": more.signature ?? sign(timestamp, body),
    "content-length": Buffer.byteLength(body),
  };
  const outgoing = request({
    ...{ socketPath: join(folder, "clicks.sock"), path: "/slack/actions", method: "POST", headers },
  });
  outgoing.end(body);
  const [answer] = (await once(outgoing, "response")) as [{ statusCode: number; resume(): void }];
  answer.resume();
  return answer.statusCode;
}

const byCode = (codes: readonly number[]): number[] => codes.toSorted((a, b) => a - b);

describe("a question", () => {
  it("is sent as a signed message that shows the request and gives it no markup", async () => {
    await ask("<!channel> *pay* \u202E now");
    const { signature, text, timestamp } = await message();
    expect(signature).toBe(sign(timestamp, text));
    expect(text).toContain("chat/completions");
    expect(text).not.toContain('"mrkdwn"');
    expect(text).not.toContain("\u202E");
  });

  it("is answered by a click, once, together with a person at the machine", async () => {
    await postern.apply(resources({ needed: 2 }));
    await ask("two persons");
    const value = buttons(await message())["postern_approve"]!;
    expect(await postern.postern(["approvals", "approve", value.split(":")[0]!])).toMatchObject({ code: 0 });
    expect((await ask("two persons")).code).toBe("approval_required");
    const [body, timestamp] = [clickOn(value), String(Math.floor(Date.now() / 1000))];
    expect(await send(body, { timestamp })).toBe(200);
    expect((await ask("two persons")).status).toBe(200);
    expect(standIns.openai.requests).toHaveLength(1);
    expect(await send(body, { timestamp })).toBe(409);
    expect((await ask("two persons")).code).toBe("approval_required");
    await postern.apply(resources({}));
  });

  it("is answered by two persons at once, who click on the same message, and released once", async () => {
    const two =
      "kind: Approver\nmetadata: { name: cleo }\nspec: { identities: [slack:T1/UCLEO, slack:T2/UCLEO] }\n---\n";
    await postern.apply(two + resources({ needed: 2, approvers: ["bob", "cleo"] }));
    await ask("clicked by two");
    const value = buttons(await message())["postern_approve"]!;
    const both = [clickOn(value, "UCLEO"), clickOn(value, "UCLEO", "postern_approve", "T2")];
    expect(byCode(await Promise.all(both.map((body) => send(body))))).toEqual([200, 409]);
    expect((await ask("clicked by two")).code).toBe("approval_required");
    const clicks = Array.from({ length: 3 }, (_, n) => send(`${clickOn(value)}&n=${n}`));
    expect(byCode(await Promise.all(clicks))).toEqual([200, 409, 409]);
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask("clicked by two")));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(standIns.openai.requests).toHaveLength(1);
    await postern.apply(resources({}));
  });

  it("is not answered by the owner of the agent, whichever identity clicks", async () => {
    await postern.apply(resources({}).replace("  purpose: calls", "  owner: bob\n  purpose: calls"));
    await ask("owned");
    expect(await send(clickOn(buttons(await message())["postern_approve"]!))).toBe(403);
    expect((await ask("owned")).code).toBe("approval_required");
    await postern.apply(resources({}));
  });

  it("is refused by a click", async () => {
    await ask("not this");
    expect(await send(clickOn(buttons(await message())["postern_deny"]!, "UBOB", "postern_deny"))).toBe(200);
    expect((await ask("not this")).code).toBe("access_denied");
  });
});

describe("what is no click", () => {
  it("releases nothing: forged, old, of nobody who is asked, or about another request", async () => {
    await ask("attacked");
    const value = buttons(await message())["postern_approve"]!;
    const body = clickOn(value);
    const now = Math.floor(Date.now() / 1000);
    const old = String(now - 400);
    expect(await send(body, { signature: sign(String(now), body, "wrong secret of 32 characters...") })).toBe(
      401,
    );
    expect(await send(body, { timestamp: old })).toBe(401);
    expect(await send(`${body}&x=1`, { signature: sign(String(now), body), timestamp: String(now) })).toBe(
      401,
    );
    expect(await send(clickOn(value, "UEVE"))).toBe(403);
    expect(await send(clickOn(value, "UBOB", "postern_approve", "T2"))).toBe(403);
    expect(await send(clickOn(value, "UEVE", "postern_deny"))).toBe(403);
    expect(await send(clickOn(`${value.split(":")[0]}:${"0".repeat(64)}`))).toBe(404);
    expect(await send("payload={}")).toBe(400);
    expect(await send("x".repeat(200_000))).toBe(413);
    expect((await ask("attacked")).code).toBe("approval_required");
    expect(standIns.openai.requests).toHaveLength(0);
  });
});

describe("the webhook", () => {
  it("is not called at an address of a special-purpose network that no operator has listed", async () => {
    const other = await startPostern({
      args: args.map((word) => word.replace("clicks.sock", "other.sock")),
      env: environment,
    });
    try {
      await fill(other);
      const elsewhere = await RunningAgent.start({ folder: other.folder, agent: "agent" });
      const body = JSON.stringify({ model: "gpt-4o-mini", messages: [] });
      await elsewhere.send(
        `POST /openai/v1/chat/completions HTTP/1.1\r\nHost: ${elsewhere.authority}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      await other.server.line((line) => line.includes("authority_address_prohibited"));
      expect(messages).toEqual([]);
      await elsewhere.stop();
    } finally {
      await other.stop();
    }
  });
});
