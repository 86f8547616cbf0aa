// SPDX-License-Identifier: Apache-2.0
/**
 * What a database URL means: `postgres://user:password@host:port/database?sslmode=verify-full`.
 *
 * Parsed here and not by the driver, so that no setting can weaken TLS unsaid: modes that fall back to plain
 * text are refused, and whoever names no mode gets the strictest one beyond this machine.
 */
import { readFileSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import { checkServerIdentity, type ConnectionOptions } from "node:tls";
import { Fault } from "../../kernel/fault.ts";

export interface ConnectionSettings {
  readonly host: string;
  readonly port: number;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string;
  readonly ssl: ConnectionOptions | false;
  readonly sslnegotiation: "postgres" | "direct";
  /** Further `-c name=value` settings of the session. */
  readonly options: string | undefined;
  /** For people: without user and password. */
  readonly shown: string;
}

const PARAMETERS = ["host", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation", "options"];

/** A Fault in words that never repeats the URL: it may hold a password. */
export function parseDatabaseUrl(
  text: string,
  readFile: (path: string) => Buffer = readFileSync,
): ConnectionSettings {
  const trimmed = text.trim();
  // The URL standard drops tabs and line ends without a word: `sslm<CR>ode=disable` would become a setting.
  if (!/^[!-~\x80-\uffff]*$/.test(trimmed))
    throw wrong("has a blank or a control character in it: encode it as %20");
  const url = URL.parse(trimmed);
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol))
    throw wrong("is not of the form postgres://user@host:5432/database");
  for (const name of url.searchParams.keys())
    if (!PARAMETERS.includes(name))
      // Not which one: behind a password with a question mark in it, it is the rest of the password.
      throw wrong(`has an unknown parameter; there are ${PARAMETERS.join(", ")}`);
  const host = url.searchParams.get("host") ?? decoded(url.hostname.replace(/^\[(.*)\]$/, "$1"));
  const database = decoded(url.pathname.slice(1));
  if (host === "" || database === "" || database.includes("/")) throw wrong("names no host or no database");
  const port = url.port === "" ? 5432 : Number(url.port);
  return {
    host,
    port,
    database,
    user: url.username === "" ? undefined : decoded(url.username),
    password: url.password === "" ? undefined : decoded(url.password),
    ssl: tlsOf(url.searchParams, host, readFile),
    sslnegotiation: url.searchParams.get("sslnegotiation") === "direct" ? "direct" : "postgres",
    options: url.searchParams.get("options") ?? undefined,
    shown: `${database} at ${host}:${port}`,
  };
}

/** Whether the URL itself gives the password away to whoever reads it. */
export const holdsPassword = (text: string): boolean => (URL.parse(text)?.password ?? "") !== "";

function tlsOf(
  parameters: URLSearchParams,
  host: string,
  readFile: (path: string) => Buffer,
): ConnectionOptions | false {
  const mode = parameters.get("sslmode") ?? (staysHere(host) ? "disable" : "verify-full");
  const files = ["sslrootcert", "sslcert", "sslkey"].filter((name) => parameters.has(name));
  if (mode === "disable") {
    if (files.length > 0 && parameters.has("sslmode"))
      throw wrong(`names ${files[0]} although sslmode=disable switches TLS off`);
    if (files.length === 0) return false;
  }
  if (mode === "prefer" || mode === "allow")
    throw wrong(`has sslmode=${mode}, which falls back to plain text: use verify-full, or disable`);
  if (!["disable", "require", "verify-ca", "verify-full"].includes(mode))
    throw wrong("has an unknown sslmode; there are verify-full, verify-ca and disable");
  const root = parameters.get("sslrootcert");
  return {
    rejectUnauthorized: true,
    minVersion: "TLSv1.2",
    ...(root === null || root === "system" ? {} : { ca: contentOf(root, readFile) }),
    ...(parameters.has("sslcert") ? { cert: contentOf(parameters.get("sslcert")!, readFile) } : {}),
    ...(parameters.has("sslkey") ? { key: contentOf(parameters.get("sslkey")!, readFile) } : {}),
    // The driver knows no host where it is an address; `require` is taken to mean the strictest mode.
    checkServerIdentity: (_name, certificate) =>
      mode === "verify-ca" ? undefined : checkServerIdentity(host, certificate),
  };
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Unix sockets and loopback: nobody listens in between. */
function staysHere(host: string): boolean {
  const family = isIP(host);
  if (family !== 0) return loopback.check(host, family === 4 ? "ipv4" : "ipv6");
  return host.startsWith("/") || host === "localhost";
}

function contentOf(path: string, readFile: (path: string) => Buffer): Buffer {
  try {
    return readFile(path);
  } catch (error) {
    throw new Fault("internal_error", `the file ${path} of the database URL cannot be read`, {
      cause: error,
    });
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrong("holds a broken percent-encoding");
  }
}

const wrong = (problem: string): Fault => new Fault("internal_error", `the database URL ${problem}`);
