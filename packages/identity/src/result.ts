// SPDX-License-Identifier: Apache-2.0
/** Refusals are values: a `Result` holds what was asked for, or the reason why not. */

export type Result<T, R> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: R };

export const ok = <T>(value: T): { readonly ok: true; readonly value: T } => ({ ok: true, value });
export const refuse = <R>(reason: R): { readonly ok: false; readonly reason: R } => ({ ok: false, reason });
