// SPDX-License-Identifier: Apache-2.0
/** Kysely over `pg`: numbers instead of int8 as text, errors as Faults, and no connection used again after it failed. */
import { PostgresDialect, type PostgresPoolClient } from "kysely";
import pg from "pg";
import { Fault } from "../../kernel/fault.ts";
import type { ConnectionSettings } from "./connection-settings.ts";
import { breaksConnection, postgresFault } from "./postgres-fault.ts";

const INT8 = 20;

const types = new pg.TypeOverrides();
types.setTypeParser(INT8, (text) => {
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  throw new Fault("internal_error", "the database holds a number that is too large");
});

const CONNECT_TIMEOUT = 5000;
/** The server gives up first, so that a statement does not go on after its caller was told that it failed. */
const STATEMENT_TIMEOUT = 10_000;
const QUERY_TIMEOUT = 15_000;

/** For a pool or a single connection. */
export function driverConfig(settings: ConnectionSettings): pg.ClientConfig {
  const { shown: _, user, password, options, ...rest } = settings;
  return {
    ...rest,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(options === undefined ? {} : { options }),
    types,
    application_name: "postern",
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_TIMEOUT,
    statement_timeout: STATEMENT_TIMEOUT,
    query_timeout: QUERY_TIMEOUT,
    idle_in_transaction_session_timeout: STATEMENT_TIMEOUT,
  };
}

export function postgresDialect(settings: ConnectionSettings): PostgresDialect {
  const pool = new pg.Pool({ ...driverConfig(settings), max: 8 });
  // An idle connection that breaks is dropped by the pool; the next query opens another.
  pool.on("error", () => {});
  // One that breaks in use fails its query; without a listener it would end the process as well.
  pool.on("connect", (client) => client.on("error", () => {}));
  const guards = new WeakMap<pg.PoolClient, PostgresPoolClient>();
  return new PostgresDialect({
    pool: {
      options: pool.options,
      end: () => pool.end(),
      async connect() {
        try {
          const client = await pool.connect();
          if (!guards.has(client)) await makeDurable(client);
          const guarded = guards.get(client) ?? guardClient(client, settings.shown);
          guards.set(client, guarded);
          return guarded;
        } catch (error) {
          throw postgresFault(error, settings.shown);
        }
      },
    },
  });
}

/** What was acknowledged must survive a crash of the database, whatever its default is. */
async function makeDurable(client: pg.PoolClient): Promise<void> {
  try {
    await client.query(
      "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'",
    );
  } catch (error) {
    client.release(true);
    throw error;
  }
}

function guardClient(client: pg.PoolClient, shown: string): PostgresPoolClient {
  let isBroken = false;
  const query = async (text: string, parameters: readonly unknown[]) => {
    try {
      return await client.query(text, [...parameters]);
    } catch (error) {
      isBroken ||= breaksConnection(error);
      throw postgresFault(error, shown);
    }
  };
  const guarded = { query, release: (destroy?: boolean) => client.release(destroy === true || isBroken) };
  return guarded as unknown as PostgresPoolClient;
}
