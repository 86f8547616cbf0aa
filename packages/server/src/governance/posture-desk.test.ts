// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { AuditEvent } from "../audit/event-frame.ts";
import type { PostureStore, StoredPosture } from "../store/posture-store.ts";
import { PostureDesk } from "./posture-desk.ts";

const NOW = Date.parse("2026-11-21T12:00:00Z");
const OPERATOR = { uid: 1000, objection: undefined };
const REPORT = { subject: "machine", source: "edr", validFor: 60, facts: { healthy: true } };

async function newDesk(put?: PostureStore["put"]) {
  const kept: StoredPosture[] = [];
  const events: AuditEvent[] = [];
  let changes = 0;
  const clock = { time: NOW, now: () => clock.time };
  const store: PostureStore = {
    put: put ?? (async (report) => (kept.push(report), "kept")),
    list: async () => kept,
  };
  const desk = await PostureDesk.open({
    ...{ store, clock },
    audit: async (event) => void events.push(event),
    changed: () => void changes++,
  });
  return { desk, events, kept, clock, changes: () => changes };
}

describe("what is not taken", () => {
  it.each([
    ["of a process of an agent", REPORT, { uid: 1000, objection: "it belongs to run r" }, /no agent says/],
    ["seen in the future", { ...REPORT, observedAt: "2026-11-21T12:01:01Z" }, OPERATOR, /in the future/],
    ["that has expired", { ...REPORT, observedAt: "2026-11-21T11:59:00Z" }, OPERATOR, /expired already/],
  ])("a word %s", async (_, report, operator, detail) => {
    const { changes, desk, events, kept } = await newDesk();
    expect(await desk.put(report, operator)).toMatchObject({
      ok: false,
      reason: { detail: expect.stringMatching(detail) as string },
    });
    expect([changes(), events, kept, desk.of("machine")]).toEqual([0, [], [], []]);
  });

  it.each([
    ["older", /seen later/],
    ["full", /withdraw some/],
  ] as const)("a word that the store finds %s", async (outcome, detail) => {
    const { changes, desk } = await newDesk(async () => outcome);
    const done = await desk.put(REPORT, OPERATOR);
    expect(done).toMatchObject({ ok: false, reason: { code: "resource_conflict" } });
    expect(done.ok ? "" : done.reason.detail).toMatch(detail);
    expect([changes(), desk.of("machine")]).toEqual([0, []]);
  });

  it("a word that the store could not keep", async () => {
    const { desk } = await newDesk(() => Promise.reject(new Error("disk")));
    await expect(desk.put(REPORT, OPERATOR)).rejects.toThrow("disk");
    expect(desk.of("machine")).toEqual([]);
  });
});

describe("what is taken", () => {
  it("counts at once, and the log says it once for as long as it is the same", async () => {
    const { changes, clock, desk, events } = await newDesk();
    await desk.put(REPORT, OPERATOR);
    await desk.put(REPORT, OPERATOR);
    expect(desk.of("machine")).toEqual([
      { source: "edr", facts: { healthy: true }, observedAt: NOW, expiresAt: NOW + 60_000 },
    ]);
    expect(changes()).toBe(2);
    expect(events).toMatchObject([
      {
        unmapped: {
          ...{ kind: "posture", change: "report", name: "machine", source: "edr" },
          ...{ facts: ["healthy=true"], operator_uid: 1000 },
        },
      },
    ]);
    // What had expired was nobody's word: the same again is new.
    clock.time += 60_000;
    await desk.put(REPORT, OPERATOR);
    expect(events).toHaveLength(2);
  });

  it("replaces what its source said, not what others said, and without facts is nothing", async () => {
    const { desk, events } = await newDesk();
    await desk.put({ ...REPORT, source: "scanner" }, OPERATOR);
    await desk.put(REPORT, OPERATOR);
    await desk.put({ ...REPORT, facts: { healthy: false } }, OPERATOR);
    expect(desk.of("machine").map(({ source, facts }) => [source, facts["healthy"]])).toEqual([
      ["scanner", true],
      ["edr", false],
    ]);
    await desk.put({ ...REPORT, facts: {} }, OPERATOR);
    expect(desk.of("machine").map(({ source }) => source)).toEqual(["scanner"]);
    expect(events.at(-1)).toMatchObject({ unmapped: { change: "withdraw", facts: [] } });
  });

  it("is there after a restart, and what another server took after a refresh", async () => {
    const { desk, kept, changes } = await newDesk();
    kept.push({ ...REPORT, observedAt: NOW, expiresAt: NOW + 1 });
    expect(desk.of("machine")).toEqual([]);
    await desk.refresh();
    expect(desk.of("machine")).toHaveLength(1);
    expect(changes()).toBe(1);
  });
});

describe("what a source that was asked says", () => {
  const seen = { subject: "machine", facts: { healthy: true }, observedAt: NOW, validFor: 60 };

  it("counts under the source's name, in the log as said by the server", async () => {
    const { changes, desk, events } = await newDesk();
    expect(await desk.take("falcon", [seen])).toBe(1);
    expect(desk.of("machine")).toMatchObject([{ source: "falcon", expiresAt: NOW + 60_000 }]);
    expect(changes()).toBe(1);
    expect(events).toMatchObject([{ actor: { app_name: "Postern" }, unmapped: { source: "falcon" } }]);
  });

  it.each([
    ["has expired", { observedAt: NOW - 60_000 }],
    ["was seen in the future", { observedAt: NOW + 60_001 }],
    ["says nothing", { facts: {} }],
  ])("is passed over where it %s", async (_, more) => {
    const { changes, desk, events, kept } = await newDesk();
    expect(await desk.take("falcon", [{ ...seen, ...more }])).toBe(0);
    expect([changes(), events, kept]).toEqual([0, [], []]);
  });
});
