// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AuditEvent } from "../audit/event-frame.ts";
import { systemClock } from "../kernel/clock.ts";
import { openStore } from "../store/sqlite/open-store.ts";
import type { Store } from "../store/store.ts";
import { loadProfiles } from "../profiles/profile.ts";
import { ControlPlane, type ControlPlaneParts, type PublishedState } from "./control-plane.ts";

const operator = { uid: 7 };
const profiles = new Map(
  [...loadProfiles()].map(([name, { hosts, injections, operations }]) => [
    name,
    {
      name,
      hosts,
      operations: operations.map((operation) => ({ ...operation, hasModel: operation.model !== undefined })),
      ...(injections[0] === undefined ? {} : { injection: injections[0].injection }),
    },
  ]),
);

const agentYaml = (name: string): string =>
  `kind: Agent\nmetadata: { name: ${name} }\nspec: { trustProvider: local, selectors: ["process:agent=${name}"] }\n`;
const BASE = [
  "kind: TrustProvider\nmetadata: { name: local }\nspec: { kind: process }\n",
  agentYaml("a"),
  agentYaml("b"),
].join("---\n");

let folder: string;
let store: Store;
let events: AuditEvent[];
let published: PublishedState[];
let auditFails: boolean;

const partsWith = (more: Partial<ControlPlaneParts> = {}): ControlPlaneParts => ({
  resources: store.resources,
  agentStates: store.agentStates,
  profiles,
  secretNames: async () => new Set<string>(),
  audit: async (event) => {
    if (auditFails) throw new Error("disk full");
    events.push(event);
  },
  clock: systemClock,
  publish: (state) => void published.push(state),
  ...more,
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-plane-"));
  store = await openStore({ file: join(folder, "postern.db"), clock: systemClock });
  [events, published, auditFails] = [[], [], false];
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

const apply = (plane: ControlPlane, text: string, dryRun = false) =>
  plane.apply({ files: [{ name: "x.yaml", text }], dryRun }, operator);
const names = (plane: ControlPlane): string[] => plane.stored.map(({ resource }) => resource.metadata.name);

describe("apply", () => {
  it("makes everything or nothing", async () => {
    const plane = await ControlPlane.open(partsWith());
    const refused = await apply(
      plane,
      `${BASE}---\n${agentYaml("c").replace("trustProvider: local", "trustProvider: nowhere")}`,
    );
    expect(refused).toMatchObject({
      ok: false,
      reason: { places: [{ file: "x.yaml", path: "spec.trustProvider" }] },
    });
    expect([names(plane), events, published.length]).toEqual([[], [], 1]);
    expect(await apply(plane, BASE)).toMatchObject({
      ok: true,
      value: { changes: [{ action: "created" }, { action: "created" }, { action: "created" }] },
    });
    expect(names(plane)).toEqual(["local", "a", "b"]);
    expect([events.length, published.length]).toEqual([3, 2]);
  });

  it("is refused, and changes nothing, where the log cannot be written", async () => {
    const plane = await ControlPlane.open(partsWith());
    auditFails = true;
    await expect(apply(plane, BASE)).rejects.toThrow("disk full");
    expect([names(plane), published.length]).toEqual([[], 1]);
    auditFails = false;
    expect(await apply(plane, BASE)).toMatchObject({ ok: true });
  });

  it("publishes nothing where nothing changes, or where it only looks", async () => {
    const plane = await ControlPlane.open(partsWith());
    await apply(plane, BASE, true);
    expect([names(plane), events.length]).toEqual([[], 0]);
    await apply(plane, BASE);
    const { epoch } = plane.state;
    await apply(plane, BASE);
    expect([plane.state.epoch, events.length]).toEqual([epoch, 3]);
  });

  it("lets one change wait for the other, so that each check still holds when it is written", async () => {
    const plane = await ControlPlane.open(partsWith());
    await apply(plane, BASE);
    const [added, deleted] = await Promise.all([
      apply(plane, agentYaml("c")),
      plane.delete("TrustProvider", "local", operator),
    ]);
    expect([added.ok, deleted.ok]).toEqual([true, false]);
    expect(names(plane)).toContain("local");
  });

  it("goes on after a change that failed", async () => {
    const plane = await ControlPlane.open(partsWith());
    auditFails = true;
    const failed = apply(plane, BASE);
    const next = failed.catch(() => {
      auditFails = false;
      return apply(plane, BASE);
    });
    await expect(failed).rejects.toThrow();
    expect(await next).toMatchObject({ ok: true });
  });
});

describe("cut", () => {
  const opened = async (more: Partial<ControlPlaneParts> = {}) => {
    const plane = await ControlPlane.open(partsWith(more));
    await apply(plane, BASE);
    return plane;
  };

  it("is published when it resolves, kept over a restart, and undone by restore", async () => {
    const plane = await opened();
    expect(await plane.setAgentState("a", "cut", "tested", operator)).toEqual({ ok: true, value: undefined });
    expect([...plane.state.cut]).toEqual(["a"]);
    expect([...published.at(-1)!.cut]).toEqual(["a"]);
    expect([...(await ControlPlane.open(partsWith())).state.cut]).toEqual(["a"]);
    await plane.setAgentState("a", "restore", "", operator);
    expect([...plane.state.cut]).toEqual([]);
    expect(events.map(({ unmapped }) => unmapped.kind).slice(-2)).toEqual(["agent_state", "agent_state"]);
  });

  it("is in force although the log cannot be written, and says so", async () => {
    const plane = await opened();
    auditFails = true;
    expect(await plane.setAgentState("a", "cut", "", operator)).toMatchObject({
      ok: false,
      reason: { code: "audit_unavailable", detail: expect.stringContaining("a is cut off") },
    });
    expect([...published.at(-1)!.cut]).toEqual(["a"]);
    expect(await store.agentStates.get("a")).toMatchObject({ state: "cut" });
  });

  it("is in force although it cannot be stored, and stays so when something else changes", async () => {
    let storeFails = true;
    const plane = await opened({
      agentStates: {
        ...store.agentStates,
        list: () => store.agentStates.list(),
        set: (change) =>
          storeFails ? Promise.reject(new Error("disk full")) : store.agentStates.set(change),
      },
    });
    expect(await plane.setAgentState("a", "cut", "", operator)).toMatchObject({
      ok: false,
      reason: { code: "internal_error" },
    });
    expect([...published.at(-1)!.cut]).toEqual(["a"]);
    await apply(plane, agentYaml("c"));
    expect([...plane.state.cut]).toEqual(["a"]);
    storeFails = false;
    await plane.setAgentState("a", "restore", "", operator);
    expect([...plane.state.cut]).toEqual([]);
  });

  it("is not undone where the log cannot be written", async () => {
    const plane = await opened();
    await plane.setAgentState("a", "cut", "", operator);
    auditFails = true;
    await expect(plane.setAgentState("a", "restore", "", operator)).rejects.toThrow("disk full");
    expect([...plane.state.cut]).toEqual(["a"]);
  });

  it("stays with the name: an agent that is deleted and made again is cut", async () => {
    const plane = await opened();
    await plane.setAgentState("b", "cut", "", operator);
    await plane.delete("Agent", "b", operator);
    await apply(plane, agentYaml("b"));
    expect([...plane.state.cut]).toEqual(["b"]);
  });

  it("of a name that is no agent is refused", async () => {
    const plane = await opened();
    expect(await plane.setAgentState("nobody", "cut", "", operator)).toMatchObject({
      ok: false,
      reason: { code: "not_found" },
    });
    expect(events).toHaveLength(3);
  });
});

describe("two control planes on one store", () => {
  it("each sees what the other has changed once it is told to look", async () => {
    const [here, there] = [await ControlPlane.open(partsWith()), await ControlPlane.open(partsWith())];
    await apply(here, BASE);
    expect(names(there)).toEqual([]);
    await there.refresh();
    expect(names(there)).toEqual(["local", "a", "b"]);
    await here.setAgentState("a", "cut", "", operator);
    await there.refresh();
    expect([...there.state.cut]).toEqual(["a"]);
  });

  it("a change is checked against what the other has just stored", async () => {
    const [here, there] = [await ControlPlane.open(partsWith()), await ControlPlane.open(partsWith())];
    await apply(here, BASE);
    expect(await apply(there, agentYaml("c"))).toMatchObject({
      ok: true,
      value: { changes: [{ action: "created" }] },
    });
    expect(await here.delete("TrustProvider", "local", operator)).toMatchObject({ ok: false });
    expect(names(here)).toEqual(["local", "a", "b", "c"]);
    expect(await there.setAgentState("b", "cut", "", operator)).toMatchObject({ ok: true });
  });

  it("a change that the other overtakes is refused and changes nothing", async () => {
    const there = await ControlPlane.open(partsWith());
    await apply(there, BASE);
    let overtakes = true;
    const here = await ControlPlane.open(
      partsWith({
        audit: async () => {
          if (!overtakes) return;
          overtakes = false;
          await apply(there, agentYaml("d"));
        },
      }),
    );
    await expect(apply(here, agentYaml("c"))).rejects.toMatchObject({ code: "resource_conflict" });
    await here.refresh();
    expect(names(here)).toEqual(["local", "a", "b", "d"]);
    expect(await apply(here, agentYaml("c"))).toMatchObject({ ok: true });
  });

  it("a cut that could not be stored is stored by the next look", async () => {
    let isAway = false;
    const away = async <T>(work: () => Promise<T>): Promise<T> => {
      if (isAway) throw new Error("away");
      return work();
    };
    const here = await ControlPlane.open(
      partsWith({
        agentStates: { ...store.agentStates, set: (state) => away(() => store.agentStates.set(state)) },
      }),
    );
    await apply(here, BASE);
    isAway = true;
    expect(await here.setAgentState("a", "cut", "leaked", operator)).toMatchObject({ ok: false });
    expect([...here.state.cut]).toEqual(["a"]);
    await expect(here.refresh()).rejects.toThrow("away");
    expect([...here.state.cut]).toEqual(["a"]);
    isAway = false;
    await here.refresh();
    expect(await store.agentStates.get("a")).toMatchObject({ state: "cut", reason: "leaked" });
  });
});
