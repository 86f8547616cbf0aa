// SPDX-License-Identifier: Apache-2.0
import type { ProblemCode } from "@postern/contract";

/**
 * The unexpected: thrown, caught at one edge only, and mapped to a problem by its code.
 *
 * The message goes to people and logs: it must never hold a secret.
 */
export class Fault extends Error {
  readonly code: ProblemCode;

  constructor(code: ProblemCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "Fault";
    this.code = code;
  }
}
