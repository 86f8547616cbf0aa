// SPDX-License-Identifier: Apache-2.0
/** What did a request use, by what its answer reported, or else by what was seen of it, or else at most? */
import type { ProfileMetering } from "../profiles/profile.ts";
import type { ModelPrice, TokenParts } from "./price.ts";

/** The most that a request can use; nothing of it is known to be used yet. */
export interface TokenBound {
  readonly input: number;
  readonly output: number;
}

export interface Seen {
  /** Counters that the answer reported. */
  readonly usage: Readonly<Record<string, number>> | undefined;
  /** Nothing more would have been reported. */
  readonly isWhole: boolean;
  /** Bytes of text that streamed by: a token has at least one. */
  readonly textBytes: number;
}

export interface Used {
  readonly input: number;
  readonly output: number;
  readonly parts: TokenParts;
  readonly basis: "reported" | "seen" | "bound";
}

/** Of a request that was answered with success, in whole or in part. */
export function usedBy(
  bound: TokenBound,
  seen: Seen,
  metering: ProfileMetering,
  price: ModelPrice | undefined,
): Used {
  const reported = partsOf(seen.usage ?? {}, metering);
  const input = reported.input ?? bound.input;
  if (seen.isWhole && reported.output !== undefined)
    return usedFrom({ ...reported, input, output: reported.output }, "reported");
  // What a stream reports before its end is what it had used by then.
  const streamed = Math.max(seen.textBytes, reported.output ?? 0);
  const tells = seen.textBytes > 0 && price?.hiddenReasoning !== true;
  const output = tells ? Math.min(Math.max(bound.output, reported.output ?? 0), streamed) : bound.output;
  return usedFrom({ ...reported, thoughts: 0, input, output }, tells ? "seen" : "bound");
}

interface Reported {
  /** All of it, cached or not. */
  readonly input: number | undefined;
  readonly cachedInput: number;
  readonly cacheWrite: number;
  /** All of it, thoughts included. */
  readonly output: number | undefined;
  readonly thoughts: number;
}

function partsOf(usage: Readonly<Record<string, number>>, metering: ProfileMetering): Reported {
  const { inputTokens, outputTokens } = usage;
  const cachedInput = usage["cacheReadTokens"] ?? 0;
  const cacheWrite = usage["cacheWriteTokens"] ?? 0;
  const thoughts = usage["thoughtTokens"] ?? 0;
  const more = usage["toolInputTokens"] ?? 0;
  const cache = metering.inputIncludesCache ? 0 : cachedInput + cacheWrite;
  return {
    ...{ cachedInput, cacheWrite, thoughts },
    input: inputTokens === undefined ? undefined : inputTokens + cache + more,
    output:
      outputTokens === undefined
        ? undefined
        : outputTokens + (metering.outputIncludesThoughts ? 0 : thoughts),
  };
}

function usedFrom(
  { input, cachedInput, cacheWrite, output, thoughts }: Reported & TokenBound,
  basis: Used["basis"],
): Used {
  // Parts that are larger than the whole are not believed: they could only make it cheaper.
  const isSound = cachedInput + cacheWrite <= input && thoughts <= output;
  const parts = isSound
    ? {
        ...{ input: input - cachedInput - cacheWrite, cachedInput, cacheWrite },
        ...{ output: output - thoughts, reasoning: thoughts },
      }
    : { input, cachedInput: 0, cacheWrite: 0, output, reasoning: 0 };
  return { input, output, parts, basis };
}
