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
  /** What conditions asked of the body; absent where it is none that can be judged. */
  readonly body?: BodyFacts | undefined;
  readonly sources: FactSources;
}

/** What attestation says of the caller. One object as long as the caller is known to be the same. */
export interface CallerFacts {
  readonly agent: string;
  /** This and the next only of a process of a run. */
  readonly run?: string;
  readonly isolated?: boolean;
  readonly selectors: readonly string[];
  readonly process?: { readonly pid: number };
  /** Where it connects from; absent of a process of this machine. */
  readonly address?: string;
  /** In whose name it acts; absent where it has shown nothing of the kind. */
  readonly delegation?: DelegationFacts;
}

/** What a token says of the way from its subject to the agent (RFC 8693 §4.1). */
export interface DelegationFacts {
  readonly subject: string;
  /** Hands that it went through, the agent's not counted. */
  readonly depth: number;
}

/** Values of a JSON body, exactly as they will be sent. */
export interface BodyFacts {
  readonly bytes: Buffer;
  /** The value at a JSON pointer that one of the conditions has named; undefined where there is none. */
  at(pointer: string): BodyValue | undefined;
}

export interface BodyValue {
  readonly type: "object" | "array" | "string" | "number" | "boolean" | "null";
  /** As it is written. */
  readonly raw: Buffer;
}

/** Where addresses are. */
export interface RegionSource {
  /** Undefined where nobody knows. */
  locate(address: string): Whereabouts | undefined;
  /** Addresses of the machine that this server runs on, as others see them; empty where nobody said. */
  readonly machine: readonly string[];
}

export interface Whereabouts {
  /** ISO 3166-1 alpha-2. */
  readonly country?: string;
  /** Two letters, such as `EU`. */
  readonly continent?: string;
}

/** How a process runs, by the kernel's word. What it does not tell is absent. */
export interface RuntimeFacts {
  /** Those it has or could take up, by name. */
  readonly capabilities?: readonly string[];
  readonly noNewPrivileges?: boolean;
  readonly seccomp?: boolean;
  readonly readOnlyRoot?: boolean;
  /** Namespaces that it has in common with this server. */
  readonly sharedNamespaces?: readonly string[];
  /** Infinity where there is no limit. */
  readonly maxMemoryBytes?: number;
  readonly maxProcesses?: number;
}

export interface RuntimeSource {
  /** Reads anew what is asked for, and maybe more. */
  of(pid: number, asked: readonly (keyof RuntimeFacts)[]): RuntimeFacts;
}

/** What a source says of a subject, until it expires. */
export interface PostureStatement {
  readonly source: string;
  readonly facts: Readonly<Record<string, boolean | number | string>>;
  readonly observedAt: Instant;
  readonly expiresAt: Instant;
}

export interface PostureSource {
  /** Of a selector, or of `machine`; empty where nobody has said anything. */
  of(subject: string): readonly PostureStatement[];
}

/** Facts that do not come with the request. Each source is a member, absent where there is none. */
export interface FactSources {
  /** Grows whenever anything that a source says may have changed. */
  readonly revision: number;
  /** Calls `listener` after each growth, until the function that it returns is called. */
  onChange(listener: () => void): () => void;
  readonly regions?: RegionSource | undefined;
  readonly runtime?: RuntimeSource | undefined;
  readonly posture?: PostureSource | undefined;
}

export const NO_SOURCES: FactSources = { revision: 0, onChange: () => () => {} };
