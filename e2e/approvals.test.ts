// SPDX-License-Identifier: Apache-2.0
/** What a person has to say yes to: asked, shown to the byte, released once, over time-outs and restarts. */
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  POSTERN,
  startPostern,
  startProgram,
  startStandIns,
  type Postern,
  type StandIns,
} from "@postern/testkit";
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
      `$&  approval: ${JSON.stringify({ approvers: ["ann"], wait: 0, asksPerHour: 1000, ...approval })}\n`,
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

  it("goes out once although a hundred tries race for one yes, said by several commands at once", async () => {
    const { approval } = await ask("racing");
    const said = await Promise.all(Array.from({ length: 3 }, () => say("approve", approval!.id)));
    expect(said.filter(({ code }) => code === 0)).toHaveLength(1);
    const answers = await Promise.all(Array.from({ length: 100 }, () => ask("racing")));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(standIns.openai.requests).toHaveLength(1);
  });

  it("is another one by another method, path or query, or at another server workload", async () => {
    const body = "{}";
    const send = async (line: string) => {
      const head = `${line} HTTP/1.1\r\nHost: ${agent.authority}\r\nContent-Type: application/json`;
      const answer = await agent.send(`${head}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      return { ...answer, ...(JSON.parse(answer.body.toString()) as Partial<Waiting>) };
    };
    await postern.apply(resources({}).replaceAll(/allow: \{"models":.*\}/g, "allow: { everything: true }"));
    const { approval } = await send("POST /openai/v1/things?a=1");
    await say("approve", approval!.id);
    const others = ["PUT /openai/v1/things?a=1", "POST /openai/v1/things/?a=1", "POST /openai/v1/things?a=2"];
    for (const line of others)
      // eslint-disable-next-line no-await-in-loop
      expect((await send(line)).approval?.id).not.toBe(approval!.id);
    await send("POST /anthropic/v1/things?a=1");
    expect(standIns.openai.requests).toHaveLength(0);
    const { stdout } = await postern.postern(["approvals", "list", "--all", "--json"]);
    const { approvals } = JSON.parse(stdout) as { approvals: { id: string; state: string }[] };
    expect(approvals.find(({ id }) => id === approval!.id)?.state).toBe("approved");
    await postern.apply(resources({}));
  });

  it("is explained with who said yes, and its asking, answer and release verify in the log", async () => {
    const { approval, headers: asked } = await ask("explained");
    await say("approve", approval!.id);
    const { headers: released } = await ask("explained");
    const why = async (headers: Record<string, unknown>) =>
      (await postern.postern(["why", String(headers["postern-audit-id"])])).stdout;
    expect(await why(asked)).toContain(`postern approvals show ${approval!.id}`);
    expect(await why(released)).toContain(`approved by ann: approval ${approval!.id}`);
    const file = join(postern.folder, "exported-log");
    expect(await postern.postern(["audit", "export", file])).toMatchObject({ code: 0 });
    expect(await postern.postern(["audit", "verify", file])).toMatchObject({ code: 0 });
    const all = [...(await events("decision")), ...(await events("approval"))];
    const told = all.filter((event) => event["approval"] === approval!.id);
    const steps = new Set(told.map(({ outcome, change }) => outcome ?? change));
    expect([told.length, steps]).toEqual([3, new Set(["allow", "approve", "deny"])]);
    for (const event of told) expect(event["request_digest"]).toBe(approval!.digest);
  });

  it("is asked of nobody once the agent has asked so often, and told so", async () => {
    await postern.apply(resources({ asksPerHour: 1 }));
    const refused = await ask("one more");
    expect(refused).toMatchObject({ status: 403, code: "approval_required", approval: undefined });
    expect(JSON.parse(refused.body.toString())).toMatchObject({ reasons: ["approval_limit"] });
    expect(refused.headers["x-should-retry"]).toBe("false");
    await postern.apply(resources({}));
  });

  it("is over when nobody answers in time, and when a yes is not used in time", async () => {
    await postern.apply(resources({ validFor: 1 }));
    const { approval } = await ask("too late");
    await say("approve", approval!.id);
    const until = async (state: string) => {
      for (;;) {
        // eslint-disable-next-line no-await-in-loop
        const { stdout } = await postern.postern(["approvals", "show", approval!.id, "--json"]);
        if ((JSON.parse(stdout) as { state: string }).state === state) return;
        // eslint-disable-next-line no-await-in-loop
        await postern.postern(["approvals", "list"]);
      }
    };
    await until("expired");
    expect((await ask("too late")).code).toBe("approval_required");
    expect((await say("approve", approval!.id)).code).toBe(1);
    expect(standIns.openai.requests).toHaveLength(0);
    await postern.apply(resources({}));
  });

  it("needs no person where its amount is small, which has to be there and be read in one way", async () => {
    const condition =
      "kind: AccessCondition\nmetadata: { name: small }\nspec: { kind: request, body: [{ pointer: /max_tokens, max: 100 }] }\n---\n";
    await postern.apply(condition + resources({ unless: ["small"] }));
    const pay = async (amount: string) => {
      const body = `{"model":"gpt-4o-mini","messages":[]${amount}}`;
      const head = `POST /openai/v1/chat/completions HTTP/1.1\r\nHost: ${agent.authority}\r\nContent-Type: application/json`;
      const { code, status } = await agent.send(`${head}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      return code ?? status;
    };
    expect(await pay(',"max_tokens":100')).toBe(200);
    for (const amount of [
      ',"max_tokens":101',
      "",
      ',"max_tokens":"5"',
      ',"max_tokens":5,"max_tokens":500',
      ',"max_tokens":1e2000',
      ',"max_tokens":99.99999999999999999',
    ])
      // eslint-disable-next-line no-await-in-loop
      expect(await pay(amount), amount).not.toBe(200);
    expect(standIns.openai.requests).toHaveLength(1);
    await postern.apply(resources({}));
  });

  it("needs a person at the first use only, where the policy says so", async () => {
    await postern.apply(resources({ when: "first-use" }));
    const { approval } = await ask("first");
    expect((await ask("second")).code).toBe("approval_required");
    await say("approve", approval!.id);
    expect((await ask("first")).status).toBe(200);
    expect((await ask("third")).status).toBe(200);
    await postern.apply(resources({}));
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

describe("what nobody can be shown is refused at once", () => {
  const refused = async (lines: readonly string[], body = "") => {
    const head = ["POST /openai/v1/files HTTP/1.1", `Host: ${agent.authority}`, ...lines].join("\r\n");
    const { code, status, body: problem } = await agent.send(`${head}\r\n\r\n${body}`);
    return { code, status, reasons: (JSON.parse(problem.toString()) as { reasons?: string[] }).reasons };
  };
  beforeAll(() =>
    postern.apply(resources({}).replaceAll(/allow: \{"models":.*\}/g, "allow: { everything: true }")),
  );
  afterAll(() => postern.apply(resources({})));

  it("a body that is larger than is kept, before it was read", async () => {
    expect(await refused(["Content-Length: 1048577"])).toEqual({
      ...{ status: 413, code: "request_too_large", reasons: ["approval_impossible"] },
    });
  });

  it("a body that only turns out to be", async () => {
    const piece = `${(65_536).toString(16)}\r\n${"x".repeat(65_536)}\r\n`;
    expect(await refused(["Transfer-Encoding: chunked"], piece.repeat(17))).toMatchObject({
      ...{ status: 413, reasons: ["approval_impossible"] },
    });
  });

  it("a compressed body", async () => {
    const lines = ["Content-Encoding: gzip", "Content-Length: 3"];
    expect(await refused(lines, "abc")).toMatchObject({ code: "request_malformed" });
  });

  it("a WebSocket", async () => {
    const head = [
      `GET /openai/v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: ${agent.authority}`,
      "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    const { code, body } = await agent.send(`${head.join("\r\n")}\r\n\r\n`);
    expect(code).toBe("access_denied");
    expect(JSON.parse(body.toString())).toMatchObject({ reasons: ["approval_impossible"] });
    expect(standIns.openai.requests).toHaveLength(0);
  });

  it("but a body that streams in is, whole, once it is there", async () => {
    const head = `POST /openai/v1/unknown HTTP/1.1\r\nHost: ${agent.authority}\r\nTransfer-Encoding: chunked`;
    const { body } = await agent.send(`${head}\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n`);
    const { approval } = JSON.parse(body.toString()) as Waiting;
    const shown = await postern.postern(["approvals", "show", approval.id]);
    expect(shown.stdout).toContain("  | POST /v1/unknown\n");
    expect(shown.stdout).toContain("body, 5 bytes:\n  | abcde");
  });
});

describe("a person's terminal", () => {
  it("shows what an agent wrote as what it is", async () => {
    const evil = "\u001b[2J\nneeds 0 of nobody\r\u202Eapproved";
    const { approval } = await ask(evil);
    for (const words of [["show", approval!.id], ["list"]]) {
      // eslint-disable-next-line no-await-in-loop
      const { stdout } = await postern.postern(["approvals", ...words]);
      expect(stdout).toContain(approval!.id);
      // eslint-disable-next-line no-control-regex
      expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/);
      expect(stdout).not.toMatch(/^needs 0/m);
    }
  });
});

describe("a client", () => {
  const holding = { wait: 30 };
  beforeAll(() => postern.apply(resources(holding)));
  afterAll(() => postern.apply(resources({})));

  const pending = async (): Promise<string> => {
    for (;;) {
      // eslint-disable-next-line no-await-in-loop
      const { stdout } = await postern.postern(["approvals", "list", "--json"]);
      const { approvals } = JSON.parse(stdout) as { approvals: { id: string; policies: string[] }[] };
      const [newest] = approvals;
      if (newest !== undefined && !known.has(newest.id)) {
        known.add(newest.id);
        return newest.id;
      }
    }
  };
  const known = new Set<string>();
  beforeAll(async () => {
    const { stdout } = await postern.postern(["approvals", "list", "--json"]);
    for (const { id } of (JSON.parse(stdout) as { approvals: { id: string }[] }).approvals) known.add(id);
  });

  it("that is held gets its answer as soon as somebody says yes", async () => {
    const answer = ask("held");
    await say("approve", await pending());
    expect((await answer).status).toBe(200);
  });

  it("that is held learns of a no at once", async () => {
    const answer = ask("held in vain");
    await say("deny", await pending());
    expect(await answer).toMatchObject({ code: "access_denied" });
  });

  it("that gave up finds the yes when it comes back", async () => {
    const connection = agent.connect();
    connection.write(chat("impatient"));
    const id = await pending();
    connection.destroy();
    await say("approve", id);
    expect(standIns.openai.requests).toHaveLength(0);
    expect((await ask("impatient")).status).toBe(200);
    expect(standIns.openai.requests).toHaveLength(1);
  });

  it("that was cut while it was held gets nothing, whatever is said then", async () => {
    const connection = agent.connect();
    connection.write(chat("cut while held"));
    const id = await pending();
    await postern.postern(["cut", "agent"]);
    await connection.closed();
    await say("approve", id);
    expect((await ask("cut while held")).code).toBe("agent_quarantined");
    await postern.postern(["restore", "agent"]);
    expect(standIns.openai.requests).toHaveLength(0);
    expect((await ask("cut while held")).status).toBe(200);
  });
});

describe("nobody says yes to their own request", () => {
  const words = (id: string): string => `approvals approve ${id}`;

  it("from inside the agent's run, isolated or not", async () => {
    const { approval } = await ask("from inside");
    for (const isolation of [[], ["--no-isolate"]]) {
      const command = [
        "run",
        ...isolation,
        "--agent",
        "agent",
        "--",
        POSTERN,
        ...[...words(approval!.id).split(" "), "--data", postern.folder],
      ];
      // eslint-disable-next-line no-await-in-loop
      const { code, stderr } = await postern.postern(command);
      expect(code).not.toBe(0);
      if (isolation.length > 0) expect(stderr).toContain("no agent approves");
    }
    expect((await ask("from inside")).code).toBe("approval_required");
  });

  it("from the program that started the run", async () => {
    const { approval } = await ask("from outside");
    const script = `"$1" run --agent agent -- sh -c 'echo up; exec sleep 60' | { read up; "$1" ${words(approval!.id)}; echo "code $?"; }`;
    const owner = startProgram("sh", ["-c", script, "sh", POSTERN], {
      env: { POSTERN_HOME: postern.folder },
    });
    expect(await owner.line((line) => line.startsWith("code "))).toBe("code 1");
    expect(owner.stderr).toContain("approve from another terminal");
    await owner.stop();
    expect((await ask("from outside")).code).toBe("approval_required");
    expect(await say("approve", approval!.id)).toMatchObject({ code: 0 });
  });

  it("as the owner of the agent", async () => {
    await postern.apply(resources({}).replace("  purpose: calls", "  owner: ann\n  purpose: calls"));
    const { approval } = await ask("by the owner");
    const said = await say("approve", approval!.id);
    expect(said.code).toBe(1);
    expect(said.stderr).toContain("somebody else has to approve");
    await postern.apply(resources({}));
  });

  it("alone, where two have to", async () => {
    const bob = 'kind: Approver\nmetadata: { name: bob }\nspec: { identities: ["slack:T1/UBOB"] }\n---\n';
    await postern.apply(bob + resources({ needed: 2, approvers: ["ann", "bob"] }));
    const { approval } = await ask("two persons");
    expect(await say("approve", approval!.id)).toMatchObject({ code: 0 });
    expect((await say("approve", approval!.id)).stderr).toContain("said yes already");
    expect((await ask("two persons")).code).toBe("approval_required");
    expect(standIns.openai.requests).toHaveLength(0);
  });
});

describe("a grant", () => {
  beforeAll(() => postern.apply(resources({ grants: { longest: 3600, mostUses: 10 } })));
  afterAll(() => postern.apply(resources({})));
  const words = ["--policy", "agents-may-use-openai", "--for", "10m", "--task", "nightly report"];

  it("lets so many requests pass, each its own, and no more", async () => {
    const given = await postern.postern([
      "grant",
      "agent",
      ...words,
      "--uses",
      "2",
      "--operation",
      "chat.completions",
    ]);
    expect(given).toMatchObject({ code: 0 });
    expect((await ask("granted 1")).status).toBe(200);
    expect((await ask("granted 2")).status).toBe(200);
    expect((await ask("granted 3")).code).toBe("approval_required");
    expect((await postern.postern(["grants", "list"])).stdout).toContain("there is no grant");
    expect(await events("grant")).toContainEqual(
      expect.objectContaining({ change: "create", person: "ann", task: "nightly report" }),
    );
  });

  it("ends with its time, and holds nothing open for an agent that is cut", async () => {
    const give = (time: string) =>
      postern.postern([
        ...["grant", "agent", "--policy", "agents-may-use-openai"],
        ...["--uses", "5", "--for", time, "--json"],
      ]);
    await give("1s");
    let list = "";
    while (!list.includes("there is no grant")) list = (await postern.postern(["grants", "list"])).stdout;
    expect((await ask("after its time")).code).toBe("approval_required");
    const { stdout } = await give("10m");
    await postern.postern(["cut", "agent"]);
    expect((await ask("while cut")).code).toBe("agent_quarantined");
    await postern.postern(["restore", "agent"]);
    expect((await ask("restored")).status).toBe(200);
    await postern.postern(["grants", "revoke", (JSON.parse(stdout) as { id: string }).id]);
  });

  it("is over when it is revoked, and is not given beyond what the policy says", async () => {
    const { stdout } = await postern.postern(["grant", "agent", ...words, "--uses", "9", "--json"]);
    const { id } = JSON.parse(stdout) as { id: string };
    expect((await ask("before")).status).toBe(200);
    expect(await postern.postern(["grants", "revoke", id])).toMatchObject({ code: 0 });
    expect((await ask("after")).code).toBe("approval_required");
    expect((await postern.postern(["grant", "agent", ...words, "--uses", "11"])).code).toBe(1);
  });
});
