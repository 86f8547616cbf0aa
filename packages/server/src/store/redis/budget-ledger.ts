// SPDX-License-Identifier: Apache-2.0
/** `BudgetLedger` of several servers on one Redis or Valkey: each call is one script in it. */
import { randomUUID } from "node:crypto";
import type { BudgetLedger, Claim, CounterState, ReserveAnswer } from "../../budget/ledger.ts";
import { Fault } from "../../kernel/fault.ts";
import type { Log } from "../../kernel/log.ts";
import { SettleLater } from "../settle-later.ts";
import {
  counterName,
  HOLDERS_KEY,
  MOST_TAKEN,
  ORIGIN_KEY,
  RENEW,
  RESERVE,
  SETTLE,
} from "./budget-scripts.ts";
import { parseBudgetUrl, type RedisSettings } from "./connection-settings.ts";
import { RedisConnection } from "./redis-connection.ts";

/** Milliseconds after which nobody believes any more that this server lives. */
const LEASE = 30_000;

export class RedisBudgetLedger implements BudgetLedger {
  readonly #redis: RedisConnection;
  readonly #origin: string;
  readonly #lease: number;
  readonly #holder = randomUUID();
  readonly #later: SettleLater;
  readonly #renewing: NodeJS.Timeout;

  private constructor(redis: RedisConnection, origin: string, lease: number) {
    this.#redis = redis;
    this.#origin = origin;
    this.#lease = lease;
    this.#later = new SettleLater(async (id, charges) => {
      await redis.run(SETTLE, ORIGIN_KEY, [id, ...charges]);
    });
    // A turn that fails is made up for by the next one, twice, before the lease is over.
    this.#renewing = setInterval(() => void this.#renew().catch(() => {}), lease / 3);
    this.#renewing.unref();
  }

  static async open(settings: RedisSettings, log: Log, lease = LEASE): Promise<RedisBudgetLedger> {
    const redis = await RedisConnection.open(settings);
    try {
      await checkKeeping(redis, settings.shown, log);
      await redis.call("SET", ORIGIN_KEY, randomUUID(), "NX");
      const ledger = new RedisBudgetLedger(redis, String(await redis.call("GET", ORIGIN_KEY)), lease);
      try {
        await ledger.#renew();
      } catch (error) {
        clearInterval(ledger.#renewing);
        throw error;
      }
      return ledger;
    } catch (error) {
      redis.close();
      throw error;
    }
  }

  async reserve(id: string, claims: readonly Claim[]): Promise<ReserveAnswer> {
    const words = claims.flatMap(({ key, limit, keep, hold, endsAt }) => [key, limit, keep, hold, endsAt]);
    try {
      const answer = await this.#redis.run(RESERVE, ORIGIN_KEY, [
        ...[this.#origin, id, this.#holder, this.#lease],
        ...words,
      ]);
      const [isAdmitted, ...states] = numbers(answer, 1 + 2 * claims.length);
      return {
        isAdmitted: isAdmitted === 1,
        counters: claims.map((_, index) => ({
          used: states[2 * index]!,
          reserved: states[2 * index + 1]!,
        })),
      };
    } catch (error) {
      // Nobody knows whether it was made.
      this.#later.undo(id);
      throw error;
    }
  }

  settle(id: string, charges: readonly number[]): Promise<void> {
    return this.#later.settle(id, charges);
  }

  read(keys: readonly string[]): Promise<readonly CounterState[]> {
    return Promise.all(
      keys.map(async (key) => {
        const [used, reserved] = numbers(
          await this.#redis.call("HMGET", counterName(key), "used", "reserved"),
          2,
        );
        return { used: used!, reserved: reserved! };
      }),
    );
  }

  /** What is still held comes back at another server's next turn. */
  async close(): Promise<void> {
    clearInterval(this.#renewing);
    this.#later.close();
    try {
      await this.#redis.call("ZADD", HOLDERS_KEY, "XX", 0, this.#holder);
    } catch {
      // Then it comes back when the lease is over.
    }
    this.#redis.close();
  }

  async #renew(): Promise<void> {
    // A dead server's reservations are taken in turns, because a script keeps everybody waiting.
    for (;;) {
      // oxlint-disable-next-line no-await-in-loop
      const taken = await this.#redis.run(RENEW, ORIGIN_KEY, [this.#origin, this.#holder, this.#lease]);
      if (taken !== MOST_TAKEN) return;
    }
  }
}

export const openRedisBudgets = (url: string, log: Log): Promise<BudgetLedger> =>
  RedisBudgetLedger.open(parseBudgetUrl(url), log);

/** A counter that nobody has used is absent. What is no number would admit everything: it is a surprise. */
function numbers(answer: unknown, count: number): readonly number[] {
  const found = Array.isArray(answer) ? answer.map((each: unknown) => Number(each ?? 0)) : [];
  if (found.length === count && found.every(Number.isSafeInteger)) return found;
  throw new Fault("internal_error", "the budget store gave an answer that is none");
}

/** Counters that may be thrown away are none; those that a restart takes back are worth a word. */
async function checkKeeping(redis: RedisConnection, shown: string, log: Log): Promise<void> {
  const info = String(await redis.call("INFO"));
  const of = (name: string): string | undefined => new RegExp(`^${name}:(\\S+)`, "m").exec(info)?.[1];
  const policy = of("maxmemory_policy");
  if (policy !== "noeviction" && of("maxmemory") !== "0")
    throw new Fault(
      "internal_error",
      `the budget store ${shown} may throw counters away (maxmemory-policy ${policy ?? "unknown"}): set it to noeviction`,
    );
  if (of("aof_enabled") !== "1")
    log.write(
      "warn",
      "the budget store keeps no append-only file: when its server starts again, counters go back to its last snapshot; set appendonly yes",
    );
}
