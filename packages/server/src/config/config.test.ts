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

  it.each([
    [["--broker-socket", "/s"]],
    [["--broker", "spiffe://corp/proxy"]],
    [["--broker-socket", "s", "--broker", "spiffe://corp/proxy"]],
    ...["corp/proxy", "spiffe://corp", "spiffe://other/proxy", "spiffe://corp/postern/gateway", "", "*"].map(
      (id) => [["--broker-socket", "/s", "--broker", id]],
    ),
  ])("let nobody act for others by %j", (words) => {
    expect(() => readConfig(["--data", "/d", "--trust-domain", "corp", ...words], {})).toThrow();
  });

  it("let those act for others who are named, in the own trust domain", () => {
    const words = ["--data", "/d", "--broker-socket", "unix:///s", "--broker", "spiffe://corp/proxy"];
    expect(() => readConfig(words, {})).toThrow("--trust-domain");
    const brokers = { path: "/s", ids: ["spiffe://corp/proxy"] };
    expect(readConfig([...words, "--trust-domain", "corp"], {}).brokers).toEqual(brokers);
    expect(readConfig(["--data", "/d"], {}).brokers).toBe(undefined);
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

  it("hold the URL of the budgets' counters in the same way", () => {
    const environment = { POSTERN_BUDGET_URL: "rediss://:hunter22@h/0" };
    const config = readConfig(["--data", "/d"], environment);
    expect([config.budgetUrl(), config.isBudgetUrlVisible]).toEqual(["rediss://:hunter22@h/0", false]);
    expect(JSON.stringify(config)).not.toContain("hunter22");
    const visible = readConfig(["--data", "/d", "--budget-url", "env:X"], environment);
    expect([visible.budgetUrl(), visible.isBudgetUrlVisible]).toEqual(["env:X", true]);
    expect(readConfig(["--data", "/d"], {}).budgetUrl()).toBeUndefined();
  });

  it("J8: issue no identities unless there is a trust domain, and documents for an hour and five minutes", () => {
    const config = readConfig(["--data", "/d"], {});
    expect([config.trustDomain, config.svidLives]).toEqual([undefined, { x509: 3_600_000, jwt: 300_000 }]);
    const environment = { POSTERN_TRUST_DOMAIN: "corp" };
    expect(readConfig(["--data", "/d"], environment).trustDomain).toBe("corp");
    const words = ["--data", "/d", "--trust-domain", "lab", "--x509-svid-ttl", "60", "--jwt-svid-ttl", "30"];
    const given = readConfig(words, environment);
    expect([given.trustDomain, given.svidLives]).toEqual(["lab", { x509: 60_000, jwt: 30_000 }]);
    expect([config.hasWitSvids, readConfig([...words, "--wit-svid"], {}).hasWitSvids]).toEqual([false, true]);
    for (const text of ["0", "86401", "1h", ""])
      expect(() => readConfig(["--data", "/d", "--x509-svid-ttl", text], {})).toThrow("--x509-svid-ttl");
  });

  it("take an address for metrics that shows whether others can reach it, and no name", () => {
    const at = (text: string) => readConfig(["--data", "/d", "--metrics-listen", text], {}).metricsListen;
    expect(readConfig(["--data", "/d"], {}).metricsListen).toBeUndefined();
    const loopback = { host: "127.0.0.1", port: 9464 };
    expect([at("9464"), at("localhost:9464"), at("127.0.0.1:9464")]).toEqual([loopback, loopback, loopback]);
    expect(at("0.0.0.0:0")).toEqual({ host: "0.0.0.0", port: 0 });
    expect(at("[::1]:9464")).toEqual({ host: "::1", port: 9464 });
    expect(at("unix:/run/m.sock")).toEqual({ path: "/run/m.sock" });
    const wrong = [
      "",
      ":9464",
      "*:9464",
      "example.com:9464",
      "::1:9464",
      "[127.0.0.1]:1",
      "1.2.3:1",
      "65536",
    ];
    for (const text of [...wrong, "unix:", "unix:m.sock", "127.0.0.1", "127.0.0.1:-1", "http://127.0.0.1:1"])
      expect(() => at(text), text).toThrow();
  });

  it("take times for upstreams in whole seconds", () => {
    const times = (...words: string[]) => {
      const { answerTimeout, silenceTimeout } = readConfig(["--data", "/d", ...words], {});
      return [answerTimeout, silenceTimeout];
    };
    expect(times()).toEqual([600_000, 300_000]);
    expect(times("--answer-timeout", "2", "--silence-timeout", "3")).toEqual([2000, 3000]);
    for (const text of ["0", "1.5", "1s", "", "1000000"])
      expect(() => times("--silence-timeout", text), text).toThrow("give --silence-timeout as whole seconds");
  });

  it("take a collector from the command line before the environment, and none with a password", () => {
    const from = (words: string[], environment: NodeJS.ProcessEnv = {}) =>
      readConfig(["--data", "/d", ...words], environment).otlpEndpoint;
    const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318" };
    expect([from([]), from([], { OTEL_EXPORTER_OTLP_ENDPOINT: "" })]).toEqual([undefined, undefined]);
    expect(from([], environment)).toBe("http://127.0.0.1:4318/");
    expect(from(["--otlp-endpoint", "https://c.example/otlp"], environment)).toBe("https://c.example/otlp");
    for (const text of [
      "c.example:4318",
      "grpc://c.example",
      "http://u:hunter22@c.example",
      "http://c/?key=hunter22",
    ])
      expect(() => from(["--otlp-endpoint", text])).toThrow(/^(?!.*hunter22)/);
  });

  it("take one of four levels of the log; --verbose is the lowest", () => {
    const level = (...words: string[]) => readConfig(["--data", "/d", ...words], {}).logLevel;
    expect([level(), level("--verbose"), level("--log-level", "info")]).toEqual(["warn", "debug", "info"]);
    expect(level("--verbose", "--log-level", "error")).toBe("error");
    for (const text of ["", "INFO", "trace", "constructor"])
      expect(() => level("--log-level", text)).toThrow();
  });

  it("take an age of the snapshot in whole seconds, and nothing that means for ever", () => {
    const age = (text: string) => readConfig(["--data", "/d", "--max-snapshot-age", text], {}).maxSnapshotAge;
    expect([age("1"), age("90"), readConfig(["--data", "/d"], {}).maxSnapshotAge]).toEqual([
      1000, 90_000, 60_000,
    ]);
    for (const text of ["0", "1.5", "1e9", "Infinity", "", "60s"]) expect(() => age(text)).toThrow();
  });
});
