// SPDX-License-Identifier: Apache-2.0
/**
 * Changes by other servers: a notice makes this one look at once, and it looks every second all the same,
 * because notices are lost with the connection. One connection of its own does both.
 */
import pg from "pg";
import {
  type ChangeFeed,
  type ChangeListener,
  type ChangeWatch,
  changedAreas,
  type Epochs,
} from "../changes.ts";
import type { ConnectionSettings } from "./connection-settings.ts";
import { driverConfig } from "./dialect.ts";
import { postgresFault } from "./postgres-fault.ts";

export const CHANNEL = "postern_changes";

const LOOK_EVERY = 1000;
const LOOK_TIMEOUT = 3000;
const FIRST_RETRY = 100;
const LAST_RETRY = 2000;

export function postgresChangeFeed(settings: ConnectionSettings, lookEvery = LOOK_EVERY): ChangeFeed {
  return { watch: (known, listener) => new PostgresWatch(settings, known, listener, lookEvery) };
}

class PostgresWatch implements ChangeWatch {
  readonly #settings: ConnectionSettings;
  readonly #listener: ChangeListener;
  readonly #lookEvery: number;
  readonly #finished: Promise<void>;
  #known: Epochs;
  /** Monotonic, so that a clock set back cannot make old knowledge young. */
  #certainAt = performance.now();
  #isStopped = false;
  #isNoticed = false;
  #isReachable = true;
  #wake: () => void = () => {};
  #client: pg.Client | undefined;

  constructor(settings: ConnectionSettings, known: Epochs, listener: ChangeListener, lookEvery: number) {
    this.#settings = settings;
    this.#known = known;
    this.#listener = listener;
    this.#lookEvery = lookEvery;
    this.#finished = this.#run();
  }

  age(): number {
    return performance.now() - this.#certainAt;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#wake();
    await this.#finished;
  }

  async #run(): Promise<void> {
    let retry = FIRST_RETRY;
    while (!this.#isStopped) {
      try {
        const client = await this.#connect();
        try {
          await this.#follow(client, () => (retry = FIRST_RETRY));
        } finally {
          this.#client = undefined;
          // Not awaited: a server that does not answer any more would hold this up.
          void client.end().catch(() => {});
        }
      } catch (error) {
        this.#tell({ isReachable: false, error: postgresFault(error, this.#settings.shown) });
        await this.#rest(retry);
        retry = Math.min(retry * 2, LAST_RETRY);
      }
    }
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client({ ...driverConfig(this.#settings), query_timeout: LOOK_TIMEOUT });
    client.on("error", () => this.#noticed());
    client.on("notification", () => this.#noticed());
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
    } catch (error) {
      void client.end().catch(() => {});
      throw error;
    }
    this.#client = client;
    return client;
  }

  async #follow(client: pg.Client, worked: () => void): Promise<void> {
    while (!this.#isStopped) {
      this.#isNoticed = false;
      const asked = performance.now();
      const epochs = await readEpochs(client);
      const areas = changedAreas(this.#known, epochs);
      if (areas.length > 0) await this.#listener.changed(areas);
      this.#known = epochs;
      this.#certainAt = asked;
      this.#tell({ isReachable: true });
      worked();
      if (!this.#isNoticed) await this.#rest(this.#lookEvery);
    }
  }

  #tell(state: Parameters<ChangeListener["reachable"]>[0]): void {
    if (state.isReachable === this.#isReachable || this.#isStopped) return;
    this.#isReachable = state.isReachable;
    this.#listener.reachable(state);
  }

  #noticed(): void {
    this.#isNoticed = true;
    if (this.#client !== undefined) this.#wake();
  }

  #rest(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#isStopped) this.#wake();
    });
  }
}

async function readEpochs(client: pg.Client): Promise<Epochs> {
  const { rows } = await client.query<{ name: string; value: number }>("select name, value from epochs");
  const value = (area: string): number => rows.find(({ name }) => name === area)?.value ?? 0;
  return {
    resources: value("resources"),
    agents: value("agents"),
    secrets: value("secrets"),
    keys: value("keys"),
    authorities: value("authorities"),
    posture: value("posture"),
  };
}
