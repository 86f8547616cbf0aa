// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { PatternMatcher } from "../../guard/pattern-matcher.ts";
import { secretPatterns } from "../../guard/secret-patterns.ts";
import type { DecisionRecord } from "../ports.ts";
import { withoutSecrets } from "./without-secrets.ts";

const SECRET = "sk-proj-0123456789abcdef";
const secrets = { matcher: () => PatternMatcher.of(secretPatterns(Buffer.from(SECRET))) };
const record: DecisionRecord = {
  ...{ id: "1", time: 0, outcome: "deny", reasons: [], policies: [], run: "r", isolated: true },
  ...{ policyDigest: "d", method: "GET", host: "api.example", path: "/v1/models", model: "m", detail: "no" },
};
const escaped = [...Buffer.from(SECRET)].map((byte) => `%${byte.toString(16)}`).join("");

describe("a decision for the log", () => {
  it.each<[keyof DecisionRecord, string]>([
    ["method", SECRET],
    ["host", `${SECRET}.example`],
    ["path", `/v1/${SECRET}/x`],
    ["path", `/v1/${Buffer.from(SECRET).toString("base64url")}`],
    ["path", `/v1/${escaped}`],
    ["path", `/v1/sk-proj-%30123456789abcde%66`],
    ["model", SECRET.toUpperCase()],
    ["detail", `there is no model ${SECRET}, é`],
  ])("holds no secret that stands in its %s: %s", async (name, value) => {
    const clean = await withoutSecrets({ ...record, [name]: value }, secrets);
    const text = decodeURIComponent(JSON.stringify(clean)).toLowerCase();
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain(Buffer.from(SECRET).toString("base64url").toLowerCase());
    expect(clean[name]).toContain("*");
    expect({ ...clean, [name]: value }).toEqual({ ...record, [name]: value });
  });

  it("stays as it is where there is none", async () => {
    const harmless = { ...record, path: "/v1/100%25/%zz" };
    expect(await withoutSecrets(harmless, secrets)).toBe(harmless);
  });

  it("leaves out what the agent wrote where the secrets cannot be read, and is kept all the same", async () => {
    const broken = { matcher: () => Promise.reject(new Error("the vault does not open")) };
    const clean = await withoutSecrets({ ...record, path: `/v1/${SECRET}` }, broken);
    expect(JSON.stringify(clean)).not.toContain(SECRET);
    expect(clean).toMatchObject({ id: "1", outcome: "deny", run: "r" });
  });
});
