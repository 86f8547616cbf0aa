// SPDX-License-Identifier: Apache-2.0
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock.ts";
import { storeContract } from "../store.contract.ts";
import { MIGRATIONS } from "../sql/migrations.ts";
import { openDatabase } from "./open-database.ts";
import { openStore } from "./open-store.ts";

const makeFolder = () => mkdtempSync(join(tmpdir(), "postern-store-"));

describe("the embedded store keeps the contract", () => {
  storeContract(async () => {
    const folder = makeFolder();
    const file = join(folder, "postern.db");
    return {
      open: (clock) => openStore({ file, clock }),
      remove: async () => rmSync(folder, { recursive: true }),
    };
  });
});

describe("the embedded store on disk", () => {
  let folder: string;
  let file: string;
  const open = () => openStore({ file, clock: systemClock });
  beforeEach(() => {
    folder = makeFolder();
    file = join(folder, "postern.db");
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test("a copy is whole each time, also while rows are written and deleted", async () => {
    const store = await open();
    let isDone = false;
    const writing = (async () => {
      for (let n = 1; !isDone; n++) {
        const version = await store.secrets.reserveVersion("a");
        await store.secrets.put({ name: "a", version, sealed: Buffer.alloc(300, 1), keyId: "mk" });
        if (n % 7 === 0) await store.secrets.delete("a");
        await setImmediate();
      }
    })();
    const copies = Array.from({ length: 3 }, async (_unused, lane) => {
      for (let n = 0; n < 40; n++) {
        const target = join(folder, `copy-${lane}-${n}.db`);
        await store.copyTo!(target);
        const copy = new DatabaseSync(target);
        expect(copy.prepare("pragma integrity_check").all()).toEqual([{ integrity_check: "ok" }]);
        copy.close();
      }
    });
    await Promise.all(copies);
    isDone = true;
    await writing;
    await store.close();
  });

  test.each(["750", "705", "770", "701"])(
    "a data folder of mode %s is refused with the command that mends it",
    async (mode) => {
      chmodSync(folder, Number.parseInt(mode, 8));
      await expect(open()).rejects.toThrow(`run: chmod 700 ${folder}`);
      expect(readdirSync(folder)).toEqual([]);
    },
  );

  test.skipIf(process.getuid?.() !== 0)(
    "a data folder of somebody else is refused, also for root",
    async () => {
      chownSync(folder, 65_534, 65_534);
      await expect(open()).rejects.toThrow("belongs to user 65534");
    },
  );

  test("a database that others can read is refused with the command that mends it", async () => {
    await (await open()).close();
    chmodSync(file, 0o640);
    await expect(open()).rejects.toThrow(`run: chmod 600 ${file}`);
  });

  test("a symbolic link in place of the database is refused", async () => {
    const elsewhere = join(folder, "elsewhere.db");
    writeFileSync(elsewhere, "", { mode: 0o600 });
    symlinkSync(elsewhere, file);
    await expect(open()).rejects.toThrow("is not a plain file");
  });

  test("all files are of the owner alone while the store is open, whatever the umask", async () => {
    const before = process.umask(0);
    try {
      const data = join(folder, "new", "data");
      file = join(data, "postern.db");
      const store = await open();
      await store.secrets.reserveVersion("a");
      expect(statSync(data).mode & 0o777).toBe(0o700);
      const names = readdirSync(data).toSorted();
      expect(names).toEqual(["lock.db", "lock.pid", "postern.db", "postern.db-shm", "postern.db-wal"]);
      for (const name of names)
        expect([name, statSync(join(data, name)).mode & 0o777]).toEqual([name, 0o600]);
      await store.close();
    } finally {
      process.umask(before);
    }
  });

  test("a second store in the same folder is refused and told who holds it; the first goes on", async () => {
    const first = await open();
    await expect(open()).rejects.toThrow(`is in use by process ${process.pid}`);
    expect(await first.secrets.reserveVersion("a")).toBe(1);
    await expect(open()).rejects.toThrow("is in use");
    await first.close();
    const second = await open();
    expect(await second.secrets.reserveVersion("a")).toBe(2);
    await second.close();
  });

  test("a file that is no database is refused and left alone", async () => {
    const text = "these are the only notes of somebody".repeat(200);
    writeFileSync(file, text, { mode: 0o600 });
    await expect(open()).rejects.toThrow(`${file} is not a database of postern`);
    expect(readFileSync(file, "utf8")).toBe(text);
  });

  test("a damaged database is refused and says what to do", async () => {
    const store = await open();
    for (let n = 0; n < 50; n++) {
      const version = await store.secrets.reserveVersion("a");
      await store.secrets.put({ name: "a", version, sealed: Buffer.alloc(2000, n), keyId: "mk" });
    }
    await store.close();
    const bytes = readFileSync(file);
    bytes.fill(0xff, 8192, bytes.length - 4096);
    writeFileSync(file, bytes);
    await expect(open()).rejects.toThrow(`${file} is damaged: stop the server`);
  });

  test("a truncated database is refused", async () => {
    await (await open()).close();
    truncateSync(file, 4096 * 3);
    await expect(open()).rejects.toThrow(/is damaged|is not a database/);
  });

  test("a database of a newer program is refused and left as it is", async () => {
    await (await open()).close();
    const database = new DatabaseSync(file);
    database.exec("insert into schema_migrations values (99, 'of the future', 0)");
    database.close();
    const before = readFileSync(file);
    await expect(open()).rejects.toThrow(
      `the database has schema 99, this program knows up to ${MIGRATIONS.length}`,
    );
    expect(readFileSync(file)).toEqual(before);
  });

  test("authorities of a database from before WIT-SVIDs are all there afterwards, and one for these fits in", async () => {
    const at = MIGRATIONS.findIndex(({ name }) => name === "authorities for WIT-SVIDs");
    const times = { notBefore: 1, notAfter: 2, createdAt: 3, changedAt: 4 };
    const jwt = { trustDomain: "corp", kind: "jwt", generation: 2, state: "old", ...times } as const;
    const stored = [
      { ...jwt, published: Buffer.from([1, 2]) },
      { ...jwt, kind: "x509", published: Buffer.from([3]), chain: Buffer.from([4]) } as const,
    ];
    const store = await open();
    await store.authorities.put(stored, (await store.authorities.snapshot("corp")).epoch);
    await store.close();
    const database = new DatabaseSync(file);
    database.exec(`
      create table before_wit (trust_domain text not null, kind text not null check (kind in ('x509', 'jwt')),
        generation integer not null, state text not null, published blob not null, not_before integer not null,
        not_after integer not null, created_at integer not null, changed_at integer not null, chain blob,
        primary key (trust_domain, kind, generation)) strict;
      insert into before_wit select * from authorities;
      drop table authorities;
      alter table before_wit rename to authorities;
      delete from schema_migrations where version > ${at};`);
    database.close();
    const later = await open();
    const { authorities, epoch } = await later.authorities.snapshot("corp");
    expect(authorities).toEqual(stored);
    expect(await later.authorities.put([{ ...stored[0]!, kind: "wit" }], epoch)).toBe(true);
    await later.close();
  });

  test("after a refused start the folder is free again", async () => {
    mkdirSync(file);
    await expect(open()).rejects.toThrow("is not a plain file");
    rmSync(file, { recursive: true });
    await (await open()).close();
  });

  test("a commit returns after it is synced, deleted bytes are overwritten, and keys are enforced", () => {
    const database = openDatabase(file);
    const value = (name: string) => Object.values(database.prepare(`pragma ${name}`).get()!)[0];
    expect({
      journal: value("journal_mode"),
      synchronous: value("synchronous"),
      secureDelete: value("secure_delete"),
      foreignKeys: value("foreign_keys"),
      busyTimeout: value("busy_timeout"),
    }).toEqual({ journal: "wal", synchronous: 2, secureDelete: 1, foreignKeys: 1, busyTimeout: 5000 });
    database.close();
  });

  test.skipIf(process.getuid?.() === 0)(
    "a database that cannot be written is refused at the start",
    async () => {
      await (await open()).close();
      chmodSync(file, 0o400);
      await expect(open()).rejects.toThrow(`cannot be written, run: chmod 600 ${file}`);
    },
  );

  test("all tables are strict", async () => {
    const store = await open();
    await store.close();
    const database = new DatabaseSync(file);
    const tables = database
      .prepare(
        "select name, strict from pragma_table_list where schema = 'main' and name not like 'sqlite_%'",
      )
      .all();
    database.close();
    expect(tables.length).toBeGreaterThan(5);
    expect(tables.filter(({ strict }) => strict !== 1)).toEqual([]);
  });

  test("a resource that was edited by hand into something invalid is named, not believed", async () => {
    const store = await open();
    await store.close();
    const database = new DatabaseSync(file);
    const body = JSON.stringify({
      kind: "Agent",
      metadata: { name: "b" },
      spec: { trustProvider: "x", selectors: [] },
    });
    database.prepare("insert into resources values ('Agent', 'a', ?, 1, 0, 0)").run(body);
    database.close();
    const again = await open();
    await expect(again.resources.list()).rejects.toThrow("the stored Agent a is not a valid resource");
    await again.close();
  });
});
