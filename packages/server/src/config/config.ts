// SPDX-License-Identifier: Apache-2.0
/** The server's settings: command line over environment over defaults, checked once, then frozen. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";

export interface Config {
  readonly dataFolder: string;
  /** Where the master key is, `file:PATH` or `env:NAME`; absent: a file in the data folder. */
  readonly masterKey: string | undefined;
  /**
   * URL of a PostgreSQL database or a reference to one; absent: a database in the data folder. A function, because
   * it may hold a password.
   */
  readonly databaseUrl: () => string | undefined;
  /** Whether it stands on the command line, where everybody on the machine can read it. */
  readonly isDatabaseUrlVisible: boolean;
  /** Milliseconds for which the gateway goes on without word from its database. */
  readonly maxSnapshotAge: number;
  readonly strictAudit: boolean;
  readonly json: boolean;
  readonly verbose: boolean;
  /** Reads a variable for references such as `env:NAME`; the only way to the environment. */
  readonly readEnvironment: (name: string) => string | undefined;
}

/** @throws {Error} on words that are no setting */
export function readConfig(words: readonly string[], environment: NodeJS.ProcessEnv = process.env): Config {
  const { values } = parseArgs({
    args: [...words],
    strict: true,
    options: {
      data: { type: "string" },
      "master-key": { type: "string" },
      "database-url": { type: "string" },
      "max-snapshot-age": { type: "string" },
      "strict-audit": { type: "boolean" },
      json: { type: "boolean" },
      verbose: { type: "boolean" },
    },
  });
  if (values.data === undefined) throw new Error("give the data folder: --data DIR");
  return Object.freeze({
    dataFolder: resolve(values.data),
    masterKey: values["master-key"] ?? environment["POSTERN_MASTER_KEY"],
    databaseUrl: () => values["database-url"] ?? environment["POSTERN_DATABASE_URL"],
    isDatabaseUrlVisible: values["database-url"] !== undefined,
    maxSnapshotAge: 1000 * seconds(values["max-snapshot-age"] ?? "60"),
    strictAudit: values["strict-audit"] ?? false,
    json: values.json ?? false,
    verbose: values.verbose ?? false,
    readEnvironment: (name: string) => environment[name],
  });
}

function seconds(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new Error("give --max-snapshot-age as whole seconds, 1 to 999999");
}
