// SPDX-License-Identifier: Apache-2.0
/** `ResourceStore` in SQL. The epoch row is written first in every change: it is what changes queue on. */
import { RESOURCE_KINDS, resourceSchema } from "@postern/contract";
import type { Resource, ResourceKind, ResourceOf } from "@postern/contract";
import type { Selectable } from "kysely";
import type { Clock, Instant } from "../../kernel/clock.ts";
import { Fault } from "../../kernel/fault.ts";
import type { ResourceChanges, ResourceName, ResourceStore, StoredResource } from "../resource-store.ts";
import type { Announce } from "./epochs.ts";
import { compareText } from "./tables.ts";
import type { Database, Tables } from "./tables.ts";

export function sqlResourceStore(db: Database, clock: Clock, announce: Announce): ResourceStore {
  return {
    epoch: () => readEpoch(db),
    list: () => listResources(db),
    snapshot: () =>
      db
        .transaction()
        .setIsolationLevel("repeatable read")
        .execute(async (transaction) => ({
          epoch: await readEpoch(transaction),
          resources: await listResources(transaction),
        })),
    async get<K extends ResourceKind>(kind: K, name: string) {
      const row = await db
        .selectFrom("resources")
        .selectAll()
        .where("kind", "=", kind)
        .where("name", "=", name)
        .executeTakeFirst();
      return row && (parseRow(row) as StoredResource<ResourceOf<K>>);
    },
    async replace(changes, expectedEpoch) {
      refuseContradictions(changes);
      const now = clock.now();
      return db.transaction().execute(async (transaction) => {
        const empty = changes.put.length + changes.delete.length === 0;
        const epoch = await advanceEpoch(transaction, empty ? 0 : 1, expectedEpoch);
        for (const name of changes.delete) await deleteResource(transaction, name);
        for (const resource of changes.put) await putResource(transaction, resource, now);
        if (!empty) await announce(transaction, "resources");
        return { epoch };
      });
    },
  };
}

async function readEpoch(db: Database): Promise<number> {
  const row = await db
    .selectFrom("epochs")
    .select("value")
    .where("name", "=", "resources")
    .executeTakeFirstOrThrow();
  return row.value;
}

async function listResources(db: Database): Promise<readonly StoredResource[]> {
  const rows = await db.selectFrom("resources").selectAll().execute();
  const rank = (kind: string) => RESOURCE_KINDS.indexOf(kind as ResourceKind);
  return rows
    .toSorted((a, b) => rank(a.kind) - rank(b.kind) || compareText(a.name, b.name))
    .map((row) => parseRow(row));
}

/** Rows are read through the schema: whoever wrote to the database by hand is told, not believed. */
function parseRow(row: Selectable<Tables["resources"]>): StoredResource {
  const broken = (cause: unknown) =>
    new Fault(
      "internal_error",
      `the stored ${row.kind} ${row.name} is not a valid resource: delete it or apply it again`,
      { cause },
    );
  let body: unknown;
  try {
    body = JSON.parse(row.body);
  } catch (error) {
    throw broken(error);
  }
  const parsed = resourceSchema.safeParse(body);
  if (!parsed.success) throw broken(parsed.error);
  const resource = parsed.data;
  if (resource.kind !== row.kind || resource.metadata.name !== row.name) throw broken(undefined);
  return { resource, version: row.version, createdAt: row.created_at, updatedAt: row.updated_at };
}

async function advanceEpoch(db: Database, step: 0 | 1, expected: number | undefined): Promise<number> {
  let update = db
    .updateTable("epochs")
    .set((eb) => ({ value: eb("value", "+", step) }))
    .where("name", "=", "resources");
  if (expected !== undefined) update = update.where("value", "=", expected);
  const row = await update.returning("value").executeTakeFirst();
  if (row === undefined) {
    throw new Fault("resource_conflict", "the resources were changed by somebody else in the meantime");
  }
  return row.value;
}

function refuseContradictions(changes: ResourceChanges): void {
  const key = ({ kind, name }: ResourceName) => `${kind} ${name}`;
  const seen = new Set(changes.delete.map(key));
  for (const { kind, metadata } of changes.put) {
    const name = key({ kind, name: metadata.name });
    if (seen.has(name)) throw new Fault("resource_invalid", `${name} is changed twice in one step`);
    seen.add(name);
  }
}

async function deleteResource(db: Database, { kind, name }: ResourceName): Promise<void> {
  await db.deleteFrom("resources").where("kind", "=", kind).where("name", "=", name).execute();
}

async function putResource(db: Database, resource: Resource, now: Instant): Promise<void> {
  await db
    .insertInto("resources")
    .values({
      kind: resource.kind,
      name: resource.metadata.name,
      body: JSON.stringify(resource),
      version: 1,
      created_at: now,
      updated_at: now,
    })
    .onConflict((conflict) =>
      conflict.columns(["kind", "name"]).doUpdateSet((eb) => ({
        body: eb.ref("excluded.body"),
        version: eb("resources.version", "+", 1),
        updated_at: eb.ref("excluded.updated_at"),
      })),
    )
    .execute();
}
