// SPDX-License-Identifier: Apache-2.0
/**
 * Did a secret that a Postern of this process was given get anywhere where it must not be, in any encoding?
 *
 * Asked whenever one is stopped, so that every test that uses one is also a test of this.
 */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { type Finding, findSecrets, findSecretsInFolder } from "./canary.ts";

/** Shorter ones are words of tests, and stand anywhere. */
const SHORTEST = 16;

const given: Record<string, string> = {};

/** From here on this value is searched for. */
export function noteSecret(name: string, value: string): void {
  if (value.length >= SHORTEST) given[`${name} #${Object.keys(given).length}`] = value;
}

export class LeakError extends Error {
  readonly findings: readonly Finding[];

  constructor(findings: readonly Finding[]) {
    const places = findings.map(({ secret, encoding, place }) => `${secret} (${encoding}) in ${place}`);
    super(`a secret got out: ${places.slice(0, 10).join("; ")}`);
    this.name = "LeakError";
    this.findings = findings;
  }
}

export interface Places {
  readonly folders: readonly string[];
  /** What was printed or received, by name. */
  readonly texts: Readonly<Record<string, string>>;
}

/** @throws {LeakError} names places and encodings, never a value */
export async function searchForLeaks({ folders, texts }: Places): Promise<void> {
  const findings = [
    ...Object.entries(texts).flatMap(([place, text]) => findSecrets(place, text, given)),
    ...(await findSecretsInProcesses()),
  ];
  for (const folder of folders.filter(existsSync))
    findings.push(...(await findSecretsInFolder(folder, given)).findings);
  if (findings.length > 0) throw new LeakError(findings);
}

/** Words and environment of every process that can be looked at, except this one, which made the secrets. */
async function findSecretsInProcesses(): Promise<Finding[]> {
  if (process.platform !== "linux" || Object.keys(given).length === 0) return [];
  const findings: Finding[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    for (const name of ["cmdline", "environ"]) {
      const place = `/proc/${pid}/${name}`;
      // Gone meanwhile, or another account's.
      const content = await readFile(place).catch(() => Buffer.alloc(0));
      findings.push(...findSecrets(place, content, given));
    }
  }
  return findings;
}

/** Searches what arrives in pieces, also across their borders, and keeps no more of it than that takes. */
export class LeakWatch {
  readonly #place: string;
  readonly #findings: Finding[] = [];
  #tail: Buffer = Buffer.alloc(0);

  constructor(place: string) {
    this.#place = place;
  }

  feed(piece: Buffer): void {
    const all = Buffer.concat([this.#tail, piece]);
    this.#findings.push(...findSecrets(this.#place, all, given));
    // Base64 of hex of the longest secret in use fits many times.
    this.#tail = all.subarray(Math.max(0, all.length - 2048));
  }

  /** @throws {LeakError} */
  requireClean(): void {
    if (this.#findings.length > 0) throw new LeakError(this.#findings);
  }
}
