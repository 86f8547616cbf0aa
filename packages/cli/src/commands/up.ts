// SPDX-License-Identifier: Apache-2.0
import type { StatusResponse } from "@postern/contract";
import { type Command, listFlag } from "../command.ts";
import { serverProgram } from "../server-program.ts";

/**
 * Node's own switches for looking inside, which would open the server's memory or print what it sends: inspector,
 * snapshots of the heap, reports, keys of TLS connections.
 */
const LOOKING_INSIDE = ["NODE_OPTIONS", "NODE_DEBUG", "NODE_DEBUG_NATIVE", "NODE_V8_COVERAGE"];

/**
 * No debugger on a signal. And a heap that stays small under load: without the last two, what one request leaves
 * behind goes straight to the old space, which grows to three times what is alive before it is swept.
 */
const SWITCHES = [
  "--disable-warning=ExperimentalWarning",
  "--disable-sigusr1",
  "--no-allocation-site-pretenuring",
  "--max-semi-space-size=8",
];

const TIMES = ["max-snapshot-age", "answer-timeout", "silence-timeout"];
const APPROVALS = ["approvals-listen", "approvals-webhook", "approvals-signing-secret"];
const TELEMETRY = ["metrics-listen", "otlp-endpoint", "log-level"];
const FACTS = ["geoip-file", "public-address"];
const IDENTITY = [
  "trust-domain",
  "x509-svid-ttl",
  "jwt-svid-ttl",
  "gateway-listen",
  "workload-api-socket",
  "broker-socket",
];
const PARENT_AUTHORITY = ["parent-authority-certificate", "parent-authority-key"];
const BUNDLE_ENDPOINT = ["bundle-endpoint-listen", "bundle-endpoint-certificate", "bundle-endpoint-key"];

export const up: Command = {
  name: "up",
  usage: "up",
  summary: "start control plane and gateway for this data folder",
  flags: {
    "strict-audit": { type: "boolean", help: "make each decision durable before the request leaves" },
    "master-key": {
      type: "string",
      value: "REF",
      help: "where the vault's master key is: file:PATH or env:NAME (default: a file in the data folder)",
    },
    "database-url": {
      type: "string",
      value: "URL",
      help: "keep the state on PostgreSQL: postgres://…, or env:NAME or file:PATH that holds it (default: a database in the data folder)",
    },
    "budget-url": {
      type: "string",
      value: "URL",
      help: "count budgets in Redis or Valkey: rediss://…, or env:NAME or file:PATH that holds it (default: in the database)",
    },
    "max-snapshot-age": {
      type: "string",
      value: "SECONDS",
      help: "refuse requests after so long without word from the database (default: 60)",
    },
    "trust-domain": {
      type: "string",
      value: "NAME",
      help: "issue SPIFFE identities in this trust domain (POSTERN_TRUST_DOMAIN; default: none are issued)",
    },
    "parent-authority-certificate": {
      type: "string",
      value: "FILE",
      help: "let another authority sign those of the trust domain: its certificate, then those above it up to the root, PEM",
    },
    "parent-authority-key": { type: "string", value: "FILE", help: "private key of that certificate, PEM" },
    "x509-svid-ttl": {
      type: "string",
      value: "SECONDS",
      help: "how long an X.509-SVID holds; it is renewed at half of that (default: 3600)",
    },
    "jwt-svid-ttl": {
      type: "string",
      value: "SECONDS",
      help: "how long a JWT-SVID holds (default: 300)",
    },
    "wit-svid": {
      type: "boolean",
      help: "issue WIT-SVIDs too, tokens that are bound to a key; the standard is still incubating (default: none)",
    },
    "workload-api-socket": {
      type: "string",
      value: "PATH",
      help: "serve the SPIFFE Workload API there for local processes and containers outside of runs (default: in runs only)",
    },
    "broker-socket": {
      type: "string",
      value: "PATH",
      help: "serve the SPIFFE Broker API there: those of --broker get identities on behalf of local processes (default: nowhere)",
    },
    broker: {
      type: "string",
      value: "ID",
      multiple: true,
      help: "SPIFFE ID of who may use the Broker API; may be repeated",
    },
    "gateway-listen": {
      type: "string",
      value: "ADDRESS",
      help: "let remote agents in by TLS, with SVIDs of the trust domain: PORT on the loopback or ADDRESS:PORT (default: nowhere)",
    },
    "gateway-name": {
      type: "string",
      value: "NAME",
      multiple: true,
      help: "a host name or an address by which remote agents call the gateway; may be repeated",
    },
    "bundle-endpoint-listen": {
      type: "string",
      value: "ADDRESS",
      help: "publish the trust bundle for other trust domains: PORT on the loopback or ADDRESS:PORT (default: nowhere)",
    },
    "bundle-endpoint-certificate": {
      type: "string",
      value: "FILE",
      help: "certificate chain of the Web for it, PEM (profile https_web; without it https_spiffe)",
    },
    "bundle-endpoint-key": { type: "string", value: "FILE", help: "private key of that certificate, PEM" },
    "answer-timeout": {
      type: "string",
      value: "SECONDS",
      help: "refuse with upstream_timeout where an upstream has not begun its answer by then (default: 600)",
    },
    "silence-timeout": {
      type: "string",
      value: "SECONDS",
      help: "end an answer whose upstream is silent for so long (default: 300)",
    },
    "metrics-listen": {
      type: "string",
      value: "ADDRESS",
      help: "serve /metrics, /healthz and /readyz: PORT on the loopback, ADDRESS:PORT, or unix:/PATH (default: nowhere)",
    },
    "otlp-endpoint": {
      type: "string",
      value: "URL",
      help: "send traces to this OpenTelemetry collector, OTLP over HTTP (default: none)",
    },
    "geoip-file": {
      type: "string",
      value: "FILE",
      help: "a file in MaxMind's format that tells where addresses are, for conditions; read anew when it changes (default: nobody knows)",
    },
    "public-address": {
      type: "string",
      value: "ADDRESS",
      help: "the address under which others see this machine, for conditions (default: those of its interfaces)",
    },
    "approvals-listen": {
      type: "string",
      value: "ADDRESS",
      help: "take signed clicks on approvals: PORT on the loopback, ADDRESS:PORT, or unix:/PATH (default: nowhere)",
    },
    "approvals-webhook": {
      type: "string",
      value: "SECRET",
      help: "send each question as a Slack message to the URL that this secret of the vault holds (default: none)",
    },
    "approvals-webhook-network": {
      type: "string",
      multiple: true,
      value: "NETWORK",
      help: "special-purpose network that the webhook may be in, such as 10.0.0.0/8; may be repeated (default: none)",
    },
    "approvals-signing-secret": {
      type: "string",
      value: "SECRET",
      help: "name of the secret of the vault that signs messages and clicks; needed with the two above",
    },
    "log-level": {
      type: "string",
      value: "LEVEL",
      help: "log from this level on: debug (every request), info (refused requests), warn (default) or error",
    },
    verbose: { type: "boolean", help: "the same as --log-level debug" },
  },
  details: "Runs until it is interrupted. Prints `postern is ready` when agents can be started.",
  run: async ({ dataFolder, flags, json, environment, note }) => {
    for (const name of LOOKING_INSIDE)
      if (environment[name] !== undefined && environment[name] !== "")
        note(`${name} is not handed to the server: with it the secrets in its memory could be read`);
    const words = ["--data", dataFolder, ...(json ? ["--json"] : [])];
    for (const name of ["strict-audit", "verbose", "wit-svid"])
      if (flags[name] === true) words.push(`--${name}`);
    for (const name of [
      "master-key",
      "database-url",
      "budget-url",
      ...TIMES,
      ...IDENTITY,
      ...PARENT_AUTHORITY,
      ...BUNDLE_ENDPOINT,
      ...FACTS,
      ...TELEMETRY,
      ...APPROVALS,
    ])
      if (typeof flags[name] === "string") words.push(`--${name}`, flags[name]);
    for (const id of listFlag(flags["broker"])) words.push("--broker", id);
    for (const name of listFlag(flags["gateway-name"])) words.push("--gateway-name", name);
    for (const network of listFlag(flags["approvals-webhook-network"]))
      words.push("--approvals-webhook-network", network);
    // The server takes this process's place, so that signals and exit code are its own.
    process.execve!(
      process.execPath,
      [process.execPath, ...SWITCHES, serverProgram(), ...words],
      // One arena is enough for a process whose work is done in one thread.
      { MALLOC_ARENA_MAX: "1", ...withoutLookingInside(environment) },
    );
    return 1;
  },
};

const withoutLookingInside = (environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(environment).filter(([name]) => !LOOKING_INSIDE.includes(name)));

export const status: Command = {
  name: "status",
  usage: "status",
  summary: "say whether the server runs, and what is open",
  flags: {},
  run: async ({ control, json, print }) => {
    const answer = await control.get<StatusResponse>("/v1/status");
    if (json) print(JSON.stringify(answer));
    else {
      print(`ready: ${answer.ready}   pid: ${answer.pid}   version: ${answer.version}`);
      for (const { name, ok, reason } of answer.checks) if (!ok) print(`not ready: ${name}: ${reason}`);
      if (answer.gateway !== undefined) print(`remote agents come in at ${answer.gateway}`);
      print(`audit: ${answer.auditEntries} entries, key ${answer.auditKey}`);
      for (const run of answer.runs)
        print(
          `run ${run.id}  agent ${run.agent ?? "-"}  ${run.isolated ? "isolated" : "NOT ISOLATED"}  ${run.command}`,
        );
    }
    return answer.ready ? 0 : 1;
  },
};
