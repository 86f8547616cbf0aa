// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { FairTurns } from "./fair-turns.ts";

/** Turns that end when the test says so, and what was begun in each. */
function turnsOf(perTurn: number) {
  const ends: (() => void)[] = [];
  const turns = new FairTurns(perTurn, (begin) => ends.push(begin));
  const begun: string[] = [];
  return {
    begun,
    want: (who: string, work = who): void => {
      const turn = turns.take(who);
      if (turn === undefined) begun.push(work);
      else void turn.then(() => begun.push(work));
    },
    /** The works that the next turn begins. */
    next: async (): Promise<string[]> => {
      const from = begun.length;
      for (const end of ends.splice(0)) end();
      await Promise.resolve();
      return begun.slice(from);
    },
    isExpecting: (): boolean => ends.length > 0,
  };
}

describe("fair turns", () => {
  it("begin a single piece of work next, however many of another's wait before it", async () => {
    const turns = turnsOf(2);
    for (let i = 0; i < 1000; i++) turns.want("flooder");
    turns.want("neighbour");
    expect(turns.begun).toEqual(["flooder", "flooder"]);
    expect(await turns.next()).toEqual(["flooder", "neighbour"]);
    expect(await turns.next()).toEqual(["flooder", "flooder"]);
  });

  it("are shared equally by all who wait, whatever each has waiting", async () => {
    const turns = turnsOf(3);
    for (const [who, count] of [
      ["a", 500],
      ["b", 50],
      ["c", 5],
    ] as const)
      for (let i = 0; i < count; i++) turns.want(who);
    await turns.next();
    expect(await turns.next()).toEqual(["a", "b", "c"]);
  });

  it("keep the order of each one's own work", async () => {
    const turns = turnsOf(1);
    for (const work of ["1", "2", "3", "4"]) turns.want("a", work);
    while (turns.isExpecting()) await turns.next();
    expect(turns.begun).toEqual(["1", "2", "3", "4"]);
  });

  it("begin at once where nobody waits, and stop when there is no work", async () => {
    const turns = turnsOf(2);
    turns.want("a");
    expect(turns.begun).toEqual(["a"]);
    await turns.next();
    expect(turns.isExpecting()).toBe(false);
    turns.want("a");
    expect(turns.begun).toEqual(["a", "a"]);
  });

  it("let nobody pass who comes while others wait", async () => {
    const turns = turnsOf(1);
    turns.want("a");
    turns.want("a", "waits");
    await turns.next();
    turns.want("b");
    expect(turns.begun).toEqual(["a", "waits"]);
    expect(await turns.next()).toEqual(["b"]);
  });
});
