// SPDX-License-Identifier: Apache-2.0
/** What an operator asks before a policy is applied: what would this change, going by what agents really did? */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startPostern, startStandIns, type Postern, type StandIns } from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

let standIns: StandIns;
let postern: Postern;
let agent: RunningAgent;
let aside: string;

const AGENTS = ["worker", "bystander"];

const policy = (models: readonly string[], agents: readonly string[] = AGENTS): string => `\
kind: AccessPolicy
metadata: { name: agents-may-use-openai }
spec:
  agents: ${JSON.stringify(agents)}
  serverWorkload: openai
  credentialProvider: openai-credential
  allow: { operations: [chat.completions], models: ${JSON.stringify(models)} }
`;

function file(text: string, name = "change.yaml"): string {
  const path = join(aside, name);
  writeFileSync(path, text);
  return path;
}

function chat(model: string, path = "/openai/v1/chat/completions"): Promise<{ status: number }> {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "hi" }] });
  return agent.send(
    `POST ${path} HTTP/1.1\r\nHost: ${agent.authority}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
}

beforeAll(async () => {
  aside = mkdtempSync(join(tmpdir(), "postern-policies-"));
  standIns = await startStandIns();
  postern = await startPostern();
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(standIns.resources({ agents: AGENTS }));
  await postern.apply(policy(["gpt-4o-mini"]));
  agent = await RunningAgent.start({ folder: postern.folder, agent: "worker" });
  for (const model of ["gpt-4o-mini", "gpt-4o-mini", "gpt-4o-mini", "gpt-4o"]) await chat(model);
  await chat("gpt-4o", "/nobody/v1/chat/completions");
});

afterAll(async () => {
  await agent?.stop();
  await postern?.stop();
  await standIns?.close();
  rmSync(aside, { recursive: true, force: true });
});

describe("simulate", () => {
  it("says that nothing changes, with code 0, and changes nothing", async () => {
    const result = await postern.postern(["simulate", "-f", file(policy(["gpt-4o-mini"])), "--json"]);
    expect(result.stderr).toBe("");
    expect(result.code).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({
      against: "now",
      decisions: 5,
      replayed: 4,
      unchanged: 4,
      groups: [],
      notReplayed: { not_asked: 1 },
    });
  });

  it("shows what would be newly allowed first, with code 3", async () => {
    const change = file(policy(["gpt-4o"]));
    const { code, stdout } = await postern.postern(["simulate", "-f", change]);
    expect(code).toBe(3);
    expect(stdout).toMatch(
      /^newly allowed: 1\n {2}1 × agent worker: openai chat\.completions with model gpt-4o\n[^]*newly denied: 3\n/,
    );
    expect((await chat("gpt-4o")).status).toBe(403);
  });

  it("says with code 4 that something would be lost and nothing gained, for one agent and a time", async () => {
    const change = file(policy(["gpt-4o-mini"], ["bystander"]));
    expect((await postern.postern(["simulate", "-f", change])).code).toBe(4);
    expect((await postern.postern(["simulate", "-f", change, "--agent", "bystander"])).code).toBe(0);
    expect((await postern.postern(["simulate", "-f", change, "--since", "2099-01-01"])).code).toBe(0);
    const without = await postern.postern(["simulate", "--without", "agents-may-use-openai"]);
    expect(without.code).toBe(4);
  });

  it("refuses what `apply` would refuse, with the place", async () => {
    const change = file(policy(["gpt-4o"]).replace("chat.completions", "chat.completion"));
    const { code, stderr } = await postern.postern(["simulate", "-f", change]);
    expect(code).toBe(1);
    expect(stderr).toContain("change.yaml:7:");
    expect(stderr).toContain("did you mean `chat.completions`?");
  });

  it("works on an export without the server, and says nothing of a log that was changed", async () => {
    const log = join(aside, "log.jsonl");
    await postern.postern(["audit", "export", log]);
    const base = join(aside, "base.json");
    writeFileSync(base, (await postern.postern(["get", "--json"])).stdout);
    const change = file(policy(["gpt-4o"]));
    const offline = ["simulate", "-f", change, "--data", join(aside, "nowhere"), "--log"];
    const same = await postern.postern([...offline, log, "--base", base, "--json"]);
    expect(same.code).toBe(3);
    expect(JSON.parse(same.stdout)).toMatchObject({ against: "now", changed: { newly_allowed: 2 } });
    const alone = await postern.postern([...offline, log, "--json"]);
    expect(JSON.parse(alone.stdout)).toMatchObject({ against: "recorded", changed: { newly_denied: 3 } });
    const text = readFileSync(log, "utf8");
    const changed = text.replace('"model":"gpt-4o-mini"', '"model":"gpt-4o-maxi"');
    expect(changed).not.toBe(text);
    const { code, stdout, stderr } = await postern.postern([...offline, file(changed, "bad.jsonl")]);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("the log does not verify, so nothing is said");
  });

  it("takes no flag for an agent's name", async () => {
    for (const words of [["--agent", "--json"], ["--agent=--json"], ["--agent", "Worker\u001b[2J"]]) {
      const { code, stderr } = await postern.postern([
        "simulate",
        "--without",
        "agents-may-use-openai",
        ...words,
      ]);
      expect(code, stderr).toBe(2);
      expect(stderr).not.toContain("\u001b");
    }
  });
});

describe("learn and review", () => {
  it("write what was seen as policies that can be applied, and simulate agrees that nothing else is allowed", async () => {
    const learned = await postern.postern(["learn", "worker", "--name", "agents-may-use-openai"]);
    expect(learned.stderr).toBe("");
    expect(learned.stdout).toMatch(/- gpt-4o-mini # 3 times, last \d{4}-\d\d-\d\d\n/);
    expect(learned.stdout).not.toContain("gpt-4o #");
    const change = file(learned.stdout, "learned.yaml");
    expect((await postern.postern(["simulate", "-f", change])).code).toBe(0);
    expect((await postern.postern(["diff", "-f", change])).code).toBe(0);
    const denied = await postern.postern(["learn", "worker", "--include-denied"]);
    expect(denied.stdout).toContain("- gpt-4o # 2 times");
  });

  it("say with a code of their own that nothing was seen, or nothing used", async () => {
    const nothing = await postern.postern(["learn", "bystander"]);
    expect([nothing.code, nothing.stdout]).toEqual([1, "# Nothing was seen of agent bystander.\n"]);
    const { code, stdout } = await postern.postern(["review", "--since", "1d"]);
    expect(code).toBe(3);
    expect(stdout).toContain("  agent bystander: never used");
    expect(stdout).toContain("  access policy agents-may-use-gemini: never used, made ");
    expect(stdout).not.toContain("gpt-4o-mini in models");
  });
});

describe("policy tests", () => {
  it("are made from recorded decisions, pass without a server, and fail with the difference", async () => {
    const tail = await postern.postern(["audit", "tail", "--json", "-n", "100"]);
    const decisions = tail.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { metadata: { uid: string }; unmapped: Record<string, unknown> })
      .filter(({ unmapped }) => unmapped["kind"] === "decision" && unmapped["server_workload"] === "openai");
    const folder = mkdtempSync(join(aside, "tests-"));
    for (const [index, { metadata }] of decisions.entries()) {
      const fixture = await postern.postern(["policy", "record", metadata.uid]);
      expect(fixture.code, fixture.stderr).toBe(0);
      writeFileSync(join(folder, `${index}.yaml`), fixture.stdout);
    }
    const test = (...words: string[]) =>
      postern.postern(["policy", "test", folder, ...words, "--data", join(aside, "nowhere")]);
    const passed = await test("-f", file(policy(["gpt-4o-mini"])));
    expect(passed).toMatchObject({ code: 0, stdout: `${decisions.length} passed, 0 failed\n` });
    const failed = await test("-f", file(policy(["gpt-4o"])));
    expect(failed.code).toBe(1);
    expect(failed.stdout).toContain("  outcome: expected allow, got deny\n");
    expect(failed.stdout).toContain("models: wants `gpt-4o`; saw `gpt-4o-mini`");
    writeFileSync(join(folder, "broken.yaml"), "kind: PolicyTest\nspec: {}\n");
    const broken = await test("-f", file(policy(["gpt-4o-mini"])));
    expect(broken.code).toBe(1);
    expect(broken.stderr).toContain("broken.yaml:");
  });
});

describe("a policy in dry-run", () => {
  it("lets nothing through, says everywhere what it would do, and is something to learn from", async () => {
    const trial = policy(["gpt-4o"])
      .replace("agents-may-use-openai", "trial")
      .replace("spec:\n", "spec:\n  mode: dry-run\n");
    await postern.apply(trial);
    expect((await chat("gpt-4o")).status).toBe(403);
    expect((await chat("gpt-4o-mini")).status).toBe(200);
    const tail = await postern.postern(["audit", "tail", "-n", "20"]);
    const [line = ""] = tail.stdout.split("\n").filter((each) => each.includes("DRY-RUN would allow"));
    expect(line).toContain("deny");
    const why = await postern.postern(["why", line.split("  ")[1]!]);
    expect(why.stdout).toContain(
      "DRY-RUN, not in force: with the policies in dry-run it would be allowed by `trial`",
    );
    const learned = await postern.postern(["learn", "worker"]);
    expect(learned.stdout).toMatch(/- gpt-4o # \d time/);
    const enforced = await postern.postern(["simulate", "-f", file(trial.replace("  mode: dry-run\n", ""))]);
    expect([enforced.code, enforced.stdout.split("\n")[0]]).toEqual([
      3,
      expect.stringContaining("newly allowed"),
    ]);
    const { code, stdout } = await postern.postern(["simulate", "-f", file(trial)]);
    expect([code, stdout.split("\n")[0]]).toEqual([
      0,
      expect.stringContaining("in dry-run, would be allowed"),
    ]);
    expect((await postern.postern(["delete", "accesspolicy", "trial"])).code).toBe(0);
  });
});

describe("diff and apply", () => {
  it("say in words who gains and who loses what, before it is so", async () => {
    const change = file(policy(["gpt-4o"]));
    for (const words of [
      ["diff", "-f", change],
      ["apply", "--dry-run", "-f", change],
    ]) {
      const { code, stdout } = await postern.postern(words);
      expect(code).toBe(0);
      expect(stdout).toContain("agents bystander, worker at openai:\n");
      expect(stdout).toContain(
        "    + would gain chat.completions with model gpt-4o, by credential provider openai-credential\n",
      );
      expect(stdout).toContain("    - would lose chat.completions with model gpt-4o-mini, by");
    }
  });

  it("refuse a policy that contradicts itself, and warn of one that another makes useless", async () => {
    const forbid = "forbid (principal, action, resource);";
    const own = `${policy(["gpt-4o"])}  cedar: "${forbid}"\n`;
    const refused = await postern.postern(["diff", "-f", file(own)]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(
      "change.yaml:7:3 spec.allow: everything that `agents-may-use-openai` allows is forbidden by",
    );
    const stop = `kind: AccessPolicy\nmetadata: { name: stop }\nspec: { agents: [worker], serverWorkload: openai, cedar: "${forbid}" }\n`;
    const warned = await postern.postern(["diff", "-f", file(stop)]);
    expect(warned.code).toBe(0);
    expect(warned.stderr).toContain("warning: ");
    expect(warned.stderr).toContain("is forbidden by `stop#0` for `worker`");
    expect(warned.stdout).toContain("- would lose what is forbidden by `stop#0`");
  });
});
