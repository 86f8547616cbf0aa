// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { startProgram } from "./child-process.ts";

/** False also for a zombie that nobody has reaped yet. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

it("stops a program that ignores the request, with what it started", async () => {
  const program = startProgram("sh", ["-c", 'trap "" TERM; sleep 60 & echo child $!; wait; wait']);
  const child = Number((await program.line((line) => line.startsWith("child "))).slice(6));
  expect(isAlive(child)).toBe(true);
  const { signal } = await program.stop(50);
  expect(signal).toBe("SIGKILL");
  await expect.poll(() => isAlive(child)).toBe(false);
});

it("says what a program printed that ended before the awaited line", async () => {
  const program = startProgram("sh", ["-c", "echo told; echo why >&2; exit 3"]);
  await expect(program.line((line) => line === "ready")).rejects.toThrow(
    /code 3 before the awaited line\ntold\nwhy/,
  );
});

it("takes variables away from the environment and gives input", async () => {
  process.env["TESTKIT_PRESENT"] = "yes";
  const show = 'echo "${TESTKIT_PRESENT-gone} $TESTKIT_ADDED $(cat)"';
  const env = { TESTKIT_PRESENT: undefined, TESTKIT_ADDED: "added" };
  const { stdout } = await startProgram("sh", ["-c", show], { env, input: "input" }).ended;
  expect(stdout).toBe("gone added input\n");
});

it("leaves no program behind when the process that started it is ended by a signal", async () => {
  const module = new URL("child-process.ts", import.meta.url).href;
  const script = `import { startProgram } from ${JSON.stringify(module)}; console.log(startProgram("sleep", ["60"]).pid);`;
  const parent = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const pid = Number(await new Promise((resolve) => parent.stdout.once("data", resolve)));
  expect(isAlive(pid)).toBe(true);
  parent.kill("SIGTERM");
  await expect.poll(() => isAlive(pid)).toBe(false);
});
