// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, test, vi } from "vitest";
import { ok } from "../kernel/result.ts";
import { attestEvidence, MOST_EVIDENCE_BYTES } from "./attest-evidence.ts";
import type { Attested, TrustProvider } from "./trust-provider.ts";

const NOW = 1_000_000;
const parts = { kind: "test", provider: "p", clock: { now: () => NOW }, useOnce: async () => true };
const giving = (attested: Partial<Attested>): TrustProvider => ({
  attest: async () => ok({ facts: { name: "x" }, expiresAt: NOW + 1, ...attested }),
});
const reasonOf = async (
  provider: TrustProvider,
  bytes = Buffer.from("e"),
  more: Partial<typeof parts> = {},
) => {
  const attested = await attestEvidence(provider, bytes, { ...parts, ...more });
  return attested.ok ? "attested" : `${attested.reason.outcome}: ${attested.reason.reason}`;
};

afterEach(() => vi.useRealTimers());

describe("attestEvidence", () => {
  test.each([
    ["nothing", Buffer.alloc(0), "refused: evidence_empty"],
    ["more than the limit", Buffer.alloc(MOST_EVIDENCE_BYTES + 1), "refused: evidence_too_large"],
  ])("shows %s to no provider", async (_, bytes, reason) => {
    const attest = vi.fn<TrustProvider["attest"]>();
    expect(await reasonOf({ attest }, bytes)).toBe(reason);
    expect(attest).not.toHaveBeenCalled();
  });

  test("lets nobody in where the provider throws, at once or later", async () => {
    const fails = () => {
      throw new Error("no");
    };
    expect(await reasonOf({ attest: fails })).toBe("unavailable: provider_failed");
    expect(await reasonOf({ attest: async () => fails() })).toBe("unavailable: provider_failed");
  });

  test("ends a provider that does not answer, and tells it so", async () => {
    vi.useFakeTimers();
    let signal: AbortSignal | undefined;
    const answer = reasonOf({
      attest: (_, context) => {
        signal = context.signal;
        return new Promise(() => {});
      },
    });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await answer).toBe("unavailable: attestation_timeout");
    expect(signal?.aborted).toBe(true);
  });

  test("refuses evidence that expired while it was checked", async () => {
    expect(await reasonOf(giving({ expiresAt: NOW }))).toBe("refused: evidence_expired");
  });

  test("lets nobody in where nobody can tell whether it was used", async () => {
    const useOnce = () => Promise.reject(new Error("the database is away"));
    expect(await reasonOf(giving({ singleUse: "a" }), undefined, { useOnce })).toBe(
      "unavailable: used_evidence_unknown",
    );
    expect(await reasonOf(giving({ singleUse: "a" }), undefined, { useOnce: async () => false })).toBe(
      "refused: evidence_used_before",
    );
  });

  test("tells evidence of one provider from that of another, even if both use the same id", async () => {
    const digests: string[] = [];
    const useOnce = async (digest: string) => digests.push(digest) > 0;
    await attestEvidence(giving({ singleUse: "a" }), Buffer.from("e"), { ...parts, useOnce });
    await attestEvidence(giving({ singleUse: "a" }), Buffer.from("e"), { ...parts, useOnce, provider: "q" });
    expect(new Set(digests).size).toBe(2);
  });

  test("makes a selector of each value, and an attribute of what has one value only", async () => {
    const facts = { one: "1", many: ["a", "b"], none: undefined, empty: [] };
    const attested = await attestEvidence(giving({ facts }), Buffer.from("e"), parts);
    expect(attested).toMatchObject({
      value: {
        selectors: new Set(["test:one=1", "test:many=a", "test:many=b"]),
        attributes: { "test.one": "1" },
      },
    });
  });
});
