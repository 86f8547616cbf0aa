// SPDX-License-Identifier: Apache-2.0
/** Can this server do its work now? One answer for the probe, the operators' API, the metrics and the first line. */
import type { ReadinessCheck } from "@postern/contract";
import { recent } from "./recent.ts";

export interface Readiness {
  readonly ready: boolean;
  readonly checks: readonly ReadinessCheck[];
}

/** Gives the reason why not, in fixed words that quote nothing; undefined where all is well. */
export type Probe = () => string | undefined | Promise<string | undefined>;

/** A probe that has not answered by then counts as failed. */
const PATIENCE = 1000;
const FRESH = 500;

export interface ReadinessOptions {
  readonly patience?: number;
  readonly now?: () => number;
}

/** `probes` by the name under which their answer is shown. */
export function readinessOf(
  probes: Readonly<Record<string, Probe>>,
  { patience = PATIENCE, now }: ReadinessOptions = {},
): () => Promise<Readiness> {
  const ask = async (): Promise<Readiness> => {
    const checks = await Promise.all(
      Object.entries(probes).map(async ([name, probe]): Promise<ReadinessCheck> => {
        const reason = await answerOf(probe, patience);
        return reason === undefined ? { name, ok: true } : { name, ok: false, reason };
      }),
    );
    return { ready: checks.every(({ ok }) => ok), checks };
  };
  return recent(ask, FRESH, now);
}

async function answerOf(probe: Probe, patience: number): Promise<string | undefined> {
  const late = Promise.withResolvers<string>();
  const timer = setTimeout(() => late.resolve("no answer in time"), patience);
  try {
    return await Promise.race([probe(), late.promise]);
  } catch {
    return "the check itself failed";
  } finally {
    clearTimeout(timer);
  }
}
