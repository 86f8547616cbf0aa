// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { BodyMemory } from "./body-memory.ts";

const body = async function* (...sizes: number[]) {
  for (const size of sizes) yield Buffer.alloc(size, "x");
};

describe("memory for request bodies", () => {
  const memory = () => new BodyMemory({ perRequest: 10, perAgent: 15, total: 20 });

  it("gives a body whole up to the limit of a request and refuses it above", async () => {
    expect(await memory().share("a").collect(body(4, 6))).toEqual({ ok: true, value: Buffer.alloc(10, "x") });
    expect(await memory().share("a").collect(body(4, 7))).toEqual({ ok: false, reason: "request_too_large" });
    expect(await memory().share("a").collect(body())).toEqual({ ok: true, value: Buffer.alloc(0) });
  });

  it("bounds what one agent holds, and leaves room for another", async () => {
    const shared = memory();
    const first = shared.share("a");
    await first.collect(body(10));
    expect(await shared.share("a").collect(body(6))).toEqual({ ok: false, reason: "gateway_busy" });
    expect(await shared.share("b").collect(body(6))).toMatchObject({ ok: true });
  });

  it("bounds what all hold together", async () => {
    const shared = memory();
    await shared.share("a").collect(body(10));
    await shared.share("b").collect(body(10));
    expect(await shared.share("c").collect(body(1))).toEqual({ ok: false, reason: "gateway_busy" });
  });

  it("has all of it back after release, also of a body that was refused half way", async () => {
    const shared = memory();
    const shares = ["a", "a", "b"].map((agent) => shared.share(agent));
    await Promise.all(shares.map((share) => Promise.resolve(share.collect(body(3, 3, 3, 3)))));
    for (const share of shares) share.release();
    for (const share of shares) share.release();
    expect(await shared.share("a").collect(body(10))).toMatchObject({ ok: true });
    expect(await shared.share("b").collect(body(10))).toMatchObject({ ok: true });
  });
});
