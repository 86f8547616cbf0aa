// SPDX-License-Identifier: Apache-2.0
/** Which addresses does a host have? */
import { lookup } from "node:dns/promises";

/** Addresses in the order in which they are to be tried. Rejects where the name cannot be resolved. */
export type Resolver = (host: string) => Promise<readonly string[]>;

/**
 * One question at a time for each host: whoever asks meanwhile gets the same answer, and nobody a later one.
 *
 * The system's resolver takes a thread for as long as it waits. Without this, one agent that calls a host with
 * slow name servers many times would keep every other host's name from being resolved.
 */
export function oneAtATime(resolve: Resolver): Resolver {
  const underWay = new Map<string, Promise<readonly string[]>>();
  return (host) => {
    const known = underWay.get(host);
    if (known !== undefined) return known;
    const answer = resolve(host).finally(() => underWay.delete(host));
    underWay.set(host, answer);
    return answer;
  };
}

export const systemResolver: Resolver = oneAtATime(async (host) => {
  const found = await lookup(host, { all: true, order: "verbatim" });
  return found.map(({ address }) => address);
});
