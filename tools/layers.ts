// SPDX-License-Identifier: Apache-2.0
/** Who may import whom? The table, with the reason for each ban and for each exception. */

export interface Row {
  readonly modules: readonly string[];
  /** Rows below that may be imported, by number; `all` for the rows that put everything together. */
  readonly mayImport: readonly number[] | "all";
  /** Why this row may import no more. */
  readonly reason: string;
}

/** Modules are the folders of `packages/server/src`, and `main` for `main.ts`. The index is the row's number. */
export const ROWS: readonly Row[] = [
  {
    modules: ["kernel"],
    mayImport: [],
    reason: "everything stands on it: whatever it imported, everything would import",
  },
  {
    modules: ["guard", "profiles"],
    mayImport: [0],
    reason: "they know formats and patterns only, so that they can be tested to the last byte",
  },
  {
    modules: ["policy", "resources", "budget"],
    mayImport: [0, 1],
    reason: "a decision replays from its audit event, and a check gives the same answer everywhere",
  },
  {
    modules: ["keys", "store"],
    mayImport: [0, 1, 2],
    reason: "the store keeps sealed bytes and the keys open them: neither alone is worth stealing",
  },
  {
    modules: ["attestation", "credentials", "audit", "facts"],
    mayImport: [0, 1, 2, 3],
    reason:
      "who calls, with which secret, what is written about it, and what is known besides are four questions",
  },
  {
    modules: ["issuer", "sts", "governance"],
    mayImport: [0, 1, 2, 3, 4],
    reason: "changes of the state go through here, whoever asks for them",
  },
  {
    modules: ["gateway"],
    mayImport: [0, 1, 2],
    reason:
      "it runs without a database and reaches secrets, identities and the log through its own ports only",
  },
  {
    modules: ["api"],
    mayImport: [0, 1, 2, 3, 4, 5],
    reason: "operators' requests and agents' traffic share no code above the kernel's",
  },
  { modules: ["config"], mayImport: [0], reason: "settings are read before anything is there to use them" },
  {
    modules: ["telemetry"],
    mayImport: [0],
    reason:
      "it is shown what it may tell others, and can ask for nothing: neither secrets nor what agents wrote",
  },
  {
    modules: ["rehearsal"],
    mayImport: [0, 1, 2, 4],
    reason: "the command decides with it where no server is: it can only read a log that it was given",
  },
  { modules: ["wiring", "main"], mayImport: "all", reason: "the composition root" },
];

/** Modules of the table that the code does not have yet. The test fails once they are there and still listed. */
export const PLANNED = ["sts"];

/** Workspaces other than the server: what of ours they may import and start. Their subpaths are listed one by one, except those of `contract` and `identity`. */
export const WORKSPACES: Readonly<
  Record<string, { imports: string[]; testImports?: string[]; resolves: string[]; reason: string }>
> = {
  "packages/contract": {
    imports: [],
    resolves: [],
    reason: "everybody shares it: it may depend on nobody",
  },
  "packages/identity": {
    imports: [],
    testImports: ["@postern/testkit"],
    resolves: [],
    reason: "the server and whoever verifies identities elsewhere share it: it may depend on nobody",
  },
  "packages/sdk": {
    imports: ["@postern/identity"],
    testImports: ["@postern/testkit"],
    resolves: [],
    reason: "it is installed without anything else: what it uses of the formats is packed with it",
  },
  "packages/cli": {
    imports: [
      "@postern/contract",
      "@postern/server/verify-export",
      "@postern/server/visible-text",
      "@postern/server/rehearsal",
      "@postern/identity/certificate",
      "@postern/identity/certificate-request",
    ],
    resolves: ["@postern/server", "@postern/demo"],
    reason:
      "it speaks to the server over its socket; the modules it shares know no server (docs/adr/0009, 0017)",
  },
  "packages/testkit": {
    imports: ["@postern/contract"],
    resolves: [],
    reason: "it drives the product from outside, and must survive a rewrite of the server",
  },
  "packages/demo": {
    imports: ["@postern/contract", "@postern/testkit"],
    resolves: [],
    reason: "it shows the product as a user has it, from outside",
  },
  e2e: {
    imports: ["@postern/contract", "@postern/testkit"],
    resolves: [],
    reason: "the net must hold while what it is under is rewritten",
  },
};

export interface Exception {
  readonly file: string;
  readonly reason: string;
}

/** Workspaces that are pure as a whole, and that the server may import. */
export const PURE_WORKSPACES = ["packages/identity"];

/** Pure modules: no files, no network, no processes, no environment, no clock, no chance. */
export const PURE_MODULES = ["kernel", "guard", "profiles", "policy", "resources", "budget"];

/** Node built-ins that a pure module may use: they compute and touch nothing. */
export const PURE_BUILTINS: ReadonlyMap<string, string> = new Map([
  ["node:crypto", "hashes, and reading certificates"],
  ["node:url", "converts international names"],
  ["node:util", "how values print: a secret must not"],
]);

export const PURITY_EXCEPTIONS: readonly Exception[] = [
  { file: "packages/server/src/kernel/clock.ts", reason: "the one clock; everybody else is handed it" },
  { file: "packages/server/src/profiles/profile.ts", reason: "reads the YAML files of its own folder" },
];

/** Files that may read `process.env`; tests and everything in `e2e` may, too. */
export const ENVIRONMENT_READERS: readonly Exception[] = [
  { file: "packages/server/src/config/config.ts", reason: "the server's one way to the environment" },
  { file: "packages/cli/src/main.ts", reason: "the command's one way to the environment" },
  { file: "packages/sdk/src/endpoint.ts", reason: "SPIFFE_ENDPOINT_SOCKET, as the standard has it" },
  {
    file: "packages/cli/src/sandbox/system-program.ts",
    reason: "the search path that finds bwrap and setpriv",
  },
  {
    file: "packages/cli/src/doctor/probe.ts",
    reason: "runs as the agent and looks for the canary in its environment",
  },
  {
    file: "packages/testkit/src/child-process.ts",
    reason: "children get the tester's environment, less what is secret",
  },
  { file: "packages/testkit/src/stand-in/git.ts", reason: "the search path that finds git" },
  {
    file: "packages/demo/src/stage.ts",
    reason: "takes the user's own variables out of what the demo's agents get",
  },
  {
    file: "packages/testkit/src/postgres-server.ts",
    reason: "whether a missing PostgreSQL skips tests or fails them",
  },
  {
    file: "packages/testkit/src/redis-server.ts",
    reason: "whether a missing Redis skips tests or fails them",
  },
  {
    file: "packages/testkit/src/outside-data.ts",
    reason: "where outside test data lies, and whether missing data skips tests or fails them",
  },
  {
    file: "packages/testkit/src/keep-decisions.ts",
    reason: "where what was decided is kept, so that it can be decided again",
  },
  { file: "packages/demo/src/attack.ts", reason: "the attacker looks for secrets in its environment" },
];

/** Files that may turn a `Secret` into bytes; tests may, too. */
export const SECRET_READERS: readonly Exception[] = [
  { file: "packages/server/src/gateway/stages/10-inject.ts", reason: "puts the credential on the wire" },
  {
    file: "packages/server/src/wiring/known-secrets.ts",
    reason: "makes the patterns that requests and answers are searched for",
  },
  {
    file: "packages/server/src/wiring/agent-environment.ts",
    reason: "finds secrets in the agent's variables",
  },
  {
    file: "packages/server/src/facts/posture/client-token.ts",
    reason: "shows who watches that this server is its client",
  },
  { file: "packages/server/src/facts/posture/report.ts", reason: "sends a bearer token to who watches" },
  { file: "packages/server/src/keys/seal.ts", reason: "encrypts it under a data key" },
  { file: "packages/server/src/keys/file-master-key.ts", reason: "decodes the master key of a reference" },
  {
    file: "packages/server/src/wiring/open-storage.ts",
    reason:
      "reads the URLs of the database and of the budget store behind references; they may hold passwords",
  },
  {
    file: "packages/server/src/attestation/kubernetes/api-server.ts",
    reason: "presents Postern's own token to the API server that it is for",
  },
  {
    file: "packages/server/src/keys/content-key.ts",
    reason: "loads the key of waiting requests into node:crypto",
  },
  {
    file: "packages/server/src/attestation/sigstore/registry.ts",
    reason: "presents a name and password, or the token it got for them, to the registry that they are for",
  },
  {
    file: "packages/server/src/keys/message-key.ts",
    reason: "loads the key that messages are signed with into node:crypto",
  },
  {
    file: "packages/server/src/wiring/approval-channel.ts",
    reason: "reads the webhook's URL, which is a secret where it is Slack's",
  },
  { file: "packages/server/src/keys/signing-keys.ts", reason: "loads a private key into node:crypto" },
  {
    file: "packages/server/src/issuer/workload-api/workload-api.ts",
    reason: "hands a workload the private key of its own X.509-SVID",
  },
  {
    file: "packages/server/src/issuer/workload-api/wit-svid.ts",
    reason: "hands a workload the private key of its own WIT-SVID",
  },
  {
    file: "packages/server/src/wiring/issue-identity.ts",
    reason: "hands an agent whose evidence was believed the private key of its own X.509-SVID",
  },
];

/** Imports and starts of another workspace that its `package.json` does not declare. */
export const UNDECLARED: readonly (Exception & { readonly workspace: string })[] = [
  {
    file: "packages/cli/src/commands/demo.ts",
    workspace: "@postern/demo",
    reason: "the demo brings three SDKs along: an installation of the command does without it",
  },
];
