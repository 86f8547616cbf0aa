// SPDX-License-Identifier: Apache-2.0
import { rmSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { findSecrets, findSecretsInFolder, newMarkedSecret } from "./canary.ts";

const secret = newMarkedSecret("sk-proj-");
const secrets = { key: secret };
const bytes = Buffer.from(secret);

it.each([
  ["raw", secret],
  ["base64", bytes.toString("base64")],
  ["base64 after one byte", Buffer.from(`x${secret}`).toString("base64")],
  ["base64 inside a Basic credential", Buffer.from(`u:${secret}:after`).toString("base64")],
  ["base64url", Buffer.from(`Bearer ${secret}`).toString("base64url")],
  ["hex", bytes.toString("hex")],
  ["HEX", bytes.toString("hex").toUpperCase()],
  ["percent-encoded", bytes.toString("hex").replaceAll(/../g, "%$&").toUpperCase()],
  ["utf-16", Buffer.from(secret, "utf16le")],
  ["reversed", Buffer.from(bytes).reverse().toString("latin1")],
])("finds a secret that is written %s", (_, content) => {
  const hidden = Buffer.concat([Buffer.from("before "), Buffer.from(content), Buffer.from(" after")]);
  expect(findSecrets("here", hidden, secrets)).not.toEqual([]);
});

it("finds nothing in another secret of the same shape", () => {
  expect(findSecrets("here", newMarkedSecret("sk-proj-"), secrets)).toEqual([]);
});

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "canary-"));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

it("fails where there is no folder at all", async () => {
  await expect(findSecretsInFolder(join(folder, "none"), secrets)).rejects.toThrow("ENOENT");
});

it("reads every file below a folder", async () => {
  await mkdir(join(folder, "deep", "er"), { recursive: true });
  await writeFile(join(folder, "a"), "nothing");
  await writeFile(join(folder, "deep", "er", "b"), bytes.toString("base64"));
  const { findings, filesRead } = await findSecretsInFolder(folder, secrets);
  expect(filesRead).toBe(2);
  expect(new Set(findings.map(({ place }) => place))).toEqual(new Set([join(folder, "deep", "er", "b")]));
});

it("reads what is left where folders and files go away meanwhile", async () => {
  for (const name of ["one", "two", "three"]) {
    await mkdir(join(folder, name, "inner"), { recursive: true });
    await writeFile(join(folder, name, "inner", "file"), secret);
    await writeFile(join(folder, name, "file"), secret);
  }
  await writeFile(join(folder, "first"), "nothing");
  // Asked for when the first file has been read: `two` is in the list of folders already, and `three/inner` is not.
  const meanwhile = {
    get key() {
      rmSync(join(folder, "two"), { recursive: true, force: true });
      rmSync(join(folder, "three", "inner"), { recursive: true, force: true });
      return secret;
    },
  };
  const { findings, filesRead } = await findSecretsInFolder(folder, meanwhile);
  expect(new Set(findings.map(({ place }) => place))).toEqual(
    new Set([
      join(folder, "one", "inner", "file"),
      join(folder, "one", "file"),
      join(folder, "three", "file"),
    ]),
  );
  expect(filesRead).toBe(4);
});
