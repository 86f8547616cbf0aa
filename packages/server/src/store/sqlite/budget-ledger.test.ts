// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { budgetLedgerContract } from "../../budget/ledger.contract.ts";
import { KEPT_AFTER_END } from "../../budget/ledger.ts";
import { systemClock } from "../../kernel/clock.ts";
import { EmbeddedBudgetLedger } from "./budget-ledger.ts";
import { openStore } from "./open-store.ts";

/** The tables, made by the store itself. */
async function freshFile(): Promise<{ folder: string; file: string }> {
  const folder = mkdtempSync(join(tmpdir(), "postern-budgets-"));
  const file = join(folder, "postern.db");
  await (await openStore({ file, clock: systemClock })).close();
  return { folder, file };
}

describe("counters of the embedded store keep the contract", () => {
  budgetLedgerContract(async () => {
    const { folder, file } = await freshFile();
    return {
      open: async () => new EmbeddedBudgetLedger(file, systemClock),
      // What has not been written when a call resolves never is.
      kill: async () => {},
      remove: async () => rmSync(folder, { recursive: true }),
    };
  });
});

describe("counters in memory", () => {
  let folder: string;
  let file: string;
  let time = 1_000_000;
  const clock = { now: () => time };
  const claim = { key: "k", limit: 10, keep: 1, hold: 2, endsAt: 2_000_000 };
  beforeEach(async () => {
    time = 1_000_000;
    ({ folder, file } = await freshFile());
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test("wait while another connection writes, and do not stop it", async () => {
    const ledger = new EmbeddedBudgetLedger(file, clock);
    const other = new DatabaseSync(file);
    other.exec("begin immediate");
    const reserving = ledger.reserve("r", [claim]);
    let isDone = false;
    void reserving.then(() => (isDone = true));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(isDone).toBe(false);
    other.exec("commit");
    expect(await reserving).toMatchObject({ isAdmitted: true });
    other.close();
    await ledger.close();
  });

  test("that cannot be written refuse, and count nothing", async () => {
    const ledger = new EmbeddedBudgetLedger(file, clock);
    const other = new DatabaseSync(file);
    other.exec("alter table budget_counters rename to elsewhere");
    await expect(ledger.reserve("r", [claim])).rejects.toThrow("the database");
    expect(await ledger.read(["k"])).toEqual([{ used: 0, reserved: 0 }]);
    other.exec("alter table elsewhere rename to budget_counters");
    expect(await ledger.reserve("r", [claim])).toMatchObject({ isAdmitted: true });
    other.close();
    await ledger.close();
  });

  test("are kept for two days behind the end of their window, also when the clock jumps", async () => {
    const ledger = new EmbeddedBudgetLedger(file, clock);
    await ledger.reserve("r", [claim]);
    await ledger.settle("r", [3]);
    time = claim.endsAt + KEPT_AFTER_END;
    await ledger.reserve("other", [{ ...claim, key: "l" }]);
    time = 1_000_000;
    expect(await ledger.read(["k"])).toEqual([{ used: 3, reserved: 0 }]);
    time = claim.endsAt + KEPT_AFTER_END + 60_000;
    await ledger.reserve("another", [{ ...claim, key: "m" }]);
    expect(await ledger.read(["k"])).toEqual([{ used: 0, reserved: 0 }]);
    await ledger.close();
  });
});
