// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { holdsCanary, judge } from "./judge.ts";
import type { ProbeReport } from "./probe.ts";

const canary = "canary-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5";
const status = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map((set) => `${set}:\t0000000000000000`);

const sound: ProbeReport = {
  call: { status: 200, headers: "x-reflected\n****", body: "{}" },
  environments: ["PATH=/bin\0", "OPENAI_API_KEY=sk-proj-PosternPlaceholder\0"],
  commandLines: ["bwrap", "node"],
  processes: 2,
  status: [...status, "NoNewPrivs:\t1"].join("\n"),
  direct: "refused",
  dataFolder: [
    "runs",
    "runs/abc234",
    "runs/abc234/ca.pem",
    "runs/abc234/ca-bundle.pem",
    "runs/abc234/door.sock",
  ],
  reachable: [],
  writable: [],
  renamed: [],
};

const failed = (change: Partial<ProbeReport>, right = 1): string[] =>
  judge({ ...sound, ...change }, canary, right)
    .filter(({ ok }) => !ok)
    .map(({ name }) => name);

describe("doctor's judgement", () => {
  it("finds nothing wrong with a sound run", () => {
    expect(failed({})).toEqual([]);
  });

  it.each<[string, Partial<ProbeReport>, number?]>([
    ["call succeeds", { call: { status: 403, headers: "", body: "" } }],
    ["call succeeds", {}, 0],
    [
      "secret not in the answer",
      { call: { status: 200, headers: "", body: `{"reflected":"Bearer ${canary}"}` } },
    ],
    [
      "secret not in the answer",
      { call: { status: 200, headers: Buffer.from(`Bearer ${canary}`).toString("base64"), body: "" } },
    ],
    [
      "secret not in the answer",
      { call: { status: 200, headers: "", body: Buffer.from(canary).toString("hex") } },
    ],
    ["secret not in any environment", { environments: [`KEY=${canary}`] }],
    ["secret not in any environment", { environments: [] }],
    ["secret not in any command line", { commandLines: [`curl -H ${canary}`] }],
    ["other processes out of sight", { processes: 120 }],
    ["data folder out of sight", { dataFolder: ["master.key"] }],
    ["data folder out of sight", { dataFolder: ["runs/abc234/ca.pem", "runs/abc234/other"] }],
    ["no way round the gateway", { direct: "connected" }],
    [
      "no capabilities, no new privileges",
      { status: sound.status.replace("0000000000000000", "000001ffffffffff") },
    ],
    [
      "no capabilities, no new privileges",
      { status: sound.status.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0") },
    ],
    ["no capabilities, no new privileges", { status: "" }],
    ["Postern's own program is safe from the agent", { writable: ["main.ts"] }],
    ["no folder on the way can be moved", { renamed: ["/home/u/.local/share"] }],
  ])("fails the check `%s` when it does not hold", (name, change, right) => {
    expect(failed(change, right)).toContain(name);
  });

  it("fails where the call did not come through at all", () => {
    expect(failed({ call: { failed: "ECONNREFUSED" } }, 0)).toEqual([
      "call succeeds",
      "secret not in the answer",
    ]);
  });
});

describe("canary search", () => {
  it.each([0, 1, 2, 3, 4])("finds the canary in base64 at any alignment (%i)", (offset) => {
    const text = "x".repeat(offset) + canary + "tail";
    expect(holdsCanary(Buffer.from(text).toString("base64"), canary)).toBe(true);
    expect(holdsCanary(Buffer.from(text).toString("base64url"), canary)).toBe(true);
    expect(
      holdsCanary(Buffer.from("x".repeat(offset) + "something else altogether").toString("base64"), canary),
    ).toBe(false);
  });
});
