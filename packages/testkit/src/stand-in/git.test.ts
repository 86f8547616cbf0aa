// SPDX-License-Identifier: Apache-2.0
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestAuthority } from "../test-authority.ts";
import { startGitStandIn, type GitStandIn } from "./git.ts";

const run = promisify(execFile);
const PASSWORD = "ghp_known-to-this-test";
let folder: string;
let standIn: GitStandIn;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "git-stand-in-"));
  const authority = await createTestAuthority();
  await writeFile(join(folder, "ca.pem"), authority.certificate);
  standIn = await startGitStandIn({ authority, key: PASSWORD, folder });
});
afterAll(async () => {
  await standIn.close();
  await rm(folder, { recursive: true, force: true });
});

const git = (...args: string[]) =>
  run("git", ["-c", "user.name=T", "-c", "user.email=t@example.com", ...args], {
    cwd: folder,
    env: {
      ...process.env,
      GIT_SSL_CAINFO: join(folder, "ca.pem"),
      GIT_TERMINAL_PROMPT: "0",
      GIT_ASKPASS: "false",
    },
  });
const url = (credential: string) => `https://${credential}127.0.0.1:${standIn.port}/demo.git`;

it("refuses real git without the password", async () => {
  await expect(git("clone", url(""), "refused")).rejects.toThrow(
    /Authentication failed|could not read|unable to read/,
  );
  await expect(git("clone", url("x-access-token:wrong@"), "wrong")).rejects.toThrow(/Authentication failed/);
});

it("serves clone and push to real git", async () => {
  await git("clone", "--quiet", url(`x-access-token:${PASSWORD}@`), "work");
  await git("-C", "work", "commit", "--quiet", "--allow-empty", "-m", "second commit");
  await git("-C", "work", "push", "--quiet", "origin", "HEAD:main");
  expect(await standIn.commits()).toEqual(["second commit", "first commit"]);
});
