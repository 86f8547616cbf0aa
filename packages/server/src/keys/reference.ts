// SPDX-License-Identifier: Apache-2.0
/** Where an operator keeps a value that must not stand in a configuration file: `file:/path` or `env:NAME`. */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { Fault } from "../kernel/fault.ts";
import { Secret } from "../kernel/secret.ts";

export interface ReferenceSources {
  /** Passed in by `config`, the only module that reads the environment. */
  readEnv(name: string): string | undefined;
}

const LARGEST = 65_536;

/** The value behind `reference`, without one trailing line end. A Fault that names the reference, never the value. */
export async function resolveReference(reference: string, sources: ReferenceSources): Promise<Secret> {
  const [, scheme, rest] = /^(file|env):(.+)$/s.exec(reference) ?? [];
  if (scheme === "env") return fromEnvironment(rest!, sources);
  if (scheme === "file" && rest!.startsWith("/")) return fromFile(rest!);
  throw new Fault("internal_error", "a reference is written file:/absolute/path or env:NAME");
}

function fromEnvironment(name: string, sources: ReferenceSources): Secret {
  const value = sources.readEnv(name);
  if (value === undefined || value === "") {
    throw new Fault("internal_error", `the environment variable ${name} is not set`);
  }
  return Secret.fromUtf8(value);
}

/** Symbolic links are followed: mounted secrets of container platforms are links. */
async function fromFile(path: string): Promise<Secret> {
  const file = await open(path, constants.O_RDONLY).catch((error: unknown) => {
    throw new Fault("internal_error", `the file ${path} cannot be read`, { cause: error });
  });
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new Fault("internal_error", `${path} is not a file`);
    if ((stats.mode & 0o027) !== 0) {
      throw new Fault(
        "internal_error",
        `${path} can be read by everybody or changed by others, run: chmod 400 ${path}`,
      );
    }
    if (stats.size > LARGEST) throw new Fault("internal_error", `${path} is larger than ${LARGEST} bytes`);
    return new Secret(withoutLineEnd(await file.readFile()));
  } finally {
    await file.close();
  }
}

function withoutLineEnd(bytes: Buffer): Buffer {
  if (bytes.at(-1) !== 0x0a) return bytes;
  return bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1);
}
