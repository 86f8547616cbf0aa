// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { Fault } from "./fault.ts";
import { faultFields, jsonLog, LOG_LEVELS, type LogFields, type LogLevel } from "./log.ts";
import { Secret } from "./secret.ts";

const CANARY = "sk-canary-Zq8vX2mT4nB7/+=";
const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);

function logged(write: (log: ReturnType<typeof jsonLog>) => void, least: LogLevel = "debug"): string[] {
  const lines: string[] = [];
  write(
    jsonLog(
      (line) => void lines.push(line),
      () => NOW,
      least,
    ),
  );
  return lines;
}

const lineWith = (fields: LogFields): string => logged((log) => log.write("info", "something", fields))[0]!;
/** As code would that goes round the types. */
const forced = (name: string, value: unknown): LogFields => ({ [name]: value });

describe("a line of the log", () => {
  it.each<[string, unknown]>([
    ["a secret", Secret.fromUtf8(CANARY)],
    ["bytes", Buffer.from(CANARY)],
    ["an error", new Error(CANARY)],
    ["a fault", new Fault("internal_error", CANARY)],
    ["an object", { key: CANARY }],
    ["a list", [CANARY]],
    ["an object that turns into a word", { toString: () => CANARY, toJSON: () => CANARY }],
    ["a boxed string", Object("canary")],
    ["free text", `the key is ${CANARY}`],
    ["text that is too long", "a".repeat(129)],
    ["nothing", ""],
    ["a control character", "agent\u001b[31m"],
    ["a line end", "agent\nlevel"],
    ["a bidirectional override", "agent\u202egp"],
  ])("withholds %s in a field for words", (_what, value) => {
    for (const name of ["agent", "code", "error", "at"]) {
      const line = lineWith(forced(name, value));
      expect(JSON.parse(line)).toMatchObject({ [name]: "[withheld]" });
      expect(line).not.toContain("canary");
    }
  });

  it("withholds what is no number in a field for numbers", () => {
    for (const value of ["1", Number.NaN, Infinity, Secret.fromUtf8(CANARY), new Error(CANARY)])
      expect(JSON.parse(lineWith(forced("status", value)))).toMatchObject({ status: "[withheld]" });
  });

  it("leaves out fields that are not in the list", () => {
    for (const name of ["detail", "path", "headers", "__proto__", "toString"])
      expect(lineWith(forced(name, CANARY))).not.toContain("canary");
  });

  it("is one line of ASCII, whatever the message is made of", () => {
    const [line] = logged((log) =>
      log.write("warn", "a\u0000b\u001b[2J\u007f\u0085\u2028\u202e\n{ä" as "literal"),
    );
    expect(line).toMatch(/^[\x20-\x7e]+\n$/);
    expect((JSON.parse(line!) as { message: string }).message).toBe(
      "a\u0000b\u001b[2J\u007f\u0085\u2028\u202e\n{ä",
    );
    const long = logged((log) => log.write("warn", "x".repeat(5000) as "literal"));
    expect((JSON.parse(long[0]!) as { message: string }).message).toHaveLength(200);
  });

  it("takes no message, field or value that the types rule out", () => {
    const log = jsonLog(
      () => {},
      () => NOW,
    );
    const dynamic: string = CANARY;
    // @ts-expect-error -- not a literal
    log.write("info", dynamic);
    // @ts-expect-error -- not a string
    log.write("info", "message", { agent: Secret.fromUtf8(CANARY) });
    // @ts-expect-error -- not a string
    log.write("info", "message", { agent: Buffer.from(CANARY) });
    // @ts-expect-error -- not a string
    log.write("info", "message", { error: new Error(CANARY) });
    // @ts-expect-error -- words of an error
    log.write("info", "message", { error: new Error(CANARY).message });
    // @ts-expect-error -- no such field
    log.write("info", "message", { detail: "text" });
    expect(lineWith({ agent: "demo" })).toContain("demo");
  });

  it("has time, level, message and the fields", () => {
    const fields = { agent: "demo-agent", operation: "chat.completions", status: 403, run: undefined };
    expect(JSON.parse(lineWith(fields))).toEqual({
      time: "2026-01-02T03:04:05.000Z",
      level: "info",
      message: "something",
      agent: "demo-agent",
      operation: "chat.completions",
      status: 403,
    });
  });

  it("is written from the least level on", () => {
    for (const [rank, least] of LOG_LEVELS.entries()) {
      const lines = logged((log) => LOG_LEVELS.forEach((level) => log.write(level, "message")), least);
      expect(lines.map((line) => (JSON.parse(line) as { level: string }).level)).toEqual(
        LOG_LEVELS.slice(rank),
      );
    }
  });
});

describe("what is said of a surprise", () => {
  const coded = (code: unknown, message = CANARY): Error => Object.assign(new Error(message), { code });

  it.each<[string, unknown, string]>([
    ["words that are thrown", CANARY, "unknown"],
    ["an object that is thrown", { code: "ENOENT", message: CANARY }, "unknown"],
    ["an error", new Error(CANARY), "Error"],
    ["an error of a class", new TypeError(CANARY), "TypeError"],
    ["an error with a name that is no name", Object.assign(new Error("x"), { name: CANARY }), "Error"],
    ["an error of the system", coded("ENOSPC"), "ENOSPC"],
    ["an error of Node", coded("ERR_INVALID_ARG_TYPE"), "ERR_INVALID_ARG_TYPE"],
    ["an error of the database", coded("28P01"), "28P01"],
    ["a code that is no code", coded(CANARY), "Error"],
    ["a code that is no string", coded(Secret.fromUtf8(CANARY)), "Error"],
    ["a fault", new Fault("audit_unavailable", CANARY), "audit_unavailable"],
    [
      "a fault and its cause",
      new Fault("audit_unavailable", CANARY, { cause: coded("EIO") }),
      "audit_unavailable:EIO",
    ],
    ["a fault with a made-up code", new Fault(CANARY as "internal_error", CANARY), "Error"],
  ])("is a code for %s", (_what, thrown, error) => {
    const line = lineWith(faultFields(thrown));
    expect(JSON.parse(line)).toMatchObject({ error });
    expect(line).not.toMatch(/canary|Zq8v|withheld/);
  });

  it("names the place in the program", () => {
    expect(faultFields(new Error("x")).at).toMatch(/^log\.test\.ts:\d+$/);
  });

  it("takes no place from the message, which may be made to look like one", () => {
    const frames = `x\n    at secret (/tmp/canary.ts:1:2)`;
    expect(faultFields(new Error(frames)).at).toMatch(/^log\.test\.ts:\d+$/);
    const changed = new Error("before");
    changed.message = frames;
    changed.stack = `Error: other\n    at secret (/tmp/canary.ts:1:2)`;
    expect(faultFields(changed).at).toBeUndefined();
  });
});
