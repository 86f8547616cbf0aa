// SPDX-License-Identifier: Apache-2.0
/** The sources that conditions may ask, and who has to hear when one of them says something else. */
import type { FactSources } from "../policy/conditions/facts.ts";

export class LiveFacts implements FactSources {
  #revision = 0;
  readonly #listeners = new Set<() => void>();

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
