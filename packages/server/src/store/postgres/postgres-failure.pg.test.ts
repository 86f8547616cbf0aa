// SPDX-License-Identifier: Apache-2.0
/** The database dies, is silent, or comes back: what is kept, what is refused, and with which words. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { hasPostgres, type PostgresServer, startPostgres } from "@postern/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock.ts";
import type { Area } from "../changes.ts";
import type { Store } from "../store.ts";
import { openPostgresStore } from "./open-postgres-store.ts";

/** Stands between client and database; falls silent, as a cable does that is pulled. */
async function startWire(port: number) {
  const sockets: Socket[] = [];
  const server: Server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    sockets.push(near, far);
    for (const socket of [near, far]) socket.on("error", () => socket.destroy());
    near.pipe(far).pipe(near);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    fallSilent: () => sockets.forEach((socket) => socket.unpipe().pause()),
    close: () => {
      sockets.forEach((socket) => socket.destroy());
      server.close();
    },
  };
}

describe.skipIf(!hasPostgres())("a database that fails", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server.remove());

  const open = (url: string) => openPostgresStore({ url, clock: systemClock, lookEvery: 50 });

  async function write(store: Store, name: string, until: () => boolean) {
    const acknowledged: number[] = [];
    const failures: string[] = [];
    while (!until()) {
      try {
        const version = await store.secrets.reserveVersion(name);
        await store.secrets.put({ name, version, sealed: Buffer.from(`${name} ${version}`), keyId: "mk" });
        acknowledged.push(version);
      } catch (error) {
        failures.push((error as { code?: string }).code ?? String(error));
      }
    }
    return { acknowledged, failures };
  }

  test("loses nothing that was acknowledged when it is killed under load three times, and works again by itself", async () => {
    const url = await server.createDatabase();
    const store = await open(url);
    let isDone = false;
    const names = ["a", "b", "c", "d"];
    const writers = names.map((name) => write(store, name, () => isDone));
    const total = async () => Number(await server.query(url, "select count(*) from secret_versions"));
    for (let round = 0; round < 3; round++) {
      const before = await total();
      await expect.poll(total, { interval: 20, timeout: 10_000 }).toBeGreaterThan(before + 50);
      await server.crash();
      await server.start();
    }
    const before = await total();
    await expect.poll(total, { interval: 20, timeout: 10_000 }).toBeGreaterThan(before);
    isDone = true;
    const results = await Promise.all(writers);
    const stored = new Map(
      (await store.secrets.all()).map((row) => [`${row.name} ${row.version}`, row.sealed.toString()]),
    );
    const promised = results.flatMap(({ acknowledged }, n) =>
      acknowledged.map((version) => `${names[n]} ${version}`),
    );
    expect(promised.filter((key) => stored.get(key) !== key)).toEqual([]);
    expect(promised.length).toBeGreaterThan(150);
    // While it was away every change was refused, with the code that says why.
    expect(new Set(results.flatMap(({ failures }) => failures))).toEqual(
      new Set(["control_plane_unavailable"]),
    );
    process.stderr.write(`database killed 3 times: ${promised.length} acknowledged, none lost\n`);
    await store.close();
  }, 60_000);

  test("is noticed by the watch, whose knowledge grows old, and is taken up where it was left", async () => {
    const url = await server.createDatabase();
    const store = await open(url);
    const told: boolean[] = [];
    const heard: Area[] = [];
    const watch = store.feed!.watch(await store.epochs(), {
      changed: async (areas) => void heard.push(...areas),
      reachable: ({ isReachable }) => void told.push(isReachable),
    });
    await expect.poll(() => watch.age(), { interval: 5 }).toBeLessThan(40);
    await server.crash();
    await expect.poll(() => told, { interval: 5, timeout: 5000 }).toEqual([false]);
    await expect.poll(() => watch.age(), { interval: 20 }).toBeGreaterThan(300);
    await server.start();
    await server.query(url, "update epochs set value = value + 1 where name = 'secrets'");
    await expect.poll(() => told, { interval: 5, timeout: 5000 }).toEqual([false, true]);
    await expect.poll(() => heard, { interval: 5 }).toEqual(["secrets"]);
    await expect.poll(() => watch.age(), { interval: 5 }).toBeLessThan(200);
    await watch.stop();
    await store.close();
  });

  test("is given up on when it falls silent without closing the connection", async () => {
    const url = new URL(await server.createDatabase());
    const wire = await startWire(server.port);
    url.port = String(wire.port);
    const store = await open(url.href);
    const told: boolean[] = [];
    const { promise: watching, resolve: isWatching } = Promise.withResolvers<void>();
    const outdated = { ...(await store.epochs()), agents: -1 };
    const watch = store.feed!.watch(outdated, {
      changed: async () => isWatching(),
      reachable: ({ isReachable }) => void told.push(isReachable),
    });
    await watching;
    wire.fallSilent();
    await expect.poll(() => told, { interval: 50, timeout: 8000 }).toEqual([false, true]);
    await watch.stop();
    wire.close();
    await store.close();
  }, 30_000);

  test("refuses changes that the listener could not take over, and brings them again", async () => {
    const url = await server.createDatabase();
    const store = await open(url);
    let refusals = 2;
    const heard: Area[][] = [];
    const watch = store.feed!.watch(await store.epochs(), {
      async changed(areas) {
        heard.push([...areas]);
        if (refusals-- > 0) throw new Error("not now");
      },
      reachable: () => {},
    });
    await store.agentStates.set({ agent: "a", state: "cut", reason: "", changedBy: "uid 0" });
    await expect.poll(() => heard.length, { interval: 10 }).toBe(3);
    expect(heard).toEqual([["agents"], ["agents"], ["agents"]]);
    await watch.stop();
    await store.close();
  });
});
