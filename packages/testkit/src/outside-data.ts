// SPDX-License-Identifier: Apache-2.0
/**
 * Where is the test data that others have published and that is no part of this repository?
 *
 * In the folder that `POSTERN_TEST_DATA` names, else in `../shared/data` beside the checkout. Tests that need it are
 * skipped where it is missing; with `POSTERN_REQUIRE_TEST_DATA` set to anything that is a failure.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** `published` says where the data can be had, for whoever lacks it. Undefined where it is missing. */
export function outsideData(name: string, published: string): string | undefined {
  const root =
    process.env["POSTERN_TEST_DATA"] ?? fileURLToPath(new URL("../../../../shared/data", import.meta.url));
  const folder = join(root, name);
  if (existsSync(folder)) return folder;
  const message = `no test data at ${folder}: it is published at ${published}; name its folder in POSTERN_TEST_DATA`;
  if ((process.env["POSTERN_REQUIRE_TEST_DATA"] ?? "") !== "") throw new Error(message);
  process.stderr.write(`tests are skipped: ${message}\n`);
  return undefined;
}
