// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { Fault } from "../../kernel/fault.ts";
import { storageFault } from "./storage-fault.ts";

const errorOf = (run: () => unknown): unknown => {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("did not fail");
};

test("a database that cannot be written, is in use, or cannot be opened is told in words with a next step", () => {
  const folder = mkdtempSync(join(tmpdir(), "postern-fault-"));
  const file = join(folder, "x.db");
  const writer = new DatabaseSync(file);
  writer.exec("create table t (a); begin exclusive");
  const second = new DatabaseSync(file, { timeout: 0 });
  expect(
    storageFault(
      errorOf(() => second.exec("begin exclusive")),
      file,
    ).message,
  ).toContain("is in use by another program");
  writer.exec("commit");
  const reader = new DatabaseSync(file, { readOnly: true });
  const readOnly = storageFault(
    errorOf(() => reader.exec("insert into t values (1)")),
    file,
  );
  expect(readOnly.message).toBe(
    `the database ${file} cannot be written: make the file and its folder writable for the account of the server`,
  );
  const missing = errorOf(() => new DatabaseSync(join(folder, "none", "y.db")));
  expect(storageFault(missing, file).message).toContain("cannot be opened: check");
  for (const database of [writer, second, reader]) database.close();
  rmSync(folder, { recursive: true });
});

test("an unknown error keeps its cause, and a Fault stays as it is", () => {
  const cause = new Error("odd");
  expect(storageFault(cause, "f")).toMatchObject({
    code: "internal_error",
    message: "the database f failed",
    cause,
  });
  const fault = new Fault("resource_conflict", "x");
  expect(storageFault(fault, "f")).toBe(fault);
});
