// SPDX-License-Identifier: Apache-2.0
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Resource } from "@postern/contract";
import { resourceSchema } from "@postern/contract";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AuditEvent } from "../audit/event-frame.ts";
import { contentKey } from "../keys/content-key.ts";
import { KeyRing } from "../keys/key-ring.ts";
import { masterKey } from "../keys/master-key.ts";
import { approvalRulesOf } from "../policy/approval-rules.ts";
import { ResourceSet } from "../resources/resource-set.ts";
import { openStore } from "../store/sqlite/open-store.ts";
import type { Store } from "../store/store.ts";
import type { Question } from "./approval-record.ts";
import { GrantDesk } from "./grant-desk.ts";
import { ApprovalDesk, MOST_PENDING } from "./approval-desk.ts";

const clock = { time: 1_000_000, now: () => clock.time };
const keys = new KeyRing(masterKey(randomBytes(32)));
const gone = { isOver: false, onOver: () => () => {} };

let folder: string;
let store: Store;
let desk: ApprovalDesk;
let grants: GrantDesk;
let events: AuditEvent[];
let isLogBroken: boolean;
let resources: ResourceSet;

const resource = (kind: string, name: string, spec: object): Resource =>
  resourceSchema.parse({ kind, metadata: { name }, spec });

function given(approval: object, owner?: string, secret = "s"): void {
  resources = new ResourceSet([
    resource("Approver", "ann", { identities: ["uid:1", "slack:T1/UANN"] }),
    resource("Approver", "bob", { identities: ["uid:2"] }),
    resource("Approver", "eve", { identities: ["uid:3"] }),
    resource("Agent", "a", {
      trustProvider: "t",
      selectors: ["process:uid=1"],
      ...(owner === undefined ? {} : { owner }),
    }),
    resource("AccessPolicy", "p", {
      ...{ agents: ["a"], serverWorkload: "w", credentialProvider: "c", allow: { everything: true } },
      approval: { approvers: ["ann", "bob"], asksPerHour: 1000, ...approval },
    }),
    resource("CredentialProvider", "c", { kind: "vault", secret, serverWorkloads: ["w"] }),
  ]);
}

async function open(): Promise<void> {
  store = await openStore({ file: join(folder, "postern.db"), clock });
  const shared = {
    resources: () => resources,
    audit: async (event: AuditEvent) => {
      if (isLogBroken) throw new Error("the disk is full");
      events.push(event);
    },
    clock,
  };
  grants = new GrantDesk({ ...shared, store: store.grants });
  desk = new ApprovalDesk({
    ...{ ...shared, grants },
    store: store.approvals,
    contentKey: () => contentKey("approvals", store.keys, keys),
  });
}

const reopen = async (): Promise<void> => {
  await store.close();
  await open();
};

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-approvals-"));
  clock.time = 1_000_000;
  [events, isLogBroken] = [[], false];
  given({});
  await open();
});

afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

const question = (body = "pay 10", agent = "a"): Question => ({
  ...{
    agent,
    run: "r",
    serverWorkload: "w",
    credentialProvider: "c",
    operation: "op",
    digest: createHash("sha256").update(body).digest("hex"),
  },
  rules: [...approvalRulesOf(resources)!.values()],
  request: {
    ...{ method: "POST", authority: "h:443", path: "/v1/pay", query: "?x=1" },
    ...{ headers: [["a", "b"]], body: Buffer.from(body) },
  },
});

const idOf = async (asked: Question): Promise<string> => {
  const answer = await desk.ask(asked);
  if (!("id" in answer)) throw new Error("nobody was asked");
  return answer.id;
};

const say = (id: string, verdict: "approve" | "deny", identity: string, isOperator = false) =>
  desk.say(id, { verdict, identity, isOperator });

const changes = (): unknown[] => events.map(({ unmapped }) => unmapped["change"]);

describe("who may say yes", () => {
  it("is nobody whom the policy does not name, whoever else it is", async () => {
    const id = await idOf(question());
    for (const identity of ["uid:3", "uid:0", "uid:1000", "slack:T1/UEVE"])
      expect((await say(id, "approve", identity, true)).ok).toBe(false);
    expect(events).toEqual([]);
    expect(await desk.ask(question())).toMatchObject({ status: "pending" });
  });

  it("is not the owner of the agent, by name or by identity", async () => {
    for (const owner of ["ann", "uid:1", "slack:T1/UANN"]) {
      given({}, owner);
      // eslint-disable-next-line no-await-in-loop
      const said = await say(await idOf(question(owner)), "approve", "uid:1");
      expect(said).toMatchObject({ ok: false, reason: { code: "operator_unauthorized" } });
    }
    given({ ownerMayApprove: true }, "ann");
    expect((await say(await idOf(question("mine")), "approve", "uid:1")).ok).toBe(true);
  });

  it("is nobody against whom there is an objection, such as a process of the agent", async () => {
    const id = await idOf(question());
    const word = { verdict: "approve", identity: "uid:1", isOperator: true } as const;
    const said = await desk.say(id, { ...word, objectionFor: (agent) => `${agent} asks itself` });
    expect(said).toMatchObject({ ok: false, reason: { detail: "a asks itself" } });
  });

  it("has to be two different persons where two are needed", async () => {
    given({ needed: 2 });
    const id = await idOf(question());
    expect(await say(id, "approve", "uid:1")).toMatchObject({ ok: true, value: { state: "pending" } });
    expect((await say(id, "approve", "slack:T1/UANN")).ok).toBe(false);
    expect(await desk.ask(question())).toMatchObject({ status: "pending" });
    expect(await say(id, "approve", "uid:2")).toMatchObject({ ok: true, value: { state: "approved" } });
    expect(await desk.ask(question())).toEqual({ status: "released", id, by: ["ann", "bob"] });
  });

  it("does not count any more once the person is no Approver, before the second has spoken", async () => {
    given({ needed: 2 });
    const id = await idOf(question());
    await say(id, "approve", "uid:1");
    resources = resources.with({ remove: [{ kind: "Approver", name: "ann" }] });
    expect(await say(id, "approve", "uid:2")).toMatchObject({ ok: true, value: { state: "pending" } });
  });
});

describe("a yes", () => {
  it("releases once, after a restart too", async () => {
    const id = await idOf(question());
    await say(id, "approve", "uid:1");
    await reopen();
    const answers = await Promise.all(Array.from({ length: 8 }, () => desk.ask(question())));
    expect(answers.filter(({ status }) => status === "released")).toHaveLength(1);
    expect(new Set(answers.map((answer) => ("id" in answer ? answer.id : ""))).size).toBe(2);
  });

  it("is for one request, one agent, and the policy of then", async () => {
    await say(await idOf(question()), "approve", "uid:1");
    expect(await desk.ask(question("pay 90"))).toMatchObject({ status: "pending" });
    expect(await desk.ask(question("pay 10", "other"))).toMatchObject({ status: "pending" });
    given({ uses: 3 });
    expect(await desk.ask(question())).toMatchObject({ status: "pending" });
  });

  it("cannot be given to a question that was asked under another policy", async () => {
    const id = await idOf(question());
    given({ uses: 3 });
    expect(await say(id, "approve", "uid:1")).toMatchObject({
      ok: false,
      reason: { code: "resource_conflict" },
    });
  });

  it("is over after its time, and the same is a new question then", async () => {
    const id = await idOf(question());
    await say(id, "approve", "uid:1");
    clock.time += 900_000;
    const again = await desk.ask(question());
    expect(again).toMatchObject({ status: "pending" });
    expect(again).not.toMatchObject({ id });
  });

  it("is for one credential: another provider, or another secret behind it, is another question", async () => {
    await say(await idOf(question()), "approve", "uid:1");
    expect(await desk.ask({ ...question(), credentialProvider: "d" })).toMatchObject({ status: "pending" });
    const { rules } = question();
    given({}, undefined, "other-secret");
    expect(await desk.ask({ ...question(), rules })).toMatchObject({ status: "pending" });
    given({});
    expect(await desk.ask(question())).toMatchObject({ status: "released", by: ["ann"] });
  });

  it("can be taken back until it is used", async () => {
    const id = await idOf(question());
    await say(id, "approve", "uid:1");
    expect(await say(id, "deny", "uid:9", true)).toMatchObject({ ok: true, value: { state: "withdrawn" } });
    expect(await desk.ask(question())).toMatchObject({ status: "pending" });
    expect(changes()).toEqual(["approve", "withdraw"]);
  });

  it("and a no at the same time: one of them counts", async () => {
    const id = await idOf(question());
    const said = await Promise.all([say(id, "approve", "uid:1"), say(id, "deny", "uid:2")]);
    const { status } = await desk.ask(question());
    expect(said.filter(({ ok }) => ok).length).toBeGreaterThan(0);
    expect(status === "released").toBe(said[0].ok && !said[1].ok);
  });

  it("does not count while the log cannot be written", async () => {
    const id = await idOf(question());
    isLogBroken = true;
    await expect(say(id, "approve", "uid:1")).rejects.toThrow("the disk is full");
    isLogBroken = false;
    expect(await desk.ask(question())).toMatchObject({ status: "pending" });
  });
});

describe("a no", () => {
  it("answers the same request until the question would have expired", async () => {
    const id = await idOf(question());
    expect((await say(id, "deny", "uid:3")).ok).toBe(false);
    await say(id, "deny", "uid:2");
    expect(await desk.ask(question())).toMatchObject({ status: "denied", id });
    expect((await say(id, "approve", "uid:1")).ok).toBe(false);
    clock.time += 900_000;
    expect(await desk.ask(question())).toMatchObject({ status: "pending" });
  });
});

describe("a question", () => {
  it("shows the request to the byte, and lies in no file in clear", async () => {
    const id = await idOf(question("MARKED-CONTENT"));
    const shown = await desk.show(id);
    expect(Buffer.from(shown!.request!.body!, "base64").toString()).toBe("MARKED-CONTENT");
    expect(shown!.request!.headers).toEqual([["a", "b"]]);
    for (const name of ["postern.db", "postern.db-wal"])
      expect(readFileSync(join(folder, name)).includes(Buffer.from("MARKED-CONTENT"))).toBe(false);
    await say(id, "deny", "uid:1");
    expect((await desk.show(id))!.request).toBeUndefined();
  });

  it("of which there are thousands pushes out the same agent's oldest, and nobody else's", async () => {
    const other = await idOf(question("other", "other"));
    const first = await idOf(question("first"));
    for (let i = 0; i < 200; i++) {
      clock.time += 1;
      // eslint-disable-next-line no-await-in-loop
      await desk.ask(question(`flood ${i}`));
    }
    const pending = await desk.list("pending");
    expect(pending.filter(({ agent }) => agent === "a")).toHaveLength(MOST_PENDING);
    expect(pending.map(({ id }) => id)).toContain(other);
    expect(await say(first, "approve", "uid:1")).toMatchObject({ ok: false });
    expect(changes().filter((change) => change === "displace")).toHaveLength(201 - MOST_PENDING);
  });

  it("is put to nobody by an agent that has asked too often, also after each was refused", async () => {
    given({ asksPerHour: 3 });
    for (const body of ["1", "2", "3"])
      // eslint-disable-next-line no-await-in-loop
      await say(await idOf(question(body)), "deny", "uid:1");
    expect(await desk.ask(question("4"))).toEqual({ status: "too_often", most: 3 });
    expect(await desk.ask(question("1"))).toMatchObject({ status: "denied" });
    clock.time += 3_600_000;
    expect(await desk.ask(question("4"))).toMatchObject({ status: "pending" });
  });

  it("that nobody answers ends, once in the log", async () => {
    const id = await idOf(question());
    clock.time += 900_000;
    await Promise.all([desk.sweep(), desk.sweep(), desk.list("all")]);
    expect(changes()).toEqual(["expire"]);
    expect(await say(id, "approve", "uid:1")).toMatchObject({ ok: false });
  });

  it("is asked for a first use only, where the policy says so, and per operation", async () => {
    given({ when: "first-use", uses: 1 });
    await say(await idOf(question("one")), "approve", "uid:1");
    expect(await desk.ask(question("one"))).toMatchObject({ status: "released" });
    expect(await desk.ask(question("two"))).toEqual({ status: "free" });
    await reopen();
    expect(await desk.ask(question("three"))).toEqual({ status: "free" });
    expect(await desk.ask({ ...question("four"), operation: "other" })).toMatchObject({ status: "pending" });
    expect(await desk.ask(question("five", "other"))).toMatchObject({ status: "pending" });
  });
});

describe("waiting", () => {
  it("ends when somebody decides", async () => {
    const id = await idOf(question());
    const settled = desk.settled(id, "a", 60_000, gone);
    await say(id, "deny", "uid:1");
    expect(await settled).toBe(true);
  });

  it("ends when the agent goes, or is cut", async () => {
    const id = await idOf(question());
    let end!: () => void;
    const leaving = { isOver: false, onOver: (listener: () => void) => ((end = listener), () => {}) };
    const settled = desk.settled(id, "a", 60_000, leaving);
    leaving.isOver = true;
    end();
    expect(await settled).toBe(false);
  });

  it("has few places for one agent, and others have theirs", async () => {
    const id = await idOf(question());
    const waiting = Array.from({ length: 32 }, () => desk.settled(id, "a", 60_000, gone));
    expect(await desk.settled(id, "a", 60_000, gone)).toBe(false);
    const other = await idOf(question("x", "b"));
    const others = desk.settled(other, "b", 60_000, gone);
    await Promise.all([say(id, "deny", "uid:1"), say(other, "deny", "uid:1")]);
    expect(await Promise.all([...waiting, others])).toEqual(Array(33).fill(true));
  });
});

describe("a grant", () => {
  const limits = { grants: { longest: 3600, mostUses: 10 } };
  const ann = { identity: "uid:1" };
  const wish = { agent: "a", policy: "p", seconds: 600, uses: 3 };

  it("runs out, whoever races for it, and over a restart", async () => {
    given(limits);
    expect((await grants.give(wish, ann)).ok).toBe(true);
    expect(await desk.ask(question("one"))).toMatchObject({ status: "released", by: ["ann"] });
    await reopen();
    const answers = await Promise.all(Array.from({ length: 9 }, (_, i) => desk.ask(question(`more ${i}`))));
    expect(answers.filter(({ status }) => status === "released")).toHaveLength(2);
    expect(await grants.list("active")).toEqual([]);
  });

  it("ends with its time, when it is revoked, and when the policy changes", async () => {
    given(limits);
    await grants.give(wish, ann);
    given({ ...limits, uses: 2 });
    expect(await desk.ask(question("1"))).toMatchObject({ status: "pending" });
    given(limits);
    clock.time += 600_000;
    expect(await desk.ask(question("2"))).toMatchObject({ status: "pending" });
    const again = await grants.give(wish, ann);
    if (!again.ok) throw new Error(again.reason.detail);
    expect(await grants.revoke(again.value.id, "uid:9")).toMatchObject({
      ok: true,
      value: { state: "revoked" },
    });
    expect(await desk.ask(question("3"))).toMatchObject({ status: "pending" });
    await desk.sweep();
    expect(changes()).toEqual(["create", "create", "revoke", "expire"]);
  });

  it("is for one agent, and for the operations and models that were named", async () => {
    given(limits);
    await grants.give({ ...wish, operations: ["other"] }, ann);
    await grants.give({ ...wish, models: ["m"] }, ann);
    expect(await desk.ask(question("1"))).toMatchObject({ status: "pending" });
    expect(await desk.ask(question("2", "b"))).toMatchObject({ status: "pending" });
    expect(await desk.ask({ ...question("3"), model: "m" })).toMatchObject({ status: "released" });
    expect(await desk.ask({ ...question("4"), operation: "other" })).toMatchObject({ status: "released" });
  });

  it.each([
    ["where the policy says nothing of grants", {}, wish, ann],
    ["for longer than the policy says", limits, { ...wish, seconds: 3601 }, ann],
    ["for more uses than the policy says", limits, { ...wish, uses: 11 }, ann],
    ["where two persons are needed", { ...limits, needed: 2 }, wish, ann],
    ["by somebody whom the policy does not name", limits, wish, { identity: "uid:3" }],
    ["by a process of the agent", limits, wish, { ...ann, objectionFor: () => "it asks itself" }],
    ["for an agent that there is not", limits, { ...wish, agent: "b" }, ann],
    ["for a policy that there is not", limits, { ...wish, policy: "q" }, ann],
  ])("is not given %s", async (_, approval, wanted, giver) => {
    given(approval);
    expect((await grants.give(wanted, giver)).ok).toBe(false);
    expect(events).toEqual([]);
    expect(await grants.list("all")).toEqual([]);
  });

  it("is not given by the owner of the agent, and not while the log cannot be written", async () => {
    given(limits, "ann");
    expect((await grants.give(wish, ann)).ok).toBe(false);
    given(limits);
    isLogBroken = true;
    await expect(grants.give(wish, ann)).rejects.toThrow("the disk is full");
    expect(await grants.list("all")).toEqual([]);
  });

  it("can come with a yes, for the same operation", async () => {
    given(limits);
    const id = await idOf(question("one"));
    const word = { verdict: "approve", identity: "uid:1", isOperator: true } as const;
    expect(await desk.grant(id, word, { seconds: 3601, uses: 1 })).toMatchObject({ ok: false });
    expect(await desk.grant(id, word, { seconds: 60, uses: 1 })).toMatchObject({ ok: true });
    expect(await desk.ask(question("one"))).toMatchObject({ status: "released", id });
    expect(await desk.ask({ ...question("two"), operation: "else" })).toMatchObject({ status: "pending" });
    expect(await desk.ask(question("two"))).toMatchObject({ status: "released" });
    expect(await desk.ask(question("three"))).toMatchObject({ status: "pending" });
  });
});
