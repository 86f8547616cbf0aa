// SPDX-License-Identifier: Apache-2.0
/** What operators see: exit codes, places of mistakes, JSON for scripts, and a start that is refused in words. */
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type {
  ApplyResponse,
  Problem,
  ResourcesResponse,
  SecretsResponse,
  StatusResponse,
  WhyResponse,
} from "@postern/contract";
import {
  findSecrets,
  startPostern,
  startStandIns,
  type Finished,
  type Postern,
  type StandIns,
} from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

let standIns: StandIns;
let postern: Postern;
let aside: string;

beforeAll(async () => {
  standIns = await startStandIns();
  aside = await mkdtemp(join(tmpdir(), "postern-e2e-files-"));
  postern = await startPostern();
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(standIns.resources());
});

afterAll(async () => {
  await postern?.stop();
  await standIns?.close();
  await rm(aside, { recursive: true, force: true });
});

async function apply(text: string, ...more: string[]): Promise<Finished & { file: string }> {
  const file = join(aside, "resources.yaml");
  await writeFile(file, text);
  return { ...(await postern.postern(["apply", "-f", file, ...more])), file };
}

// oxlint-disable-next-line no-unnecessary-type-parameters -- says what the caller expects, which the tests then check
const json = <T>({ stdout }: Finished): T => JSON.parse(stdout) as T;

describe("apply", () => {
  it("names the place of an unknown key and the key that was meant", async () => {
    const { code, stderr, file } = await apply(
      "kind: TrustProvider\nmetadata: { name: other }\nspec:\n  kindd: process\n",
    );
    expect(code).toBe(1);
    expect(stderr).toContain(`${file}:4:3 `);
    expect(stderr).toMatch(/`?kindd`?.*`kind`/);
  });

  it("names the place of a reference to nothing and the nearest name", async () => {
    const policy = `kind: AccessPolicy
metadata: { name: mistaken }
spec: { agents: [demo-agnet], serverWorkload: openai, credentialProvider: openai-credential, allow: { everything: true } }
`;
    const { code, stderr, file } = await apply(policy);
    expect(code).toBe(1);
    expect(stderr).toContain(`${file}:3:18 `);
    expect(stderr).toContain("demo-agent");
  });

  it("changes nothing where one of several documents is wrong", async () => {
    const { code, stdout } = await apply(
      "kind: TrustProvider\nmetadata: { name: halfway }\nspec: { kind: process }\n---\nkind: Nothing\nmetadata: { name: x }\n",
      "--json",
    );
    expect(code).toBe(1);
    const { problem } = JSON.parse(stdout) as { problem: Problem };
    expect(problem).toMatchObject({ status: 422, code: "resource_invalid" });
    expect(problem.places).toEqual([
      expect.objectContaining({
        line: expect.any(Number),
        column: expect.any(Number),
        path: expect.any(String),
      }),
    ]);
    expect((await postern.postern(["get", "TrustProvider", "halfway"])).code).toBe(1);
  });

  it("says what changed, is idempotent, and only looks on request", async () => {
    const resource = "kind: TrustProvider\nmetadata: { name: fresh }\nspec: { kind: process }\n";
    const looked = json<ApplyResponse>(await apply(resource, "--json", "--dry-run"));
    expect(looked).toMatchObject({
      changes: [{ action: "created", kind: "TrustProvider", name: "fresh", details: [] }],
      dryRun: true,
    });
    expect((await postern.postern(["get", "TrustProvider", "fresh"])).code).toBe(1);
    expect(json<ApplyResponse>(await apply(resource, "--json")).changes[0]!.action).toBe("created");
    const { epoch } = json<StatusResponse>(await postern.postern(["status", "--json"]));
    expect(json<ApplyResponse>(await apply(resource, "--json")).changes[0]!.action).toBe("unchanged");
    expect(json<StatusResponse>(await postern.postern(["status", "--json"])).epoch).toBe(epoch);
  });

  it.each([
    ["YAML that does not end", "kind: [\n"],
    [
      "an alias bomb",
      `a: &a [x,x]\n${Array.from("bcdefghij")
        .map((c, i) => `${c}: &${c} [${Array(9).fill(`*${"abcdefghij"[i]}`).join(",")}]`)
        .join("\n")}\n`,
    ],
    ["NUL bytes", "kind: \0\n"],
    [
      "a prototype",
      "kind: TrustProvider\nmetadata: { name: x, __proto__: { name: y } }\nspec: { kind: process }\n",
    ],
  ])("refuses %s in words", async (_name, text) => {
    const { code, stderr } = await apply(text);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^postern: \d+ problems?/);
  });
});

describe("exit codes", () => {
  it.each([
    [0, ["status"]],
    [0, ["--help"]],
    [0, ["get", "agents"]],
    [1, ["get", "agent", "nobody"]],
    [1, ["why", "00000000-0000-7000-8000-000000000000"]],
    [1, ["secret", "delete", "openai-key"]],
    [1, ["run", "--agent", "nobody", "--", "true"]],
    [2, []],
    [2, ["fly"]],
    [2, ["status", "--nonsense"]],
    [2, ["apply"]],
    [2, ["apply", "-f", "/nonexistent.yaml"]],
    [2, ["get", "sandwich"]],
    [2, ["cut"]],
    [2, ["run"]],
  ])("are %i for postern %j", async (code, args) => {
    const result = await postern.postern(args);
    expect(result).toMatchObject({ code });
    if (code > 0) expect(result.stderr + result.stdout).not.toMatch(/\n\s+at .*:\d+:\d+/);
  });

  it("are the agent's own under run, and say when there is no server", async () => {
    expect((await postern.postern(["run", "--agent", "demo-agent", "--", "sh", "-c", "exit 7"])).code).toBe(
      7,
    );
    const nowhere = await postern.postern(["status"], { env: { POSTERN_HOME: aside } });
    expect(nowhere.code).toBe(1);
    expect(nowhere.stderr).toContain("postern up");
  });
});

describe("JSON for scripts", () => {
  it("has the shapes of the contract, and no secret", async () => {
    const agent = await RunningAgent.start({ folder: postern.folder, agent: "demo-agent" });
    const answer = await agent.send(`GET /openai/v1/models HTTP/1.1\r\nHost: ${agent.authority}\r\n\r\n`);
    await agent.stop();
    const outputs = await Promise.all(
      [
        ["get"],
        ["secret", "list"],
        ["status"],
        ["why", answer.headers["postern-audit-id"]!],
        ["audit", "tail"],
        ["audit", "export"],
      ].map((args) => postern.postern([...args, "--json"])),
    );
    const [got, secrets, status, why, tail] = outputs as [Finished, Finished, Finished, Finished, Finished];
    expect(json<ResourcesResponse>(got).resources.map(({ resource }) => resource.kind)).toContain(
      "AccessPolicy",
    );
    expect(json<SecretsResponse>(secrets).secrets).toContainEqual(
      expect.objectContaining({ name: "openai-key", version: 1, updatedAt: expect.any(String) }),
    );
    expect(json<StatusResponse>(status)).toMatchObject({ ready: true, pid: postern.server.pid });
    expect(json<WhyResponse>(why)).toMatchObject({
      id: answer.headers["postern-audit-id"],
      text: expect.stringContaining("access_denied"),
    });
    for (const line of tail.stdout.trim().split("\n")) expect(JSON.parse(line)).toHaveProperty("class_uid");
    const everything = outputs.map(({ stdout, stderr }) => stdout + stderr).join("");
    expect(findSecrets("output", everything + postern.log, standIns.secrets)).toEqual([]);
  });
});

describe("what an agent is started with", () => {
  const key = () => standIns.secrets["openai-key"]!;
  const printEnv = ["--", process.execPath, "-p", "JSON.stringify(process.env)"];

  it("never holds a secret of the vault, whatever it is called and however it is written", async () => {
    const env = {
      HARMLESS: key(),
      ENCODED: Buffer.from(`user:${key()}`).toString("base64"),
      ADDRESS: `https://x.example/?k=${encodeURIComponent(key())}&z`,
      OPENAI_API_KEY: "sk-another",
      KEPT: "yes",
    };
    const result = await postern.postern(["run", "--agent", "demo-agent", ...printEnv], { env });
    expect(result.code).toBe(0);
    expect(findSecrets("environment", result.stdout, standIns.secrets)).toEqual([]);
    const seen = json<Record<string, string>>(result);
    expect(seen).toMatchObject({
      KEPT: "yes",
      OPENAI_API_KEY: expect.stringContaining("PosternPlaceholder"),
    });
    expect(seen).not.toHaveProperty("POSTERN_HOME");
  });

  it("does not hold one that --keep-env asks for", async () => {
    const args = [
      "run",
      "--agent",
      "demo-agent",
      "--keep-env",
      "MY_TOKEN",
      "--keep-env",
      "OTHER_TOKEN",
      ...printEnv,
    ];
    const result = await postern.postern(args, { env: { MY_TOKEN: key(), OTHER_TOKEN: "plain" } });
    expect(findSecrets("environment", result.stdout, standIns.secrets)).toEqual([]);
    if (result.code === 0)
      expect(json<Record<string, string>>(result)).toMatchObject({ OTHER_TOKEN: "plain" });
  });
});

describe("a process outside the run", () => {
  it("is not served on the run's socket, though it belongs to the same user", async () => {
    const agent = await RunningAgent.start({ folder: postern.folder, agent: "demo-agent" });
    try {
      const inside = await agent.send("GET /nowhere/x HTTP/1.1\r\nHost: localhost\r\n\r\n", "door");
      expect(inside).toMatchObject({ status: 403, code: "server_workload_unknown" });
      const said = await new Promise<string>((resolve) => {
        let text = "";
        const socket = connect(agent.environment["POSTERN_DOOR"]!);
        socket.on("data", (bytes: Buffer) => (text += bytes.toString()));
        socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "error"));
        socket.on("close", () => resolve(text));
        socket.write("GET /openai/v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
      });
      expect(said).toMatch(/^(HTTP\/1\.1 403 [^]*agent_unidentified[^]*|)$/);
      expect(said).not.toContain("reasons");
    } finally {
      await agent.stop();
    }
  });
});

describe("a server that cannot open what is sealed", () => {
  const stopped = async (change: (folder: string) => Promise<unknown>): Promise<string> => {
    const folder = await mkdtemp(join(tmpdir(), "postern-e2e-key-"));
    try {
      const before = await startPostern({ folder });
      await before.setSecret("openai-key", standIns.secrets["openai-key"]!);
      await before.stop();
      await change(folder);
      const again = startPostern({ folder });
      const message = await again.then(
        async (server) => {
          await server.stop();
          return "it started";
        },
        (error: Error) => error.message,
      );
      expect(findSecrets("message", message, standIns.secrets)).toEqual([]);
      return message;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };

  it("says that the master key is wrong, lost, short or readable by others", async () => {
    const key = (folder: string) => join(folder, "master.key");
    const messages = await Promise.all([
      stopped((folder) => writeFile(key(folder), Buffer.alloc(32, 7))),
      stopped((folder) => rm(key(folder))),
      stopped((folder) => writeFile(key(folder), "short")),
      stopped((folder) => chmod(key(folder), 0o640)),
      stopped((folder) => chmod(key(folder), 0o604)),
    ]);
    expect(messages[0]).toContain("wrong master key");
    expect(messages[1]).toContain("master key is lost");
    expect(messages[2]).toContain("bytes instead of 32");
    expect(messages[3]).toContain("chmod 600");
    expect(messages[4]).toContain("chmod 600");
    for (const message of messages) expect(message).not.toMatch(/\n\s+at /);
  });

  it("does not start twice on one folder", async () => {
    await expect(startPostern({ folder: postern.folder })).rejects.toThrow(/ended with code 1/);
    expect((await postern.postern(["status"])).code).toBe(0);
    expect(await readFile(join(postern.folder, "ca.pem"), "utf8")).toContain("BEGIN CERTIFICATE");
  });
});
