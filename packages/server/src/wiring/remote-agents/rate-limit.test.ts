// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { RateLimit } from "./rate-limit.ts";

function limit(mostCallers = 100) {
  const time = { now: 0 };
  const rate = new RateLimit({ burst: 3, perSecond: 1, mostCallers, now: () => time.now });
  const taken = (address: string, times: number): number =>
    Array.from({ length: times }, () => rate.take(address)).filter(Boolean).length;
  return { time, taken };
}

describe("a caller", () => {
  it("may ask so often at once, and then as time goes by", () => {
    const { taken, time } = limit();
    expect(taken("192.0.2.1", 10)).toBe(3);
    time.now = 2000;
    expect(taken("192.0.2.1", 10)).toBe(2);
    time.now = 1e9;
    expect(taken("192.0.2.1", 10)).toBe(3);
  });

  it("does not use up what others may", () => {
    const { taken } = limit();
    taken("192.0.2.1", 10);
    expect(taken("192.0.2.2", 10)).toBe(3);
  });

  it("is its whole network of IPv6, in any spelling", () => {
    const { taken } = limit();
    expect(taken("2001:db8:1:2::1", 10)).toBe(3);
    expect(taken("2001:db8:1:2:ffff:ffff:ffff:ffff", 10)).toBe(0);
    expect(taken("2001:db8:1:3::1", 10)).toBe(3);
    expect(taken("::1", 10)).toBe(3);
    expect(taken("::2", 10)).toBe(0);
  });

  it("that is one of too many shares with other newcomers, until some are forgotten", () => {
    const { taken, time } = limit(2);
    taken("192.0.2.1", 1);
    taken("192.0.2.2", 1);
    expect(taken("192.0.2.3", 2) + taken("192.0.2.4", 2)).toBe(3);
    expect(taken("192.0.2.1", 10)).toBe(2);
    time.now = 60_000;
    expect(taken("192.0.2.5", 10)).toBe(3);
  });
});
