// SPDX-License-Identifier: Apache-2.0
import { hasPostgres, type PostgresServer, startPostgres } from "@postern/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock.ts";
import type { Area } from "../changes.ts";
import { MIGRATIONS } from "../sql/migrations.ts";
import { storeContract } from "../store.contract.ts";
import type { Store } from "../store.ts";
import { openPostgresStore } from "./open-postgres-store.ts";

describe.skipIf(!hasPostgres())("the store on PostgreSQL", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server.remove());

  storeContract(async () => {
    const url = await server.createDatabase();
    return { open: (clock) => openPostgresStore({ url, clock }), remove: async () => {} };
  });

  const open = (url: string) => openPostgresStore({ url, clock: systemClock, lookEvery: 60_000 });
  const cut = { agent: "a", state: "cut", reason: "", changedBy: "uid 0" } as const;

  /** Areas that `store` hears of, as they come; the promise is that of the next one. */
  async function listen(store: Store) {
    const heard: Area[] = [];
    let tell = (): void => {};
    const watch = store.feed!.watch(await store.epochs(), {
      changed: async (areas) => {
        heard.push(...areas);
        tell();
      },
      reachable: () => {},
    });
    const next = async (): Promise<Area[]> => {
      if (heard.length === 0) await new Promise<void>((resolve) => (tell = resolve));
      return heard.splice(0);
    };
    return { watch, next };
  }

  test("servers that start at the same time make the tables once", async () => {
    const url = await server.createDatabase();
    const stores = await Promise.all(Array.from({ length: 5 }, () => open(url)));
    expect(await server.query(url, "select count(*) from schema_migrations")).toBe(String(MIGRATIONS.length));
    await Promise.all(stores.map((store) => store.close()));
  });

  test("a commit waits for the disk although the database's default says otherwise", async () => {
    const url = await server.createDatabase();
    const { pathname } = new URL(url);
    await server.query(url, `alter database ${pathname.slice(1)} set synchronous_commit = off`);
    // A trigger sees the setting of the very transaction that was acknowledged.
    const store = await open(url);
    await server.query(
      url,
      `create table seen (setting text);
       create function note() returns trigger language plpgsql as
         $$begin insert into seen values (current_setting('synchronous_commit')); return new; end$$;
       create trigger note after insert on agent_states for each row execute function note()`,
    );
    await store.agentStates.set(cut);
    expect(await server.query(url, "select setting from seen")).toBe("on");
    await store.close();
  });

  test("a database of a newer program is refused", async () => {
    const url = await server.createDatabase();
    await (await open(url)).close();
    await server.query(url, "insert into schema_migrations values (99, 'of the future', 0)");
    await expect(open(url)).rejects.toThrow("the database has schema 99, this program knows up to");
  });

  test("a wrong password, a missing database and a missing server are told apart, without the password", async () => {
    const url = await server.createDatabase();
    const attempt = (change: (target: URL) => void) => {
      const target = new URL(url);
      change(target);
      return open(target.href).then(
        () => "opened",
        (error: Error) => `${error.message} ${String(error.stack)}`,
      );
    };
    const wrongPassword = await attempt((target) => (target.password = "hunter22"));
    expect(wrongPassword).toContain("refuses the user or the password");
    expect(wrongPassword).not.toContain("hunter22");
    expect(await attempt((target) => (target.pathname = "/nowhere"))).toContain(
      "does not exist: make it with createdb",
    );
    expect(await attempt((target) => (target.port = "1"))).toContain("cannot be reached (ECONNREFUSED)");
  });

  test("a server without TLS is refused where TLS was asked for", async () => {
    const url = `${await server.createDatabase()}?sslmode=verify-full`;
    await expect(open(url)).rejects.toThrow("failed the check of TLS (no TLS offered)");
  });

  test("every change is heard of by another server at once, without waiting for the next look", async () => {
    const url = await server.createDatabase();
    const [writer, reader] = [await open(url), await open(url)];
    const { watch, next } = await listen(reader);
    const heard: Area[][] = [];
    const change = async (work: () => Promise<unknown>) => {
      const coming = next();
      await work();
      heard.push(await coming);
    };
    await change(() => writer.agentStates.set(cut));
    await change(() =>
      writer.resources.replace({
        put: [{ kind: "TrustProvider", metadata: { name: "local" }, spec: { kind: "process" } }],
        delete: [],
      }),
    );
    const version = await writer.secrets.reserveVersion("s");
    await change(() => writer.secrets.put({ name: "s", version, sealed: Buffer.from("x"), keyId: "mk" }));
    await change(() => writer.secrets.delete("s"));
    expect(heard).toEqual([["agents"], ["resources"], ["secrets"], ["secrets"]]);
    await watch.stop();
    await Promise.all([writer.close(), reader.close()]);
  });

  test("what was changed without a notice is found by looking", async () => {
    const url = await server.createDatabase();
    const store = await openPostgresStore({ url, clock: systemClock, lookEvery: 20 });
    const { watch, next } = await listen(store);
    await server.query(url, "update epochs set value = value + 1 where name = 'agents'");
    expect(await next()).toEqual(["agents"]);
    await watch.stop();
    await store.close();
  });

  test("what was changed before watching began is reported first", async () => {
    const url = await server.createDatabase();
    const store = await open(url);
    const known = await store.epochs();
    await store.agentStates.set(cut);
    const areas = await new Promise<readonly Area[]>((resolve) => {
      const watch = store.feed!.watch(known, {
        changed: async (all) => {
          resolve(all);
          void watch.stop();
        },
        reachable: () => {},
      });
    });
    expect(areas).toEqual(["agents"]);
    await store.close();
  });
});
