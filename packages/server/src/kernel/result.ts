// SPDX-License-Identifier: Apache-2.0
/** Refusals are values: the one `Result`, which the formats of identities share with the server. */
export { ok, refuse, type Result } from "@postern/identity/result";
