// SPDX-License-Identifier: Apache-2.0
/**
 * What was decided in this test, and under which resources? Kept where POSTERN_KEEP_DECISIONS names a folder, so that
 * `npm run conformance -- decisions` can decide all of it again.
 */
import { createWriteStream, mkdirSync, mkdtempSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

export interface DecisionKeeper {
  /** After what may have changed resources. */
  changed(): Promise<void>;
  /** Before the server ends. */
  ending(): Promise<void>;
}

/** Of the server with this data folder; undefined where nobody wants it kept. */
export function decisionKeeper(dataFolder: string): DecisionKeeper | undefined {
  const folder = process.env["POSTERN_KEEP_DECISIONS"];
  if (folder === undefined || folder === "") return undefined;
  mkdirSync(folder, { recursive: true });
  const kept = mkdtempSync(join(folder, "server-"));
  const socketPath = join(dataFolder, "control.sock");
  let count = 0;
  return {
    changed: () => keep(socketPath, "/v1/resources", join(kept, `resources-${++count}.json`)),
    ending: () => keep(socketPath, "/v1/audit/export", join(kept, "log.jsonl")),
  };
}

/** A server that a test has ended keeps nothing. */
async function keep(socketPath: string, path: string, file: string): Promise<void> {
  await new Promise<void>((resolve) => {
    const asked = request({ socketPath, path, headers: { host: "postern" } }, (answer) => {
      pipeline(answer, createWriteStream(file)).then(resolve, () => resolve());
    });
    asked.on("error", () => resolve());
    asked.end();
  });
}
