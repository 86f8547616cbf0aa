// SPDX-License-Identifier: Apache-2.0
import type { Resource } from "@postern/contract";
import { describe, expect, it } from "vitest";
import type { CallerFacts } from "../attestation/process/identify-caller.ts";
import type { PublishedState } from "../governance/control-plane.ts";
import { parseSpiffeId } from "@postern/identity/spiffe-id";
import { ok, refuse } from "../kernel/result.ts";
import { compilePolicies } from "../policy/compile.ts";
import { ResourceSet } from "../resources/resource-set.ts";
import { entitlementOf, remoteStandingOf, standingOf } from "./agent-identity.ts";

const NOW = Date.UTC(2026, 5, 1);

function caller(more: Partial<CallerFacts["processes"][number]> = {}, stillHolds = true): CallerFacts {
  return {
    run: { id: "r", isolated: true, agent: "one" },
    transport: "unix",
    processes: [
      {
        ...{
          pid: 7,
          startTime: 1n,
          uid: 1000,
          gid: 1000,
          path: "/bin/agent",
          pathVerified: true,
          deleted: false,
        },
        ...{ cgroup: "/user.slice", fileKey: "k", sha256: async () => refuse("not read") },
        ...more,
      },
    ],
    stillHolds: () => stillHolds,
  };
}

type Spec = Extract<Resource, { kind: "Agent" }>["spec"];
const agent = (name: string, spec: Partial<Spec>): Resource => ({
  kind: "Agent",
  metadata: { name },
  spec: { trustProvider: "local", selectors: [`process:agent=${name}`], ...spec },
});
const ONE = agent("one", { spiffeId: "spiffe://corp/agents/{process.agent}/{process.uid}" });

function source(resources: readonly Resource[], more: { cut?: string[]; isStale?: boolean } = {}) {
  const providers = ["local", "ci"].map((name) => ({
    kind: "TrustProvider",
    metadata: { name },
    spec:
      name === "local"
        ? { kind: "process" }
        : { kind: "github-actions", audience: "https://a", ownerIds: ["1"] },
  }));
  const set = new ResourceSet([...resources, ...(providers as Resource[])]);
  const compiled = compilePolicies(set);
  if (!compiled.ok) throw new Error("the fixture does not compile");
  const state: PublishedState = {
    epoch: 1,
    resources: set,
    policies: compiled.value,
    cut: new Set(more.cut),
  };
  return { state, isStale: more.isStale ?? false, now: NOW };
}
const idOf = (text: string) => {
  const id = parseSpiffeId(text);
  if (!id.ok) throw new Error(id.reason);
  return id.value;
};

describe("a caller", () => {
  it.each([
    ["has become another program", caller({}, false), source([ONE]), "not_entitled", "caller_changed"],
    ["matches no agent", caller(), source([agent("two", {})]), "not_entitled", "no_agent_matches"],
    [
      "matches an agent that other evidence is asked of",
      caller(),
      source([agent("one", { trustProvider: "ci", spiffeId: "spiffe://corp/a" })]),
      "not_entitled",
      "no_agent_matches",
    ],
    [
      "is of an agent without a SPIFFE ID",
      caller(),
      source([agent("one", {})]),
      "not_entitled",
      "agent_without_spiffe_id",
    ],
    [
      "is of an agent that was cut off",
      caller(),
      source([ONE], { cut: ["one"] }),
      "not_entitled",
      "agent_cut",
    ],
    [
      "is of an agent that has expired",
      caller(),
      source([agent("one", { spiffeId: "spiffe://corp/a", expiresAt: "2026-05-31T23:59:59Z" })]),
      "not_entitled",
      "agent_expired",
    ],
    [
      "has a value that cannot stand in an ID",
      caller(),
      source([agent("one", { spiffeId: "spiffe://corp/{process.path}" })]),
      "not_entitled",
      "spiffe_id: the value of process:path cannot stand in a SPIFFE ID",
    ],
    [
      "comes while nobody knows the state",
      caller(),
      source([ONE], { isStale: true }),
      "unavailable",
      "control_plane_unavailable",
    ],
    [
      "cannot be read where a hash is asked for",
      caller(),
      source([agent("one", { selectors: ["process:sha256=00"], spiffeId: "spiffe://corp/a" })]),
      "unavailable",
      "caller_unreadable",
    ],
  ])("gets no identity where it %s", async (_, facts, given, kind, reason) => {
    expect(await entitlementOf(facts, given)).toEqual({ ok: false, reason: { kind, reason } });
  });

  it("gets no identity where two agents match it", async () => {
    const anyAgent = { ...caller(), run: { id: "r", isolated: true } };
    const ambiguous = source([
      agent("one", { selectors: ["process:uid=1000"], spiffeId: "spiffe://corp/a" }),
      agent("two", { selectors: ["process:gid=1000"], spiffeId: "spiffe://corp/b" }),
    ]);
    expect(await entitlementOf(anyAgent, ambiguous)).toEqual({
      ok: false,
      reason: { kind: "not_entitled", reason: "agent_ambiguous" },
    });
  });

  it("gets an ID with the hash of its program where the template asks for that, and none where it cannot be read", async () => {
    const hashed = source([agent("one", { spiffeId: "spiffe://corp/{process.sha256}" })]);
    const readable = caller({ sha256: async () => ok("00ff") });
    expect(await entitlementOf(readable, hashed)).toMatchObject({
      ok: true,
      value: { id: idOf("spiffe://corp/00ff") },
    });
    expect(await entitlementOf(caller(), hashed)).toMatchObject({
      ok: false,
      reason: { kind: "unavailable" },
    });
  });

  it("gets the ID that its facts make", async () => {
    expect(await entitlementOf(caller(), source([ONE]))).toEqual({
      ok: true,
      value: { agent: "one", id: idOf("spiffe://corp/agents/one/1000"), federated: [] },
    });
  });
});

describe("whoever holds an ID", () => {
  const id = idOf("spiffe://corp/agents/one/1000");

  it("is refused once its agent is cut off, expired or gone, or nobody can tell", () => {
    expect(standingOf(id, source([ONE], { cut: ["one"] }))).toEqual({ ok: false, reason: "agent_cut" });
    expect(standingOf(id, source([]))).toEqual({ ok: false, reason: "agent_unknown" });
    expect(standingOf(idOf("spiffe://corp/agents/two/1000"), source([ONE]))).toEqual({
      ok: false,
      reason: "agent_unknown",
    });
    expect(standingOf(id, source([ONE], { isStale: true }))).toEqual({
      ok: false,
      reason: "control_plane_unavailable",
    });
  });

  it("may pass while its agent may", () => {
    expect(standingOf(id, source([ONE], { cut: ["two"] }))).toEqual({ ok: true, value: "one" });
  });

  it("is refused where the ID is the server's own, or where two agents could have it", () => {
    const any = agent("any", {
      spiffeId: "spiffe://corp/{process.agent}/{process.uid}",
      selectors: ["process:gid=1"],
    });
    expect(standingOf(idOf("spiffe://corp/postern/gateway"), source([any]))).toEqual({
      ok: false,
      reason: "spiffe_id_of_server",
    });
    const twice = [
      any,
      agent("same", { spiffeId: "spiffe://corp/a/{process.uid}", selectors: ["process:gid=2"] }),
    ];
    expect(standingOf(idOf("spiffe://corp/a/1"), source(twice))).toEqual({
      ok: false,
      reason: "agent_ambiguous",
    });
  });

  it("does not come in over the network where only a process of a run can be its agent", () => {
    expect(remoteStandingOf(id, source([ONE]))).toEqual({ ok: false, reason: "agent_of_runs" });
    expect(remoteStandingOf(id, source([ONE], { cut: ["one"] }))).toEqual({ ok: false, reason: "agent_cut" });
    const service = agent("one", {
      selectors: ["process:uid=1000", "process:path=/bin/agent"],
      spiffeId: "spiffe://corp/agents/one/{process.uid}",
    });
    expect(remoteStandingOf(id, source([service]))).toEqual({ ok: true, value: "one" });
  });
});
