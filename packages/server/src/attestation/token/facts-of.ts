// SPDX-License-Identifier: Apache-2.0
/** Which facts do claims state? By a table: name of the fact → claim. */
import type { SelectorName, TrustProviderKind } from "@postern/contract";
import type { Claims } from "@postern/identity/jwt/verify-jwt";
import { claimText } from "./read-claims.ts";

/** Every name that the contract offers for the kind must have its claim. */
export type FactTable<K extends TrustProviderKind> = Readonly<Record<SelectorName<K>, string>>;

export const factsOf = (claims: Claims, table: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(table).map(([name, claim]) => [name, claimText(claims, claim)]));
