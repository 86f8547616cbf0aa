// SPDX-License-Identifier: Apache-2.0
/** What every `ApprovalStore` must do. */
import { describe, expect, test } from "vitest";
import type { NewApproval, StoredApproval } from "./approval-store.ts";
import { freshStores } from "./store-under-test.contract.ts";
import type { EmptyPlace } from "./store-under-test.contract.ts";

export function approvalStoreContract(makePlace: () => Promise<EmptyPlace>): void {
  describe("ApprovalStore", () => {
    const given = freshStores(makePlace);
    const approvals = () => given.store.approvals;
    const asked = (id: string, more: Partial<NewApproval> = {}): NewApproval => ({
      ...{ id, lookup: `digest of ${id}`, agent: "a", summary: "{}", expiresAt: 5000 },
      ...{ sealed: Buffer.from("sealed"), ...more },
    });
    const ask = async (approval: NewApproval, pending = 10) => {
      const answer = await approvals().ask(approval, { pending, asked: 1000, since: 0 });
      if (answer === undefined) throw new Error("asked too often");
      return answer;
    };
    const approve = async ({ id, version }: StoredApproval, usesLeft = 1, expiresAt = 9000) =>
      approvals().change(id, version, { state: "approved", votes: "[1]", usesLeft, expiresAt });

    async function approved(id: string, usesLeft?: number, expiresAt?: number): Promise<string> {
      const { approval } = await ask(asked(id));
      expect(await approve(approval, usesLeft, expiresAt)).toBe(true);
      return approval.lookup;
    }

    test("of many who want the one use of a yes, one gets it", async () => {
      const lookup = await approved("1");
      const all = await Promise.all(Array.from({ length: 20 }, () => approvals().release(lookup)));
      expect(all.filter((one) => one !== undefined)).toHaveLength(1);
      expect(await approvals().get("1")).toMatchObject({ state: "used", usesLeft: 0 });
    });

    test("three uses are three, also over a restart", async () => {
      const lookup = await approved("1", 3);
      expect(await approvals().release(lookup)).toMatchObject({ state: "approved", usesLeft: 2 });
      await given.reopen();
      const all = await Promise.all(Array.from({ length: 9 }, () => approvals().release(lookup)));
      expect(all.filter((one) => one !== undefined)).toHaveLength(2);
    });

    test("a yes that has expired releases nothing, and neither does one from a future that a clock was set back from", async () => {
      const expired = await approved("1", 1, 2000);
      given.clock.time = 2000;
      expect(await approvals().release(expired)).toBeUndefined();
      given.clock.time = 500_000;
      const early = await approved("2", 1, 900_000);
      given.clock.time = 400_000;
      expect(await approvals().release(early)).toBeUndefined();
    });

    test("nothing is released that is pending, denied or withdrawn", async () => {
      const { approval } = await ask(asked("1"));
      expect(await approvals().release(approval.lookup)).toBeUndefined();
      for (const [step, state] of (["denied", "withdrawn"] as const).entries()) {
        await approvals().change("1", 1 + step, { state, votes: "[]", usesLeft: 5, expiresAt: 9000 });
        expect(await approvals().release(approval.lookup)).toBeUndefined();
      }
    });

    test("asking for the same again finds the same, many at the same time too", async () => {
      const all = await Promise.all(
        Array.from({ length: 10 }, (_, i) => ask(asked(`${i}`, { lookup: "same" }))),
      );
      expect(new Set(all.map(({ approval }) => approval.id)).size).toBe(1);
      expect(await approvals().list("all", 100)).toHaveLength(1);
      await given.reopen();
      const again = await ask(asked("later", { lookup: "same" }));
      expect(again.approval).toMatchObject({ id: all[0]!.approval.id, state: "pending" });
      expect(again.approval.sealed.toString()).toBe("sealed");
    });

    test("a no answers the same request until it expires; then it can be asked for again", async () => {
      await ask(asked("1", { lookup: "same" }));
      await approvals().change("1", 1, { state: "denied", votes: "[]", usesLeft: 0, expiresAt: 5000 });
      const again = await ask(asked("2", { lookup: "same" }));
      expect(again.approval).toMatchObject({ id: "1", state: "denied" });
      expect(again.approval.sealed).toHaveLength(0);
      given.clock.time = 5000;
      const late = await ask(asked("3", { lookup: "same", expiresAt: 9000 }));
      expect(late.approval).toMatchObject({ id: "3", state: "pending" });
    });

    test("of a yes and a no at the same time one counts", async () => {
      const { approval } = await ask(asked("1"));
      const deny = { state: "denied", votes: "[2]", usesLeft: 0, expiresAt: 5000 } as const;
      const done = await Promise.all([approve(approval), approvals().change("1", approval.version, deny)]);
      expect(done.filter(Boolean)).toHaveLength(1);
    });

    test("too many of one agent displace its oldest, and nobody else's", async () => {
      await ask(asked("other", { agent: "b" }), 2);
      const displaced: string[] = [];
      for (const id of ["1", "2", "3", "4"]) {
        given.clock.time += 1;
        // eslint-disable-next-line no-await-in-loop
        displaced.push(...(await ask(asked(id), 2)).displaced.map((one) => one.id));
      }
      expect(displaced).toEqual(["1", "2"]);
      expect(await approvals().get("1")).toMatchObject({ state: "displaced" });
      expect((await approvals().get("1"))!.sealed).toHaveLength(0);
      expect((await approvals().list("pending", 100)).map(({ id }) => id)).toEqual(["4", "3", "other"]);
    });

    test("what expires is told once, its content is gone, and later it is forgotten", async () => {
      await ask(asked("1"));
      given.clock.time = 6000;
      const told = (await Promise.all([approvals().expire(0), approvals().expire(0)])).flat();
      expect(told.map(({ id }) => id)).toEqual(["1"]);
      expect((await approvals().get("1"))!).toMatchObject({ state: "expired", sealed: Buffer.alloc(0) });
      await approvals().expire(6001);
      expect(await approvals().get("1")).toBeUndefined();
    });

    test("a first use is known once it was noted", async () => {
      expect(await approvals().areKnownUses(["k"])).toBe(false);
      await approvals().noteUses(["k", "l"]);
      await approvals().noteUses(["k"]);
      expect(await approvals().areKnownUses(["k", "l"])).toBe(true);
      expect(await approvals().areKnownUses(["k", "m"])).toBe(false);
    });

    test("who has asked too often asks nobody more, whatever became of it, and others still do", async () => {
      given.clock.time = 1000;
      const most = { pending: 10, asked: 2, since: 500 };
      const first = await ask(asked("1"));
      await approvals().change("1", 1, { state: "denied", votes: "[]", usesLeft: 0, expiresAt: 9000 });
      await ask(asked("2"));
      expect(await approvals().ask(asked("3"), most)).toBeUndefined();
      expect(await approvals().get("3")).toBeUndefined();
      // What was asked before finds its answer all the same.
      expect(
        (await approvals().ask(asked("4", { lookup: first.approval.lookup }), most))?.approval,
      ).toMatchObject({ id: "1", state: "denied" });
      expect(await approvals().ask(asked("5", { agent: "b" }), most)).toMatchObject({ displaced: [] });
      expect(await approvals().ask(asked("6"), { ...most, since: 1000 })).toMatchObject({ displaced: [] });
    });
  });
}
