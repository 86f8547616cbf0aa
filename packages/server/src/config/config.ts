// SPDX-License-Identifier: Apache-2.0
/** The server's settings: command line over environment over defaults, checked once, then frozen. */
import { isIP } from "node:net";
import { isAbsolute, resolve } from "node:path";
import { parseArgs } from "node:util";
import { isReserved, parseSpiffeId } from "@postern/identity/spiffe-id";
import { LOG_LEVELS, type LogLevel } from "../kernel/log.ts";

/** Where a listener of our own stands. */
export type ListenAddress = { readonly host: string; readonly port: number } | { readonly path: string };

export interface Config {
  readonly dataFolder: string;
  /** Where the master key is, `file:PATH` or `env:NAME`; absent: a file in the data folder. */
  readonly masterKey: string | undefined;
  /**
   * URL of a PostgreSQL database or a reference to one; absent: a database in the data folder. A function, because
   * it may hold a password.
   */
  readonly databaseUrl: () => string | undefined;
  /** Whether it stands on the command line, where everybody on the machine can read it. */
  readonly isDatabaseUrlVisible: boolean;
  /** URL of a Redis or Valkey for the counters of budgets or a reference to one; absent: they are in the database. */
  readonly budgetUrl: () => string | undefined;
  readonly isBudgetUrlVisible: boolean;
  /** Milliseconds for which the gateway goes on without word from its database. */
  readonly maxSnapshotAge: number;
  /** Milliseconds until an upstream must have begun its answer. */
  readonly answerTimeout: number;
  /** Milliseconds for which an upstream may be silent within its answer. */
  readonly silenceTimeout: number;
  /** Where metrics, liveness and readiness are served; absent: nowhere. */
  readonly metricsListen: ListenAddress | undefined;
  /** Base URL of the collector that gets traces; absent: there are none. */
  readonly otlpEndpoint: string | undefined;
  /** A file in MaxMind's format that tells where addresses are; absent: nobody knows. */
  readonly geoipFile: string | undefined;
  /** The address under which others see this machine; absent: those of its interfaces. */
  readonly publicAddress: string | undefined;
  /** Persons who are not at this machine: where their clicks come in, where questions are sent, and what signs both. */
  readonly approvals:
    | {
        readonly listen: ListenAddress | undefined;
        /** Names of secrets of the vault: the webhook's URL, and what signs messages and clicks. */
        readonly webhook: string | undefined;
        readonly signingSecret: string;
        /** Special-purpose networks that the webhook may be in. */
        readonly networks: readonly string[];
      }
    | undefined;
  readonly strictAudit: boolean;
  /** SPIFFE trust domain in which this server issues identities; absent: it issues none. */
  readonly trustDomain: string | undefined;
  /** Where local processes outside of runs find the Workload API; absent: nowhere. */
  readonly workloadApiSocket: string | undefined;
  /** Where brokers ask on behalf of local processes, and who is one; absent: nowhere, nobody. */
  readonly brokers: { readonly path: string; readonly ids: readonly string[] } | undefined;
  /** PEM files of who signs the authorities of the trust domain; else they sign themselves. */
  readonly parentAuthority: { readonly certificate: string; readonly key: string } | undefined;
  /** Milliseconds for which an identity document holds. */
  readonly svidLives: { readonly x509: number; readonly jwt: number };
  /** Where remote agents come in; absent: nowhere. */
  /** Whether WIT-SVIDs are issued. */
  readonly hasWitSvids: boolean;
  readonly gatewayListen: { readonly host: string; readonly port: number } | undefined;
  /** Where the trust bundle is published for other trust domains; absent: nowhere. */
  readonly bundleEndpoint:
    | {
        readonly listen: { readonly host: string; readonly port: number };
        /** Files of a certificate of the Web; without them the endpoint shows an SVID of its own. */
        readonly web?: { readonly certificate: string; readonly key: string };
      }
    | undefined;
  /** Names and addresses by which they call it, `NAME` or `NAME:PORT`. */
  readonly gatewayNames: readonly string[];
  readonly json: boolean;
  /** Nothing below it is logged. */
  readonly logLevel: LogLevel;
  /** Reads a variable for references such as `env:NAME`; the only way to the environment. */
  readonly readEnvironment: (name: string) => string | undefined;
}

/** @throws {Error} on words that are no setting */
export function readConfig(words: readonly string[], environment: NodeJS.ProcessEnv = process.env): Config {
  const { values } = parseArgs({
    args: [...words],
    strict: true,
    options: {
      data: { type: "string" },
      "master-key": { type: "string" },
      "database-url": { type: "string" },
      "budget-url": { type: "string" },
      "max-snapshot-age": { type: "string" },
      "answer-timeout": { type: "string" },
      "silence-timeout": { type: "string" },
      "strict-audit": { type: "boolean" },
      "trust-domain": { type: "string" },
      "workload-api-socket": { type: "string" },
      "broker-socket": { type: "string" },
      broker: { type: "string", multiple: true },
      "parent-authority-certificate": { type: "string" },
      "parent-authority-key": { type: "string" },
      "x509-svid-ttl": { type: "string" },
      "jwt-svid-ttl": { type: "string" },
      "wit-svid": { type: "boolean" },
      "gateway-listen": { type: "string" },
      "bundle-endpoint-listen": { type: "string" },
      "bundle-endpoint-certificate": { type: "string" },
      "bundle-endpoint-key": { type: "string" },
      "gateway-name": { type: "string", multiple: true },
      json: { type: "boolean" },
      "metrics-listen": { type: "string" },
      "otlp-endpoint": { type: "string" },
      "geoip-file": { type: "string" },
      "public-address": { type: "string" },
      "approvals-listen": { type: "string" },
      "approvals-webhook": { type: "string" },
      "approvals-webhook-network": { type: "string", multiple: true },
      "approvals-signing-secret": { type: "string" },
      "log-level": { type: "string" },
      verbose: { type: "boolean" },
    },
  });
  if (values.data === undefined) throw new Error("give the data folder: --data DIR");
  return Object.freeze({
    dataFolder: resolve(values.data),
    masterKey: values["master-key"] ?? environment["POSTERN_MASTER_KEY"],
    databaseUrl: () => values["database-url"] ?? environment["POSTERN_DATABASE_URL"],
    isDatabaseUrlVisible: values["database-url"] !== undefined,
    budgetUrl: () => values["budget-url"] ?? environment["POSTERN_BUDGET_URL"],
    isBudgetUrlVisible: values["budget-url"] !== undefined,
    maxSnapshotAge: seconds("max-snapshot-age", values["max-snapshot-age"] ?? "60", 999_999),
    trustDomain: values["trust-domain"] ?? environment["POSTERN_TRUST_DOMAIN"],
    workloadApiSocket: socketPath("workload-api-socket", values["workload-api-socket"]),
    brokers: brokers(
      socketPath("broker-socket", values["broker-socket"]),
      values.broker ?? [],
      values["trust-domain"] ?? environment["POSTERN_TRUST_DOMAIN"],
    ),
    parentAuthority: parentAuthority(values["parent-authority-certificate"], values["parent-authority-key"]),
    svidLives: {
      // A sixth of an authority's life, which is what is left when the next one takes over.
      x509: seconds("x509-svid-ttl", values["x509-svid-ttl"] ?? "3600", 86_400),
      jwt: seconds("jwt-svid-ttl", values["jwt-svid-ttl"] ?? "300", 86_400),
    },
    hasWitSvids: values["wit-svid"] ?? false,
    answerTimeout: seconds("answer-timeout", values["answer-timeout"] ?? "600", 999_999),
    silenceTimeout: seconds("silence-timeout", values["silence-timeout"] ?? "300", 999_999),
    metricsListen: listenAddress(values["metrics-listen"]),
    gatewayListen: networkAddress("gateway-listen", values["gateway-listen"]),
    bundleEndpoint: bundleEndpoint(
      networkAddress("bundle-endpoint-listen", values["bundle-endpoint-listen"]),
      values["bundle-endpoint-certificate"],
      values["bundle-endpoint-key"],
    ),
    gatewayNames: (values["gateway-name"] ?? []).map(gatewayName),
    otlpEndpoint: collector(values["otlp-endpoint"] ?? environment["OTEL_EXPORTER_OTLP_ENDPOINT"]),
    geoipFile: values["geoip-file"] === undefined ? undefined : resolve(values["geoip-file"]),
    publicAddress: publicAddress(values["public-address"]),
    approvals: approvalChannel(
      listenAddress(values["approvals-listen"], "--approvals-listen"),
      values["approvals-webhook"],
      values["approvals-signing-secret"],
      values["approvals-webhook-network"] ?? [],
    ),
    strictAudit: values["strict-audit"] ?? false,
    json: values.json ?? false,
    logLevel: logLevel(values["log-level"] ?? (values.verbose === true ? "debug" : "warn")),
    readEnvironment: (name: string) => environment[name],
  });
}

function listenAddress(text: string | undefined, flag = "--metrics-listen"): ListenAddress | undefined {
  if (text === undefined) return undefined;
  const path = /^unix:(.+)$/.exec(text)?.[1];
  if (path !== undefined && isAbsolute(path)) return { path };
  const address = addressAndPort(text);
  if (address !== undefined) return address;
  throw new Error(`give ${flag} as PORT, ADDRESS:PORT, [ADDRESS]:PORT or unix:/absolute/path`);
}

function approvalChannel(
  listen: ListenAddress | undefined,
  webhook: string | undefined,
  signingSecret: string | undefined,
  networks: readonly string[],
): Config["approvals"] {
  if (webhook === undefined && networks.length > 0)
    throw new Error("give --approvals-webhook with --approvals-webhook-network");
  if (listen === undefined && webhook === undefined) {
    if (signingSecret === undefined) return undefined;
    throw new Error("give --approvals-webhook or --approvals-listen with --approvals-signing-secret");
  }
  if (signingSecret === undefined)
    throw new Error(
      "give --approvals-signing-secret, the name of a secret of the vault, with --approvals-webhook and --approvals-listen",
    );
  return { listen, webhook, signingSecret, networks: networks.map(network) };
}

/** Such as `10.0.0.0/8`. */
function network(text: string): string {
  const [address = "", bits = ""] = text.split("/", 2);
  const most = isIP(address) === 6 ? 128 : 32;
  if (isIP(address) !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= most) return text;
  throw new Error("give --approvals-webhook-network as ADDRESS/BITS, such as 10.0.0.0/8");
}

function parentAuthority(
  certificate: string | undefined,
  key: string | undefined,
): Config["parentAuthority"] {
  if (certificate !== undefined && key !== undefined)
    return { certificate: resolve(certificate), key: resolve(key) };
  if (certificate === undefined && key === undefined) return undefined;
  throw new Error("give --parent-authority-certificate and --parent-authority-key together");
}

function bundleEndpoint(
  listen: { host: string; port: number } | undefined,
  certificate: string | undefined,
  key: string | undefined,
): Config["bundleEndpoint"] {
  if ((certificate === undefined) !== (key === undefined))
    throw new Error("give --bundle-endpoint-certificate and --bundle-endpoint-key together");
  if (listen === undefined && certificate !== undefined)
    throw new Error("give --bundle-endpoint-listen with --bundle-endpoint-certificate");
  if (listen === undefined) return undefined;
  if (certificate === undefined || key === undefined) return { listen };
  return { listen, web: { certificate: resolve(certificate), key: resolve(key) } };
}

function networkAddress(flag: string, text: string | undefined): { host: string; port: number } | undefined {
  const address = text === undefined ? undefined : addressAndPort(text);
  if (text === undefined || address !== undefined) return address;
  throw new Error(`give --${flag} as PORT, ADDRESS:PORT or [ADDRESS]:PORT`);
}

/** As clients write it in URLs, in lower case. */
function gatewayName(text: string): string {
  const [, host = "", port] = /^(\[[0-9a-f:.]+\]|[a-z0-9.-]{1,253})(?::([1-9]\d{0,4}))?$/.exec(text) ?? [];
  const isAddress = isIP(host.replaceAll(/^\[|\]$/g, "")) !== 0;
  const isName = host.split(".").every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(label));
  if ((isAddress || isName) && Number(port ?? 1) <= 65_535) return text;
  throw new Error("give --gateway-name as NAME, ADDRESS or either of them with :PORT, in lower case");
}

/** Addresses only, no names: what is open to others must be seen to be. Without one it is the loopback. */
function addressAndPort(text: string): { host: string; port: number } | undefined {
  const [, bracketed, plain, digits] = /^(?:(?:\[([^\]]+)\]|([^:]+)):)?(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? (plain === undefined || plain === "localhost" ? "127.0.0.1" : plain);
  const family = bracketed === undefined ? 4 : 6;
  return digits !== undefined && Number(digits) <= 65_535 && isIP(host) === family
    ? { host, port: Number(digits) }
    : undefined;
}

/** As `SPIFFE_ENDPOINT_SOCKET` has it, or the path alone. */
function socketPath(flag: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const path = text.replace(/^unix:\/\//, "");
  if (isAbsolute(path)) return path;
  throw new Error(`give --${flag} as an absolute path`);
}

/** Whoever is named here may act for others: by whole IDs only, of the own trust domain, and never by silence. */
function brokers(
  path: string | undefined,
  ids: readonly string[],
  trustDomain: string | undefined,
): { path: string; ids: readonly string[] } | undefined {
  if (path === undefined && ids.length === 0) return undefined;
  if (path === undefined || ids.length === 0)
    throw new Error("give --broker-socket and at least one --broker together");
  if (trustDomain === undefined) throw new Error("--broker-socket needs a --trust-domain");
  for (const text of ids) {
    const id = parseSpiffeId(text);
    if (!id.ok || id.value.path === "" || isReserved(id.value) || id.value.trustDomain !== trustDomain)
      throw new Error(`give --broker as the SPIFFE ID of a workload of ${trustDomain}`);
  }
  return { path, ids };
}

function publicAddress(text: string | undefined): string | undefined {
  if (text === undefined || (isIP(text) > 0 && !text.includes("%"))) return text;
  throw new Error("give --public-address as an IP address");
}

function collector(text: string | undefined): string | undefined {
  if (text === undefined || text === "") return undefined;
  const url = URL.parse(text);
  const isPlain = url !== null && /^https?:$/.test(url.protocol) && url.search === "" && url.hash === "";
  if (isPlain && url.username === "" && url.password === "") return url.href;
  // Not repeated: it may hold a password.
  throw new Error("give the OTLP endpoint as http://HOST:PORT or https://HOST:PORT, without user and query");
}

function logLevel(text: string): LogLevel {
  const level = LOG_LEVELS.find((known) => known === text);
  if (level !== undefined) return level;
  throw new Error(`give --log-level as one of ${LOG_LEVELS.join(", ")}`);
}

/** In milliseconds. */
function seconds(flag: string, text: string, most: number): number {
  if (/^[1-9]\d{0,5}$/.test(text) && Number(text) <= most) return 1000 * Number(text);
  throw new Error(`give --${flag} as whole seconds, 1 to ${most}`);
}
