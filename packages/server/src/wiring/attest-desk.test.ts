// SPDX-License-Identifier: Apache-2.0
import type { Resource } from "@postern/contract";
import { describe, expect, test } from "vitest";
import { joinTokenDigest, newJoinToken } from "../attestation/join-token/join-token.ts";
import type { AuditEvent } from "../audit/event-frame.ts";
import { compilePolicies } from "../policy/compile.ts";
import { ResourceSet } from "../resources/resource-set.ts";
import { AttestDesk, type AttestParts } from "./attest-desk.ts";

const NOW = Date.UTC(2026, 10, 21);
const token = newJoinToken();
const named = (kind: "TrustProvider" | "Agent", name: string, spec: object) =>
  ({ kind, metadata: { name }, spec }) as Resource;
const agent = (name: string, spec: object = {}) =>
  named("Agent", name, { trustProvider: "by-hand", selectors: ["join-token:name=web-1"], ...spec });
const provider = named("TrustProvider", "by-hand", { kind: "join-token", maxTokenLifetime: 600 });

function deskOf(resources: Resource[], more: Partial<AttestParts> & { cut?: string[] } = {}) {
  const events: AuditEvent[] = [];
  const set = new ResourceSet([provider, ...resources]);
  const policies = compilePolicies(set);
  if (!policies.ok) throw new Error("no policies");
  const desk = new AttestDesk({
    clock: { now: () => NOW },
    evidence: { useOnce: async () => true },
    joinTokens: {
      add: async () => {},
      redeem: async (name, digest) =>
        digest === joinTokenDigest(token)
          ? { digest, provider: name, name: "web-1", expiresAt: NOW + 1000 }
          : undefined,
    },
    state: () => ({ epoch: 1, resources: set, policies: policies.value, cut: new Set(more.cut) }),
    isStale: () => false,
    audit: async (event) => void events.push(event),
    ...more,
  });
  const attest = (evidence: string, explain = false) =>
    desk.attest(
      { provider: "by-hand", evidence: Buffer.from(evidence).toString("base64"), explain },
      { uid: 0 },
    );
  return { attest, events };
}

describe("the desk for evidence", () => {
  test("answers nothing where the log cannot be written", async () => {
    const { attest } = deskOf([agent("one")], { audit: () => Promise.reject(new Error("disk full")) });
    await expect(attest(token)).rejects.toThrow("disk full");
  });

  test("lets nobody in while nobody can tell whether the state is still right", async () => {
    const { attest, events } = deskOf([agent("one")], { isStale: () => true });
    expect(await attest(token)).toMatchObject({ value: { outcome: "unavailable" } });
    expect(events[0]?.unmapped).toMatchObject({ reason: "control_plane_unavailable" });
  });

  test.each<[string, Resource[]]>([
    ["changed", [named("TrustProvider", "by-hand", { kind: "join-token", maxTokenLifetime: 60 })]],
    ["taken away", []],
  ])("lets nobody in by settings that were %s while evidence was checked", async (_, later) => {
    const [before, after] = [[provider], later].map((providers) => {
      const set = new ResourceSet([...providers, agent("one")]);
      const policies = compilePolicies(set);
      if (!policies.ok) throw new Error("no policies");
      return { epoch: 1, resources: set, policies: policies.value, cut: new Set<string>() };
    });
    let now = before!;
    const redeem = async (name: string, digest: string) => {
      now = after!;
      return { digest, provider: name, name: "web-1", expiresAt: NOW + 1000 };
    };
    const { attest, events } = deskOf([], { state: () => now, joinTokens: { add: async () => {}, redeem } });
    expect(await attest(token)).toMatchObject({ value: { outcome: "unavailable" } });
    expect(events[0]?.unmapped).toMatchObject({ reason: "provider_changed" });
  });

  test.each<[string, Resource[], string[], string]>([
    ["cut off", [agent("one")], ["one"], "agent_cut"],
    ["past its end", [agent("one", { expiresAt: "2026-11-21T00:00:00Z" })], [], "agent_expired"],
    ["of another trust provider", [agent("one", { trustProvider: "other" })], [], "no_agent_matches"],
    ["one of two that match", [agent("one"), agent("two")], [], "agent_ambiguous"],
  ])("refuses an agent that is %s, tells the log why and nobody else", async (_, agents, cut, reason) => {
    const { attest, events } = deskOf(agents, { cut });
    const answer = await attest(token);
    expect(answer).toEqual({ ok: true, value: { id: events[0]?.metadata.uid, outcome: "refused" } });
    expect(events[0]?.unmapped).toMatchObject({ kind: "attestation", outcome: "refused", reason });
  });

  test("names the agent, and has the evidence in no event", async () => {
    const { attest, events } = deskOf([agent("one")]);
    expect(await attest(token)).toMatchObject({ value: { outcome: "matched", agent: "one" } });
    expect(await attest("postern-join-guess", true)).toMatchObject({
      value: { outcome: "refused", explanation: { reason: "join_token_malformed" } },
    });
    const log = JSON.stringify(events);
    for (const text of [token, Buffer.from(token).toString("base64"), "postern-join-guess"])
      expect(log).not.toContain(text);
  });
});
