// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { readConfig } from "./config.ts";

describe("settings", () => {
  it.each([
    [[]],
    [["--data"]],
    [["--data", "x", "--nonsense"]],
    [["--data", "x", "word"]],
    [["--data", "x", "--json=1"]],
  ])("are refused where they are %j", (words) => {
    expect(() => readConfig(words, {})).toThrow();
  });

  it("take the command line before the environment, and defaults last", () => {
    const environment = { POSTERN_MASTER_KEY: "env:A" };
    expect(readConfig(["--data", "/d"], environment).masterKey).toBe("env:A");
    expect(readConfig(["--data", "/d", "--master-key", "file:/k"], environment).masterKey).toBe("file:/k");
    expect(readConfig(["--data", "/d"], {})).toMatchObject({
      dataFolder: "/d",
      masterKey: undefined,
      strictAudit: false,
      json: false,
    });
  });

  it("cannot be changed, and do not show the environment", () => {
    const config = readConfig(["--data", "/d"], { A: "sk-secret" });
    expect(Object.isFrozen(config)).toBe(true);
    expect(JSON.stringify(config)).not.toContain("sk-secret");
    expect(config.readEnvironment("A")).toBe("sk-secret");
  });
});
