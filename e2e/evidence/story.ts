// SPDX-License-Identifier: Apache-2.0
/** What the story of a trust provider consists of: evidence that is taken, and evidence that must not be. */
import type { TestAuthority } from "@postern/testkit";

export const AUDIENCE = "https://postern.corp.example";

type Evidence = string | Buffer;

/** One way in which others were deceived. */
export interface Break {
  /** What the evidence is, such as `of another account`. */
  readonly name: string;
  evidence(): Evidence | Promise<Evidence>;
  /** The word in the audit log; whoever presents it is told none. */
  readonly reason: string;
  /** `refused` unless it says so: nobody can tell. */
  readonly outcome?: "unavailable";
  /** Presented twice: the first time it is taken. */
  readonly isReplay?: true;
  /** Undoes what the evidence needed around it. */
  after?(): void;
}

export interface Story {
  /** The trust provider. */
  readonly spec: object;
  readonly selectors: readonly string[];
  /** What the template of the agent's SPIFFE ID is filled from, and what it comes to. */
  readonly path: readonly [template: string, filled: string];
  evidence(): Evidence | Promise<Evidence>;
  readonly breaks: readonly Break[];
  /** Changes of the settings with which whoever vouches for the evidence cannot be reached. */
  readonly down?: object;
  close?(): unknown;
}

/** How to reach a stand-in in the place of the real thing. */
export const reach = (authority: TestAuthority, port: number) => ({
  connectTo: { address: "127.0.0.1", port },
  allowedNetworks: ["127.0.0.1/32"],
  caCertificates: authority.certificate,
});

/** Nobody listens there. */
export const NOWHERE = { connectTo: { address: "127.0.0.1", port: 1 } };

/** A table of breaks, for those that need a name, evidence and a reason only. */
export const breaks = (
  table: readonly (readonly [name: string, evidence: () => Evidence | Promise<Evidence>, reason: string])[],
): Break[] => table.map(([name, evidence, reason]) => ({ name, evidence, reason }));
