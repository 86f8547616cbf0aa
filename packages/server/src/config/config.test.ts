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

  it("hold the database's URL so that printing them does not show it", () => {
    const environment = { POSTERN_DATABASE_URL: "postgres://u:hunter22@h/d" };
    const config = readConfig(["--data", "/d"], environment);
    expect([config.databaseUrl(), config.isDatabaseUrlVisible]).toEqual(["postgres://u:hunter22@h/d", false]);
    expect(JSON.stringify(config)).not.toContain("hunter22");
    const visible = readConfig(["--data", "/d", "--database-url", "env:X"], environment);
    expect([visible.databaseUrl(), visible.isDatabaseUrlVisible]).toEqual(["env:X", true]);
    expect(readConfig(["--data", "/d"], {}).databaseUrl()).toBeUndefined();
  });

  it("take an age of the snapshot in whole seconds, and nothing that means for ever", () => {
    const age = (text: string) => readConfig(["--data", "/d", "--max-snapshot-age", text], {}).maxSnapshotAge;
    expect([age("1"), age("90"), readConfig(["--data", "/d"], {}).maxSnapshotAge]).toEqual([
      1000, 90_000, 60_000,
    ]);
    for (const text of ["0", "-1", "1.5", "1e9", "Infinity", "", "60s"]) expect(() => age(text)).toThrow();
  });
});
