// SPDX-License-Identifier: Apache-2.0
/**
 * Join tokens: an operator makes one for one workload, and hands it over. Where nothing else can prove what it is.
 *
 * It is a secret until it is used: 256 random bits, for one use, for a short time. Only its digest is kept.
 */
import { createHash, randomBytes } from "node:crypto";
import { ok, refuse } from "../../kernel/result.ts";
import type { JoinTokenStore } from "../../store/join-token-store.ts";
import type { TrustProvider } from "../trust-provider.ts";

const FORM = /^postern-join-[A-Za-z0-9_-]{43}$/;

export const newJoinToken = (): string => `postern-join-${randomBytes(32).toString("base64url")}`;

export const joinTokenDigest = (token: string): string => createHash("sha256").update(token).digest("hex");

export const joinToken = (store: Pick<JoinTokenStore, "redeem">): TrustProvider => ({
  async attest({ bytes }, { provider }) {
    const text = bytes.toString("latin1").replace(/\r?\n$/, "");
    if (!FORM.test(text)) return refuse({ outcome: "refused", reason: "join_token_malformed" });
    const token = await store.redeem(provider, joinTokenDigest(text));
    // Never made, used before or expired: what is gone is not remembered.
    if (token === undefined) return refuse({ outcome: "refused", reason: "join_token_unknown" });
    return ok({ facts: { name: token.name }, expiresAt: token.expiresAt });
  },
});
