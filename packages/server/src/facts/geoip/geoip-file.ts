// SPDX-License-Identifier: Apache-2.0
/**
 * Where are addresses, by a file that the operator keeps up to date?
 *
 * The file is looked at every second and read anew when it has changed. While it is missing or broken nobody knows
 * where any address is.
 */
import { readFileSync, unwatchFile, watchFile } from "node:fs";
import type { RegionSource, Whereabouts } from "../../policy/conditions/facts.ts";
import { fieldOf, MmdbReader } from "./mmdb-reader.ts";

export interface GeoipWatcher {
  /** What became of the file; `problem` where it cannot be used. */
  changed(problem: Error | undefined): void;
}

const LOOK_EVERY = 1000;

export class GeoipFile implements RegionSource {
  readonly machine: readonly string[];
  readonly #path: string;
  #reader: MmdbReader | undefined;
  /** Why it cannot be used; absent where it can. */
  problem: Error | undefined;

  constructor(path: string, machine: readonly string[]) {
    [this.#path, this.machine] = [path, machine];
    this.#read();
  }

  watch(watcher: GeoipWatcher): void {
    watchFile(this.#path, { interval: LOOK_EVERY, persistent: false }, (now, before) => {
      if (now.mtimeMs === before.mtimeMs && now.size === before.size && now.ino === before.ino) return;
      this.#read();
      watcher.changed(this.problem);
    });
  }

  close(): void {
    unwatchFile(this.#path);
  }

  locate(address: string): Whereabouts | undefined {
    const found = this.#reader?.get(address);
    if (found === undefined) return undefined;
    const country = fieldOf(fieldOf(found, "country"), "iso_code");
    const continent = fieldOf(fieldOf(found, "continent"), "code");
    return {
      ...(typeof country === "string" ? { country } : {}),
      ...(typeof continent === "string" ? { continent } : {}),
    };
  }

  #read(): void {
    this.#reader = undefined;
    this.problem = undefined;
    try {
      this.#reader = new MmdbReader(readFileSync(this.#path));
    } catch (error) {
      this.problem = error as Error;
    }
  }
}
