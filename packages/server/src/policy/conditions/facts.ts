// SPDX-License-Identifier: Apache-2.0
/**
 * What may a condition know about a request?
 *
 * Facts that something verified, never what the agent says of itself; the exceptions are the request and its body,
 * which are judged as they will be sent. A source that is not there, or does not know, leaves its fact absent.
 */
import type { Instant } from "../../kernel/clock.ts";
import type { AccessRequest } from "../access-request.ts";

export interface ConditionFacts {
  readonly now: Instant;
  readonly request: AccessRequest;
  readonly caller: CallerFacts;
  /** The body byte for byte, for conditions that read it; absent where it is none that can be judged. */
  readonly body?: Buffer | undefined;
  readonly sources: FactSources;
}

/** What attestation says of the caller. One object as long as the caller is known to be the same. */
export interface CallerFacts {
  readonly agent: string;
  /** This and the next only of a process of a run. */
  readonly run?: string;
  readonly isolated?: boolean;
  readonly selectors: readonly string[];
}

/** Facts that do not come with the request. Each source is a member, absent where there is none. */
export interface FactSources {
  /** Grows whenever anything that a source says may have changed. */
  readonly revision: number;
  /** Calls `listener` after each growth, until the function that it returns is called. */
  onChange(listener: () => void): () => void;
}

export const NO_SOURCES: FactSources = { revision: 0, onChange: () => () => {} };
