// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { Matcher } from "../guard/pattern-matcher.ts";
import { holdsPattern } from "../guard/scrubber.ts";
import { Secret } from "../kernel/secret.ts";
import { KnownSecrets } from "./known-secrets.ts";

const nameOf = (index: number): string => `secret-number-${index}-${(index * 2_654_435_761) % 1_000_003}`;
const secretsOf = (from: number, to: number): Secret[] =>
  Array.from({ length: to - from }, (_, index) => Secret.fromUtf8(nameOf(from + index)));

function vaultOf(list: readonly Secret[]) {
  const vault = {
    list,
    isBroken: false,
    isKnown: false,
    reads: 0,
    allSecrets: async (): Promise<readonly Secret[]> => {
      vault.reads++;
      if (vault.isBroken) throw new Error("the database is away");
      return vault.list;
    },
    knownSecrets: (): readonly Secret[] | undefined => (vault.isKnown ? vault.list : undefined),
  };
  return vault;
}

const finds = (matcher: Matcher, index: number): boolean =>
  holdsPattern(matcher, Buffer.from(`x${Buffer.from(nameOf(index)).toString("base64")}`)) &&
  holdsPattern(matcher, Buffer.from(nameOf(index)));

describe("known secrets", () => {
  it("are there at once while nothing changes, and not before a change was taken over", async () => {
    const vault = vaultOf(secretsOf(0, 3));
    vault.isKnown = true;
    const known = new KnownSecrets(vault);
    expect(known.matcher()).toBeInstanceOf(Promise);
    await known.matcher();
    const atOnce = known.matcher();
    expect(atOnce).not.toBeInstanceOf(Promise);
    expect(finds(atOnce as Matcher, 2)).toBe(true);
    expect(finds(known.matcher(Secret.fromUtf8(nameOf(9))) as Matcher, 9)).toBe(true);
    vault.list = secretsOf(0, 5);
    const changed = known.matcher();
    expect(changed).toBeInstanceOf(Promise);
    expect(finds(await changed, 4)).toBe(true);
  });

  it("are all of the vault, from the first request on", async () => {
    const matcher = await new KnownSecrets(vaultOf(secretsOf(0, 500))).matcher();
    expect([0, 1, 250, 499, 500].map((index) => finds(matcher, index))).toEqual([
      true,
      true,
      true,
      true,
      false,
    ]);
  });

  it.each([1, 64, 65, 300])("hold %i new ones at once, and lose no old one", async (count) => {
    const vault = vaultOf(secretsOf(0, 200));
    const known = new KnownSecrets(vault);
    await known.matcher();
    vault.list = [...secretsOf(0, 200), ...secretsOf(200, 200 + count)];
    for (const matcher of [await known.matcher(), await known.settled().then(() => known.matcher())])
      expect([0, 199, 200, 199 + count, 200 + count].map((index) => finds(matcher, index))).toEqual([
        ...[true, true, true, true, false],
      ]);
  });

  it("stay whole while changes come faster than they are built", async () => {
    const vault = vaultOf(secretsOf(0, 2000));
    const known = new KnownSecrets(vault);
    await known.matcher();
    for (let more = 1; more <= 40; more++) {
      vault.list = secretsOf(0, 2000 + more);
      const all = await Promise.all([known.matcher(), known.matcher()]);
      for (const matcher of all)
        expect([0, 1999, 1999 + more].every((index) => finds(matcher, index))).toBe(true);
    }
    await known.settled();
    expect(finds(await known.matcher(), 2039)).toBe(true);
  });

  it("forget what was deleted", async () => {
    const vault = vaultOf(secretsOf(0, 20));
    const known = new KnownSecrets(vault);
    await known.matcher();
    vault.list = secretsOf(1, 20);
    await known.matcher();
    await known.settled();
    const matcher = await known.matcher();
    expect([finds(matcher, 0), finds(matcher, 1)]).toEqual([false, true]);
  });

  it("hold the injected one, also where the vault's list does not have it yet", async () => {
    const known = new KnownSecrets(vaultOf(secretsOf(0, 3)));
    const injected = Secret.fromUtf8(nameOf(7));
    expect(finds(await known.matcher(injected), 7)).toBe(true);
    expect(finds(await known.matcher(injected), 2)).toBe(true);
    expect(finds(await known.matcher(), 7)).toBe(false);
    // The same bytes in another object are no reason to search twice.
    expect(await known.matcher(Secret.fromUtf8(nameOf(1)))).toBe(await known.matcher());
  });

  it("stay as they were where the vault cannot be read, and are refused where they never were", async () => {
    const vault = vaultOf(secretsOf(0, 3));
    vault.isBroken = true;
    const known = new KnownSecrets(vault);
    await expect(known.matcher()).rejects.toThrow("away");
    vault.isBroken = false;
    await known.matcher();
    vault.isBroken = true;
    expect(finds(await known.matcher(Secret.fromUtf8(nameOf(9))), 2)).toBe(true);
    expect(finds(await known.matcher(Secret.fromUtf8(nameOf(9))), 9)).toBe(true);
  });

  it("let others run while many are built", async () => {
    const known = new KnownSecrets(vaultOf(secretsOf(0, 4000)));
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await known.matcher();
    clearInterval(timer);
    expect(turns).toBeGreaterThan(2);
  });
});
