// SPDX-License-Identifier: Apache-2.0
/** May this one ask again now? So many at once, and so many each second after that; each network for itself. */
import { isIPv6 } from "node:net";

export interface RateOptions {
  readonly burst: number;
  readonly perSecond: number;
  /** Callers that are remembered; where there are more, newcomers share one allowance. */
  readonly mostCallers: number;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
}

interface Allowance {
  left: number;
  at: number;
}

const SHARED = "";

export class RateLimit {
  readonly #options: RateOptions;
  readonly #allowances = new Map<string, Allowance>();

  constructor(options: RateOptions) {
    this.#options = options;
  }

  take(address: string): boolean {
    const { burst, perSecond } = this.#options;
    const now = this.#options.now();
    const allowance = this.#allowanceOf(networkOf(address), now);
    allowance.left = Math.min(burst, allowance.left + ((now - allowance.at) / 1000) * perSecond);
    allowance.at = now;
    if (allowance.left < 1) return false;
    allowance.left -= 1;
    return true;
  }

  #allowanceOf(key: string, now: number): Allowance {
    const known = this.#allowances.get(key);
    if (known !== undefined) return known;
    const { burst, mostCallers, perSecond } = this.#options;
    if (this.#allowances.size >= mostCallers) {
      const full = (burst / perSecond) * 1000;
      // Whoever has its whole allowance again is the same as somebody new.
      for (const [each, { at }] of this.#allowances) if (now - at >= full) this.#allowances.delete(each);
    }
    const isFull = this.#allowances.size >= mostCallers;
    const own = { left: burst, at: now };
    if (!isFull) this.#allowances.set(key, own);
    else if (this.#allowances.has(SHARED)) return this.#allowances.get(SHARED)!;
    else this.#allowances.set(SHARED, own);
    return own;
  }
}

/** Of IPv6 a customer has a /64 at least (RFC 6177), and could come from another address each time. */
function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = "", tail] = address.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - before.length - after.length }, () => "0");
  return [...before, ...zeros, ...after].slice(0, 4).join(":");
}
