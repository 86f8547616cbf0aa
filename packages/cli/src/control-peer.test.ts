// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ControlClient, ControlError } from "./control-client.ts";
import { judgePeer } from "./control-peer.ts";

let folder: string;
let child: ChildProcess | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-peer-"));
});
afterEach(() => {
  child?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

const namespaces = ["-Urpf", "--kill-child", "--mount-proc"];
const canNest = spawnSync("unshare", [...namespaces, "true"]).status === 0;

test.skipIf(!canNest)("a socket opened inside a sandbox gets nothing, not even the request", async () => {
  const listen = `require("http").createServer((q)=>console.log("GOT "+q.url)).listen(${JSON.stringify(join(folder, "control.sock"))},()=>console.log("up"))`;
  const fake = spawn("unshare", [...namespaces, process.execPath, "-e", listen]);
  child = fake;
  let seen = "";
  fake.stdout.on("data", (chunk: Buffer) => (seen += chunk.toString()));
  await expect.poll(() => existsSync(join(folder, "control.sock")) && seen.includes("up")).toBe(true);
  const asked = new ControlClient(folder).put("/v1/secrets/x", Buffer.from("sk-secret"));
  await expect(asked).rejects.toThrow(ControlError);
  await expect(asked).rejects.toThrow("inside a sandbox");
  expect(seen).not.toContain("GOT");
});

test("a server of this process namespace is talked to", async () => {
  const server = createServer((_request, answer) => answer.end('{"fine":true}'));
  await new Promise<void>((resolve) => server.listen(join(folder, "control.sock"), resolve));
  expect(await new ControlClient(folder).get("/v1/status")).toEqual({ fine: true });
  server.close();
});

test("a process that cannot be told is not trusted", () => {
  expect(judgePeer(0, process.getuid!())).toContain("outside");
  expect(judgePeer(2 ** 30, process.getuid!())).toContain("ended");
});
