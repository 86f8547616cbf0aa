// SPDX-License-Identifier: Apache-2.0
import { inspect } from "node:util";
import { deserialize, serialize } from "node:v8";
import { describe, expect, it } from "vitest";
import { Fault } from "./fault.ts";
import { Secret } from "./secret.ts";

const plain = "sk-CANARY-4f9c2e71";
const secret = Secret.fromUtf8(plain);
const encodings = [
  plain,
  Buffer.from(plain).toString("base64"),
  Buffer.from(plain).toString("hex"),
  "115, 107",
  "73 6b",
];

describe("a secret", () => {
  it.each<[string, () => unknown]>([
    ["toString", () => secret.toString()],
    ["a template", () => `<${secret as unknown as string}>`],
    ["concatenation", () => "x" + (secret as unknown as string)],
    ["JSON", () => JSON.stringify({ secret, list: [secret] })],
    ["inspect", () => inspect(secret, { depth: 9, showHidden: true, getters: true })],
    [
      "inspect of a holder",
      () => inspect({ a: { b: new Map([["c", secret]]) } }, { depth: 9, showHidden: true }),
    ],
    ["format", () => inspect(secret, { customInspect: false, showHidden: true, depth: 9 })],
    [
      "its own properties",
      () => JSON.stringify(Object.getOwnPropertyDescriptors(secret)) + Object.keys(secret).join(","),
    ],
    ["a spread", () => inspect(Object.assign({}, secret))],
    [
      "a structured clone",
      () => inspect(structuredClone(secret), { showHidden: true, customInspect: false }),
    ],
    [
      "v8 serialization",
      () =>
        inspect(deserialize(serialize({ secret })), { showHidden: true, depth: 9 }) +
        serialize({ secret }).toString("latin1"),
    ],
    [
      "an error's cause",
      () =>
        inspect(new Fault("internal_error", "x", { cause: secret })) +
        String(new Error("x", { cause: secret }).cause),
    ],
    ["an error's properties", () => inspect(Object.assign(new Error("x"), { secret }))],
    ["a thrown one", () => inspect(new AggregateError([secret], "x"))],
  ])("is not shown by %s", (_name, show) => {
    const shown = String(show());
    for (const text of encodings) expect(shown).not.toContain(text);
  });

  it("is shown by expose alone, until it is wiped", () => {
    const own = Secret.fromUtf8(plain);
    expect(own.expose("inject").toString()).toBe(plain);
    expect(own.length).toBe(plain.length);
    own.wipe();
    expect(own.expose("inject").equals(Buffer.alloc(plain.length))).toBe(true);
  });
});
