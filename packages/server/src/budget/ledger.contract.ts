// SPDX-License-Identifier: Apache-2.0
/** What every `BudgetLedger` must do. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type BudgetLedger, type Claim, MOST } from "./ledger.ts";

export interface LedgerPlace {
  /** As another server does, or the same one when it starts again. */
  open(): Promise<BudgetLedger>;
  /** Ends it as `kill -9` does. */
  kill(ledger: BudgetLedger): Promise<void>;
  remove(): Promise<void>;
}

const TOMORROW = Date.now() + 86_400_000;

export function budgetLedgerContract(makePlace: () => Promise<LedgerPlace>): void {
  let place: LedgerPlace;
  let ledger: BudgetLedger;
  let ids = 0;
  beforeEach(async () => {
    place = await makePlace();
    ledger = await place.open();
  });
  afterEach(async () => {
    await ledger.close();
    await place.remove();
  });

  const claim = (more: Partial<Claim> = {}): Claim => ({
    ...{ key: "k", limit: 200, keep: 1, hold: 0, endsAt: TOMORROW },
    ...more,
  });
  const newId = (): string => `reservation-${++ids}`;
  const reserve = (claims: readonly Claim[], from = ledger) => from.reserve(newId(), claims);
  const stateOf = async (key = "k") => (await ledger.read([key]))[0];

  describe("of racing callers", () => {
    test("exactly as many are admitted as there is room for", async () => {
      const answers = await Promise.all(Array.from({ length: 500 }, () => reserve([claim()])));
      expect(answers.filter(({ isAdmitted }) => isAdmitted)).toHaveLength(200);
      expect(await stateOf()).toEqual({ used: 200, reserved: 0 });
    });

    test("all claims or none: what one budget has no room for takes nothing of another", async () => {
      const both = [claim({ key: "wide", limit: 1000, hold: 3 }), claim({ key: "narrow", limit: 10 })];
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, n) => reserve(n % 2 === 0 ? both : both.toReversed())),
      );
      expect(answers.filter(({ isAdmitted }) => isAdmitted)).toHaveLength(10);
      expect(await ledger.read(["wide", "narrow"])).toEqual([
        { used: 10, reserved: 30 },
        { used: 10, reserved: 0 },
      ]);
    });

    test("each is told the counters in the order of its claims", async () => {
      await reserve([claim({ key: "a", keep: 7, hold: 2 })]);
      const { counters } = await reserve([claim({ key: "b" }), claim({ key: "a" })]);
      expect(counters).toEqual([
        { used: 1, reserved: 0 },
        { used: 8, reserved: 2 },
      ]);
      const refused = await reserve([claim({ key: "b", limit: 1 }), claim({ key: "a" })]);
      expect(refused).toEqual({
        isAdmitted: false,
        counters: [
          { used: 1, reserved: 0 },
          { used: 8, reserved: 2 },
        ],
      });
    });
  });

  describe("settlement", () => {
    test("charges what was used and gives back the rest, once, however often it is said", async () => {
      await ledger.reserve("r", [claim({ limit: 1000, keep: 10, hold: 500 })]);
      await Promise.all([ledger.settle("r", [42]), ledger.settle("r", [42]), ledger.settle("r", [42])]);
      expect(await stateOf()).toEqual({ used: 42, reserved: 0 });
    });

    test("to nothing gives everything back", async () => {
      await ledger.reserve("r", [claim({ keep: 10, hold: 100 })]);
      await ledger.settle("r", [0]);
      expect(await stateOf()).toEqual({ used: 0, reserved: 0 });
    });

    test("of what nobody reserved does nothing", async () => {
      await ledger.settle("nobody's", [42]);
      expect(await stateOf()).toEqual({ used: 0, reserved: 0 });
    });

    test("beyond the limit is charged, and nothing is admitted then", async () => {
      await ledger.reserve("r", [claim({ limit: 100, keep: 1, hold: 9 })]);
      await ledger.settle("r", [150]);
      expect(await stateOf()).toEqual({ used: 150, reserved: 0 });
      expect((await reserve([claim({ limit: 100 })])).isAdmitted).toBe(false);
      expect((await reserve([claim({ limit: 100, keep: 0 })])).isAdmitted).toBe(false);
    });
  });

  describe("numbers at their end", () => {
    test("the largest are counted exactly, and one more is refused", async () => {
      expect((await reserve([claim({ limit: MOST, keep: MOST - 1, hold: 0 })])).isAdmitted).toBe(true);
      expect((await reserve([claim({ limit: MOST, keep: 0, hold: 1 })])).isAdmitted).toBe(true);
      expect((await reserve([claim({ limit: MOST, keep: 0, hold: 1 })])).isAdmitted).toBe(false);
      expect(await stateOf()).toEqual({ used: MOST - 1, reserved: 1 });
    });

    test("what would go beyond stays at the end: it never begins anew", async () => {
      for (const id of ["a", "b"]) {
        await ledger.reserve(id, [claim({ limit: MOST })]);
      }
      await ledger.settle("a", [MOST]);
      await ledger.settle("b", [MOST]);
      expect(await stateOf()).toEqual({ used: MOST, reserved: 0 });
    });

    test("a limit of nothing admits nothing", async () => {
      expect((await reserve([claim({ limit: 0 })])).isAdmitted).toBe(false);
    });
  });

  describe("after kill -9", () => {
    test("what was kept stays used, and what was held comes back by itself", async () => {
      await reserve([claim({ keep: 3, hold: 100 })]);
      await place.kill(ledger);
      ledger = await place.open();
      await expect.poll(() => stateOf(), { timeout: 10_000 }).toEqual({ used: 3, reserved: 0 });
    });

    test("in the middle of a race no more are admitted in all", async () => {
      let admitted = 0;
      for (let round = 0; round < 5; round++) {
        const answers = await Promise.all(Array.from({ length: 100 }, () => reserve([claim()])));
        admitted += answers.filter(({ isAdmitted }) => isAdmitted).length;
        await place.kill(ledger);
        ledger = await place.open();
      }
      expect(admitted).toBe(200);
    });

    test("what was settled stays settled", async () => {
      await ledger.reserve("r", [claim({ keep: 1, hold: 100 })]);
      await ledger.settle("r", [60]);
      await place.kill(ledger);
      ledger = await place.open();
      expect(await stateOf()).toEqual({ used: 60, reserved: 0 });
    });
  });
}
