// SPDX-License-Identifier: Apache-2.0
/** What do the runner and its worker say to each other? */

export interface Orders {
  readonly targetFile: string;
  /** Folder of saved inputs, or files to try alone. */
  readonly corpus: string | readonly string[];
  readonly seconds: number;
  readonly runs: number;
  readonly seed: number;
  /** Counter, length and bytes of the present input. */
  readonly shared: SharedArrayBuffer;
}

export interface Outcome {
  readonly runs: number;
  readonly seconds: number;
  readonly saved: number;
  /** Inputs found on the way that reached new code. */
  readonly grown: number;
  readonly slowest: { readonly milliseconds: number; readonly bytes: number };
  readonly finding?: { readonly message: string; readonly input: Uint8Array };
}

/** Bytes of the counter and the length in front of the input. */
export const SHARED_HEADER = 8;
