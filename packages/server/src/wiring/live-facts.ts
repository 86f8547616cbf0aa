// SPDX-License-Identifier: Apache-2.0
/** The sources that conditions may ask, and who has to hear when one of them says something else. */
import { networkInterfaces } from "node:os";
import type { Config } from "../config/config.ts";
import { GeoipFile } from "../facts/geoip/geoip-file.ts";
import { runtimeOf } from "../facts/runtime/runtime-of.ts";
import { faultFields, type Log } from "../kernel/log.ts";
import type { FactSources, PostureSource, RegionSource, RuntimeSource } from "../policy/conditions/facts.ts";

export class LiveFacts implements FactSources {
  readonly regions: RegionSource;
  readonly runtime: RuntimeSource = { of: runtimeOf };
  readonly posture: PostureSource;
  readonly #geoip: GeoipFile | undefined;
  #revision = 0;
  readonly #listeners = new Set<() => void>();

  constructor(
    { geoipFile, publicAddress }: Pick<Config, "geoipFile" | "publicAddress">,
    { log, posture }: { readonly log: Log; readonly posture: PostureSource },
  ) {
    this.posture = posture;
    const machine = publicAddress === undefined ? ownAddresses() : [publicAddress];
    if (geoipFile === undefined) {
      this.regions = { machine, locate: () => undefined };
      return;
    }
    const geoip = (this.#geoip = this.regions = new GeoipFile(geoipFile, machine));
    const tell = (problem: Error | undefined): void => {
      if (problem === undefined) log.write("warn", "the file that tells where addresses are was read anew");
      else
        log.write(
          "error",
          "the file that tells where addresses are cannot be used: nobody knows any",
          faultFields(problem),
        );
    };
    if (geoip.problem !== undefined) tell(geoip.problem);
    geoip.watch({
      changed: (problem) => {
        tell(problem);
        this.changed();
      },
    });
  }

  close(): void {
    this.#geoip?.close();
  }

  get revision(): number {
    return this.#revision;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Anything may be otherwise from here on. */
  changed(): void {
    this.#revision++;
    for (const listener of this.#listeners) listener();
  }
}

/** Addresses of the machine's own interfaces: others may see another one. */
const ownAddresses = (): string[] =>
  Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, scopeid = 0 }) => !internal && scopeid === 0)
    .map(({ address }) => address);
