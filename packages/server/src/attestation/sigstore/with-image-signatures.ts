// SPDX-License-Identifier: Apache-2.0
/** A trust provider whose evidence names images: what their signatures prove is added to what the evidence does. */
import type { SigstoreSpec } from "@postern/contract";
import type { Clock } from "../../kernel/clock.ts";
import { ok } from "../../kernel/result.ts";
import type { TrustProvider } from "../trust-provider.ts";
import { ImageSignatures } from "./image-signatures.ts";

export function withImageSignatures(
  provider: TrustProvider,
  spec: SigstoreSpec | undefined,
  clock: Clock,
): TrustProvider {
  if (spec === undefined) return provider;
  const signatures = new ImageSignatures(spec, clock);
  return {
    async attest(evidence, context) {
      const attested = await provider.attest(evidence, context);
      if (!attested.ok) return attested;
      const { images } = attested.value;
      // Where an image is not known yet, it may be any image.
      const { facts, isIncomplete, notes } =
        images === undefined
          ? { facts: {}, isIncomplete: false, notes: ["image_unknown"] }
          : await signatures.factsOf(images.map((image) => [image]));
      return ok({ ...attested.value, more: { sigstore: facts }, notes, isIncomplete });
    },
  };
}
