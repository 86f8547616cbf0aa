// SPDX-License-Identifier: Apache-2.0
import type { Resource, SigstoreSpec } from "@postern/contract";
import { signerByKey, signSimply, simpleSigningPayload } from "@postern/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { specFor, startRegistry } from "../attestation/sigstore/image-signatures.fixture.ts";
import { DIGEST, FakeEngine, IMAGE, inspected } from "../attestation/container/engine.fixture.ts";
import type { CallerFacts } from "../attestation/process/identify-caller.ts";
import type { ProcessView } from "../attestation/process/process-view.ts";
import type { PublishedState } from "../governance/control-plane.ts";
import { systemClock } from "../kernel/clock.ts";
import { ok } from "../kernel/result.ts";
import { compilePolicies } from "../policy/compile.ts";
import { ResourceSet } from "../resources/resource-set.ts";
import { ContainerEngines, nodeEntitlement } from "./node-workloads.ts";

const ID = "3f".repeat(32);
const CONTAINER = `0::/docker/${ID}\n`;
const MACHINE = "0::/user.slice\n";

let engine: FakeEngine;
let groups: string | undefined;
let ownNamespace: string;
let isSame: () => boolean;
let cut: string[];
let sigstore: SigstoreSpec | undefined;

beforeEach(async () => {
  engine = new FakeEngine();
  await engine.start();
  engine.has(ID, inspected(ID, 7));
  groups = CONTAINER;
  ownNamespace = "pid:[2]";
  isSame = () => true;
  cut = [];
  sigstore = undefined;
});

afterEach(() => engine.remove());

const provider = (name: string, spec: object): Resource =>
  ({ kind: "TrustProvider", metadata: { name }, spec }) as Resource;
const agent = (name: string, trustProvider: string, selectors: string[], spiffeId?: string): Resource => ({
  kind: "Agent",
  metadata: { name },
  spec: { trustProvider, selectors, spiffeId: spiffeId ?? `spiffe://corp/${name}` },
});

const view: ProcessView = {
  cgroups: (pid) => (pid === 7 ? CONTAINER : groups),
  pidNamespace: (pid) => (pid === "self" ? "pid:[1]" : pid === 7 ? "pid:[2]" : ownNamespace),
  livesIn: (_, namespace) => namespace === ownNamespace,
  hold: () => ({ isAlive: () => true, release: () => {} }),
};

const facts = (): CallerFacts => ({
  run: undefined,
  transport: "unix",
  stillHolds: () => isSame(),
  processes: [
    {
      ...{ pid: 9, startTime: 1n, uid: 1000, gid: 1000, path: "/bin/agent", pathVerified: true },
      ...{ deleted: false, cgroup: "/x", fileKey: "k", sha256: async () => ok("00ff") },
    },
  ],
});

async function ask(...agents: Resource[]) {
  const providers = [
    provider("local", { kind: "process" }),
    provider("here", { kind: "docker", engineSocket: engine.socket, sigstore }),
    provider("pods", { kind: "podman", engineSocket: "/nowhere.sock" }),
  ];
  const resources = new ResourceSet([...agents, ...providers]);
  const policies = compilePolicies(resources);
  if (!policies.ok) throw new Error("the fixture does not compile");
  const state: PublishedState = { epoch: 1, resources, policies: policies.value, cut: new Set(cut) };
  const source = () => ({ state, isStale: false, now: 0 });
  const answer = await nodeEntitlement(facts(), new ContainerEngines(systemClock), source, view);
  return answer.ok ? answer.value.id.uri : `${answer.reason.kind}: ${answer.reason.reason}`;
}

const TEAM = agent("team", "here", ["docker:label=com.corp.team=support"]);
const USER = agent("user", "local", ["process:uid=1000"]);

describe("a process outside of runs gets no identity", () => {
  it("as a process of the machine, where it is in a container", async () => {
    expect(await ask(USER)).toBe("not_entitled: no_agent_matches");
  });

  it("where it is in a process namespace that is no container's", async () => {
    groups = MACHINE;
    expect(await ask(USER, TEAM)).toBe("not_entitled: caller_in_another_process_namespace");
  });

  it("that a run gives: nobody has said who it is", async () => {
    groups = MACHINE;
    ownNamespace = "pid:[1]";
    expect(await ask(agent("a", "local", ["process:agent=a"]))).toBe("not_entitled: no_agent_matches");
    expect(await ask(agent("a", "local", ["process:isolated=false"]))).toBe("not_entitled: no_agent_matches");
  });

  it("while the engine of its container is down, and is told that nobody knows", async () => {
    engine.stop();
    expect(await ask(TEAM)).toBe("unavailable: engine_unreachable");
  });

  it("by the words of another trust provider of the same kind", async () => {
    expect(await ask(agent("team", "pods", ["podman:label=com.corp.team=support"]))).toBe(
      "not_entitled: no_agent_matches",
    );
  });

  it("where it is two agents, by whatever providers", async () => {
    expect(await ask(TEAM, agent("id", "here", [`docker:container-id=${ID}`]))).toBe(
      "not_entitled: agent_ambiguous",
    );
  });

  it("where it has become another program, or does so while the engine is asked", async () => {
    isSame = () => false;
    expect(await ask(TEAM)).toBe("not_entitled: caller_changed");
    let checks = 0;
    isSame = () => checks++ === 0;
    expect(await ask(TEAM)).toBe("not_entitled: caller_changed");
  });

  it("where its groups cannot be read, or name two containers", async () => {
    groups = undefined;
    expect(await ask(TEAM)).toBe("unavailable: caller_unreadable");
    groups = `1:pids:/docker/${ID}\n0::/docker/${"aa".repeat(32)}\n`;
    expect(await ask(TEAM)).toBe("not_entitled: the control groups of the caller name several containers");
  });

  it("once its agent is cut off", async () => {
    cut = ["team"];
    expect(await ask(TEAM)).toBe("not_entitled: agent_cut");
  });
});

describe("a process outside of runs gets an identity", () => {
  it("of its container", async () => {
    expect(await ask(TEAM, USER)).toBe("spiffe://corp/team");
    expect(await ask(agent("t", "here", ["docker:uid=1000"], "spiffe://corp/{docker.container-id}"))).toBe(
      `spiffe://corp/${ID}`,
    );
  });

  it("of the machine, without a question to an engine", async () => {
    groups = MACHINE;
    ownNamespace = "pid:[1]";
    expect(await ask(TEAM, USER)).toBe("spiffe://corp/user");
    expect(await ask(agent("h", "local", ["process:sha256=00ff"], "spiffe://corp/{process.sha256}"))).toBe(
      "spiffe://corp/00ff",
    );
    expect(engine.asked).toEqual([]);
  });

  it("whatever an engine says that could not know its container", async () => {
    expect(await ask(TEAM, agent("p", "pods", ["podman:uid=1000"]))).toBe("spiffe://corp/team");
  });
});

describe("a container whose image must be signed", () => {
  const signer = signerByKey();
  const SIGNED = agent("signed", "here", ["docker:label=com.corp.team=support", "sigstore:signed-by=key"]);

  it("is its agent while the registry shows the signature, under any of its names, and nobody without it", async () => {
    const registry = await startRegistry();
    sigstore = specFor(registry, {
      signers: [{ name: "key", publicKey: signer.publicKey, requireLog: false }],
    });
    const image = registry.addImage("corp/agent");
    engine.answers.set(`/images/${IMAGE}/json`, { Id: IMAGE, RepoDigests: [`corp/agent@${DIGEST}`, image] });
    expect(await ask(SIGNED)).toMatch(
      /^not_entitled: no_agent_matches: image corp.*: registry_not_listed: image registry\.example.*: unsigned$/,
    );
    const digest = image.slice(image.indexOf("@") + 1);
    registry.putTag(image, "sig", [signSimply(signer, simpleSigningPayload(digest))]);
    expect(await ask(SIGNED)).toBe("spiffe://corp/signed");
    registry.setFault("error");
    expect(await ask(SIGNED)).toMatch(/^unavailable: no_agent_matches: .*registry_status_503$/);
    registry.setFault(undefined);
    const before = registry.requests.length;
    expect(await ask(TEAM)).toBe("spiffe://corp/team");
    expect(registry.requests).toHaveLength(before);
    await registry.close();
  });

  it("is nobody where it was built here", async () => {
    const registry = await startRegistry();
    sigstore = specFor(registry);
    engine.answers.set(`/images/${IMAGE}/json`, { Id: IMAGE, RepoDigests: [] });
    expect(await ask(SIGNED)).toBe("not_entitled: no_agent_matches: image_without_registry_or_digest");
    expect(registry.requests).toEqual([]);
    await registry.close();
  });
});
