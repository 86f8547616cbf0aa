// SPDX-License-Identifier: Apache-2.0
import { startProgram } from "@postern/testkit";
import { describe, expect, it } from "vitest";

const MODULE = JSON.stringify(new URL("run-process.ts", import.meta.url).href);
const SERVER = `{ stop: async () => {}, status: async () => ({ ready: true }) }`;

/** A process whose server is started by this body of a function. */
const withServer = (start: string) =>
  startProgram(process.execPath, [
    ...["--no-warnings", "--input-type=module", "-e"],
    `import { runProcess } from ${MODULE};
     setInterval(() => {}, 1000);
     await runProcess({ json: true, dataFolder: "/d", logLevel: "warn" }, async (log) => { ${start} });`,
  ]);

describe("the server's process", () => {
  it.each([
    ["an error that nobody catches", "throw new Error('canary')"],
    ["a rejection that nobody catches", "Promise.reject(new Error('canary'))"],
    ["a thrown word", "throw 'canary'"],
  ])("ends at %s, and tells its code and not its words", async (_what, statement) => {
    const ended = await withServer(`setTimeout(() => { ${statement} }, 1); return ${SERVER};`).ended;
    expect(ended.code).toBe(1);
    expect(ended.stderr).not.toContain("canary");
    expect(JSON.parse(ended.stderr)).toMatchObject({ level: "error", message: "the server failed and ends" });
  });

  it("writes the last lines of its log before it ends, and why it did not start", async () => {
    const ended = await withServer(`log.write("warn", "before"); throw new Error("no such folder");`).ended;
    expect(ended.code).toBe(1);
    const [first = "", second] = ended.stderr.split("\n");
    expect(JSON.parse(first)).toMatchObject({ message: "before" });
    expect(second).toBe("postern: no such folder");
  });

  it("stops its server at a signal", async () => {
    const stop = `{ ...${SERVER}, stop: async () => log.write("warn", "stopped") }`;
    const program = withServer(`return ${stop};`);
    await program.line((line) => line === '{"ready":true}');
    const ended = await program.stop();
    expect(ended.code).toBe(0);
    expect(ended.stderr).toContain('"message":"stopped"');
  });
});
