// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { attestEvidence } from "../attest-evidence.ts";
import { joinToken, joinTokenDigest, newJoinToken } from "./join-token.ts";

const NOW = 1_000_000;
const parts = {
  kind: "join-token",
  provider: "by-hand",
  clock: { now: () => NOW },
  useOnce: async () => true,
};

/** A store with one token, which is given away once. */
function storeWith(token: string, expiresAt = NOW + 1000) {
  const asked: string[] = [];
  let left = 1;
  const redeem = async (provider: string, digest: string) => {
    asked.push(digest);
    const isIt = provider === "by-hand" && digest === joinTokenDigest(token) && left-- > 0;
    return isIt ? { digest, provider, name: "web-1", expiresAt } : undefined;
  };
  return { asked, redeem };
}

describe("a join token", () => {
  test("proves its name, once, whether or not it came from a file with a line end", async () => {
    const token = newJoinToken();
    const provider = joinToken(storeWith(token));
    expect(await attestEvidence(provider, Buffer.from(`${token}\n`), parts)).toMatchObject({
      ok: true,
      value: { selectors: new Set(["join-token:name=web-1"]), expiresAt: NOW + 1000 },
    });
    expect(await attestEvidence(provider, Buffer.from(token), parts)).toEqual({
      ok: false,
      reason: { outcome: "refused", reason: "join_token_unknown" },
    });
  });

  test.each(["x", "postern-join-", `postern-join-${"a".repeat(44)}`, `postern-join-${"'".repeat(43)}`, " "])(
    "that is %j is looked up nowhere",
    async (text) => {
      const store = storeWith(text);
      expect(await attestEvidence(joinToken(store), Buffer.from(text), parts)).toMatchObject({
        reason: { reason: "join_token_malformed" },
      });
      expect(store.asked).toEqual([]);
    },
  );

  test("is never the same twice, and its digest does not show it", () => {
    const tokens = Array.from({ length: 100 }, newJoinToken);
    expect(new Set(tokens).size).toBe(100);
    expect(joinTokenDigest(tokens[0]!)).not.toContain(tokens[0]!.slice(13));
  });

  test("lets nobody in while the store cannot be asked", async () => {
    const redeem = () => Promise.reject(new Error("away"));
    expect(await attestEvidence(joinToken({ redeem }), Buffer.from(newJoinToken()), parts)).toMatchObject({
      reason: { outcome: "unavailable", reason: "provider_failed" },
    });
  });
});
