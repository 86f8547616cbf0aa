// SPDX-License-Identifier: Apache-2.0
/**
 * Wire shapes that the server, the command line and SDKs share. No behaviour.
 *
 * Agent: an AI agent, a kind of workload. Server workload: a registered API that agents call. Selector: one
 * verified fact. Decision: `Allow` or `Deny`. Credential: time-limited means of access, holds a secret.
 * Injection: the plan for placing it. Placeholder: what the agent holds instead. Full table: GLOSSARY.md.
 */
export * from "./access-conditions.ts";
export * from "./api.ts";
export * from "./approvals.ts";
export * from "./budget-api.ts";
export * from "./budgets.ts";
export * from "./micro-dollars.ts";
export * from "./price-lists.ts";
export * from "./posture-sources.ts";
export * from "./posture.ts";
export * from "./problems.ts";
export * from "./resource-kinds.ts";
export * from "./resources.ts";
export * from "./sigstore.ts";
export * from "./trust-providers.ts";
