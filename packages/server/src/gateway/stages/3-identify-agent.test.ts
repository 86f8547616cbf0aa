// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { ok, refuse } from "../../kernel/result.ts";
import type { Caller, GatewayAgent, IdentifiedCaller, Snapshot } from "../ports.ts";
import { checkStanding, identifyAgent } from "./3-identify-agent.ts";

const clock = { now: () => 1_000_000 };
const identified: IdentifiedCaller = {
  agent: "a",
  run: "r",
  isolated: true,
  selectors: [],
  process: { pid: 1, path: "/x" },
};
const callerThat = (identify: Caller["identify"]): Caller => ({
  run: "r",
  origin: "r",
  isolated: true,
  identify,
});
const known = callerThat(async () => ok(identified));

const snapshotWith = (...agents: GatewayAgent[]): Snapshot => ({
  epoch: 7,
  agents: new Map(agents.map((agent) => [agent.name, agent])),
  serverWorkloads: new Map(),
  byAuthority: new Map(),
  policyDigest: "",
  conditionsOf: () => [],
  decide: () => {
    throw new Error("not asked here");
  },
});

describe("the agent behind a connection", () => {
  it("is refused with one sentence whatever the reason is", async () => {
    for (const reason of ["no_process", "no_matching_agent", "caller_changed"]) {
      const result = await identifyAgent(
        callerThat(async () => refuse(reason)),
        snapshotWith(),
        clock,
      );
      expect(result).toEqual({
        ok: false,
        reason: {
          code: "agent_unidentified",
          detail: "the caller is not an agent that this gateway knows",
          reasons: [reason],
        },
      });
    }
  });

  it("is asked for at the snapshot's own epoch", async () => {
    const epochs: number[] = [];
    const caller = callerThat(async (epoch) => {
      epochs.push(epoch);
      return ok(identified);
    });
    expect(await identifyAgent(caller, snapshotWith({ name: "a", isCut: false }), clock)).toEqual(
      ok(identified),
    );
    expect(epochs).toEqual([7]);
  });

  it.each<[string, GatewayAgent[], string]>([
    ["registered no more", [], "agent_unidentified"],
    ["cut", [{ name: "a", isCut: true }], "agent_quarantined"],
    ["expired to the millisecond", [{ name: "a", isCut: false, expiresAt: 1_000_000 }], "agent_quarantined"],
    ["another of the same beginning", [{ name: "aa", isCut: false }], "agent_unidentified"],
  ])("is refused where it is %s", async (_name, agents, code) => {
    expect(await identifyAgent(known, snapshotWith(...agents), clock)).toMatchObject({
      ok: false,
      reason: { code },
    });
    expect(checkStanding("a", snapshotWith(...agents), clock)).toMatchObject({ ok: false, reason: { code } });
  });

  it("passes until the last millisecond", async () => {
    const snapshot = snapshotWith({ name: "a", isCut: false, expiresAt: 1_000_001 });
    expect(await identifyAgent(known, snapshot, clock)).toMatchObject({ ok: true });
  });

  it("is refused while nobody can tell whether it was cut off, whoever it is", async () => {
    const agent = { name: "a", isCut: false };
    const stale = { ...snapshotWith(agent), isStale: () => true };
    const refusal = { ok: false, reason: { code: "control_plane_unavailable" } };
    expect(await identifyAgent(known, stale, clock)).toMatchObject(refusal);
    expect(checkStanding("a", stale, clock)).toMatchObject(refusal);
    expect(checkStanding("a", { ...snapshotWith(agent), isStale: () => false }, clock)).toMatchObject({
      ok: true,
    });
  });
});
