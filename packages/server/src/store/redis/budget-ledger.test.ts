// SPDX-License-Identifier: Apache-2.0
import { hasRedis, type RedisServer, startRedis } from "@postern/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { budgetLedgerContract } from "../../budget/ledger.contract.ts";
import { silentLog } from "../../kernel/log.ts";
import { RedisBudgetLedger } from "./budget-ledger.ts";
import { HOLDERS_KEY, MOST_TAKEN } from "./budget-scripts.ts";
import { parseBudgetUrl } from "./connection-settings.ts";
import { RedisConnection } from "./redis-connection.ts";

const LEASE = 600;

describe.skipIf(!hasRedis())("counters on Redis", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.remove());

  const openedWith = (url: string, lease = LEASE) =>
    RedisBudgetLedger.open(parseBudgetUrl(url), silentLog, lease);
  const connected = (url: string) => RedisConnection.open(parseBudgetUrl(url));
  const claim = { key: "k", limit: 200, keep: 1, hold: 0, endsAt: Date.now() + 86_400_000 };

  budgetLedgerContract(async () => {
    const url = server.freshUrl();
    return {
      open: () => openedWith(url),
      // Without a word: its connection is gone and nobody renews its lease any more.
      async kill(ledger) {
        const redis = await connected(url);
        const alive = (await redis.call("ZRANGE", HOLDERS_KEY, 0, -1, "WITHSCORES")) as string[];
        await ledger.close();
        // `close` says farewell, `kill -9` does not.
        await redis.call("DEL", HOLDERS_KEY);
        for (let at = 0; at < alive.length; at += 2)
          await redis.call("ZADD", HOLDERS_KEY, alive[at + 1]!, alive[at]!);
        redis.close();
      },
      remove: async () => {},
    };
  });

  test("two servers that race for one budget admit exactly as many as there is room for", async () => {
    const url = server.freshUrl();
    const both = await Promise.all([openedWith(url), openedWith(url)]);
    const answers = await Promise.all(
      Array.from({ length: 500 }, (_, n) => both[n % 2]!.reserve(`r-${n}`, [claim])),
    );
    expect(answers.filter(({ isAdmitted }) => isAdmitted)).toHaveLength(200);
    for (const ledger of both) await ledger.close();
  });

  test("a server that was only asleep settles what came back meanwhile", async () => {
    const url = server.freshUrl();
    const [asleep, awake] = await Promise.all([openedWith(url, 3_600_000), openedWith(url)]);
    await asleep.reserve("r", [{ ...claim, hold: 100 }]);
    const redis = await connected(url);
    // As it is seen from outside: its lease is over.
    for (const holder of (await redis.call("ZRANGE", HOLDERS_KEY, "0", "-1")) as string[])
      await redis.call("ZADD", HOLDERS_KEY, 1, holder);
    await expect.poll(() => awake.read(["k"]), { timeout: 10_000 }).toEqual([{ used: 1, reserved: 0 }]);
    await asleep.settle("r", [60]);
    expect(await awake.read(["k"])).toEqual([{ used: 60, reserved: 0 }]);
    redis.close();
    for (const ledger of [asleep, awake]) await ledger.close();
  });

  test("what a living server holds does not come back", async () => {
    const url = server.freshUrl();
    const [one, two] = await Promise.all([openedWith(url), openedWith(url)]);
    await one.reserve("r", [{ ...claim, hold: 100 }]);
    // Three leases long.
    for (let turn = 0; turn < 9; turn++) await new Promise((resolve) => setTimeout(resolve, LEASE / 3));
    expect(await two.read(["k"])).toEqual([{ used: 1, reserved: 100 }]);
    for (const ledger of [one, two]) await ledger.close();
  });

  test("of a server that died with very many open requests everything comes back", async () => {
    const url = server.freshUrl();
    const one = await openedWith(url);
    const count = 2 * MOST_TAKEN + 1;
    const wide = { ...claim, limit: 1e9, hold: 5 };
    await Promise.all(Array.from({ length: count }, (_, n) => one.reserve(`r-${n}`, [wide])));
    await one.close();
    const two = await openedWith(url);
    expect(await two.read(["k"])).toEqual([{ used: count, reserved: 0 }]);
    await two.close();
  });

  test("a window that ended days ago by this clock still counts: a wrong clock opens nothing", async () => {
    const ledger = await openedWith(server.freshUrl());
    const past = { ...claim, limit: 1, endsAt: Date.now() - 10 * 86_400_000 };
    expect((await ledger.reserve("a", [past])).isAdmitted).toBe(true);
    expect((await ledger.reserve("b", [past])).isAdmitted).toBe(false);
    await ledger.close();
  });

  test("counters whose place was emptied are not begun anew while a server runs: it refuses", async () => {
    const url = server.freshUrl();
    const ledger = await openedWith(url);
    await ledger.reserve("a", [{ ...claim, limit: 1 }]);
    const redis = await connected(url);
    await redis.call("FLUSHDB");
    await expect(ledger.reserve("b", [{ ...claim, limit: 1 }])).rejects.toThrow("has lost the counters");
    // Nor when another one has opened the place meanwhile.
    const other = await openedWith(url);
    await expect(ledger.reserve("c", [claim])).rejects.toThrow("has lost the counters");
    expect((await other.reserve("d", [claim])).isAdmitted).toBe(true);
    redis.close();
    for (const each of [ledger, other]) await each.close();
  });

  test("counters that are no numbers refuse", async () => {
    const url = server.freshUrl();
    const ledger = await openedWith(url);
    const redis = await connected(url);
    await redis.call("HSET", "postern:{budgets}:c:k", "used", "nonsense", "reserved", "0");
    await expect(ledger.reserve("a", [claim])).rejects.toThrow("the budget store");
    await redis.call("DEL", "postern:{budgets}:c:k");
    await redis.call("SET", "postern:{budgets}:c:k", "nonsense");
    await expect(ledger.reserve("b", [claim])).rejects.toThrow("the budget store");
    redis.close();
    await ledger.close();
  });
});

describe.skipIf(!hasRedis())("a Redis that goes away", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis(["appendfsync always"]);
  });
  afterAll(() => server.remove());
  const claim = { key: "k", limit: 3, keep: 1, hold: 0, endsAt: Date.now() + 86_400_000 };

  test("means refusals with its name and without its password; what was counted is there when it is back", async () => {
    const ledger = await RedisBudgetLedger.open(parseBudgetUrl(server.freshUrl()), silentLog);
    await ledger.reserve("a", [claim]);
    await server.kill();
    const error = await ledger.reserve("b", [claim]).catch((fault: Error) => fault);
    expect(error).toMatchObject({ code: "control_plane_unavailable" });
    expect((error as Error).message).toContain(`127.0.0.1:${server.port}`);
    expect((error as Error).message).not.toContain(server.password);
    await server.start();
    await expect
      .poll(() => ledger.read(["k"]).catch(() => []), { timeout: 10_000 })
      .toEqual([{ used: 1, reserved: 0 }]);
    expect((await ledger.reserve("c", [claim])).isAdmitted).toBe(true);
    await ledger.close();
  });

  test("and one that does not answer is not waited for, and lets nobody through afterwards", async () => {
    const ledger = await RedisBudgetLedger.open(parseBudgetUrl(server.freshUrl()), silentLog);
    server.pause();
    await expect(ledger.reserve("a", [claim])).rejects.toThrow("does not answer");
    server.goOn();
    expect((await ledger.reserve("b", [claim])).isAdmitted).toBe(true);
    await ledger.close();
  }, 20_000);

  test("is not opened with a wrong password, where counters may be thrown away, or where nobody is", async () => {
    const { port } = server;
    const open = (url: string) => RedisBudgetLedger.open(parseBudgetUrl(url), silentLog);
    await expect(open(`redis://:wrong-password@127.0.0.1:${port}`)).rejects.toThrow("refuses the user");
    await expect(open(`redis://127.0.0.1:${port}`)).rejects.toThrow("asks for a password");
    await expect(open("redis://127.0.0.1:1")).rejects.toThrow("cannot be reached (ECONNREFUSED)");
    const throwing = await startRedis(["maxmemory 100mb", "maxmemory-policy volatile-lru"]);
    await expect(open(throwing.freshUrl())).rejects.toThrow("may throw counters away");
    await throwing.remove();
  });
});
