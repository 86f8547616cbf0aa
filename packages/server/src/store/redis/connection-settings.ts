// SPDX-License-Identifier: Apache-2.0
/**
 * What a budget URL means: `rediss://user:password@host:port/0?cacert=/ca.pem`.
 *
 * Parsed here and not by the driver, so that no setting can weaken TLS unsaid: plain text beyond this machine has to
 * be asked for in words.
 */
import { readFileSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import type { ConnectionOptions } from "node:tls";
import { Fault } from "../../kernel/fault.ts";

export interface RedisSettings {
  readonly host: string;
  readonly port: number;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: number;
  readonly tls: ConnectionOptions | undefined;
  /** For people: without user and password. */
  readonly shown: string;
}

const PARAMETERS = ["cacert", "cert", "key", "tls"];

/** A Fault in words that never repeats the URL: it may hold a password. */
export function parseBudgetUrl(
  text: string,
  readFile: (path: string) => Buffer = readFileSync,
): RedisSettings {
  const trimmed = text.trim();
  // The URL standard drops tabs and line ends without a word.
  if (!/^[!-~\x80-\uffff]*$/.test(trimmed))
    throw wrong("has a blank or a control character in it: encode it as %20");
  const url = URL.parse(trimmed);
  if (url === null || !/^rediss?:$/.test(url.protocol))
    throw wrong("is not of the form rediss://user@host:6379/0");
  for (const name of url.searchParams.keys())
    if (!PARAMETERS.includes(name))
      // Not which one: behind a password with a question mark in it, it is the rest of the password.
      throw wrong(`has an unknown parameter; there are ${PARAMETERS.join(", ")}`);
  if (url.hash !== "") throw wrong("has a # in it: encode it as %23");
  const host = decoded(url.hostname.replace(/^\[(.*)\]$/, "$1"));
  if (host === "") throw wrong("names no host");
  const database = /^\/?(\d{0,5})$/.exec(url.pathname)?.[1];
  if (database === undefined) throw wrong("names a database that is no number");
  const port = url.port === "" ? 6379 : Number(url.port);
  return {
    ...{ host, port, database: Number(database) },
    user: url.username === "" ? undefined : decoded(url.username),
    password: url.password === "" ? undefined : decoded(url.password),
    tls: tlsOf(url, host, readFile),
    shown: `${host}:${port}`,
  };
}

function tlsOf(url: URL, host: string, readFile: (path: string) => Buffer): ConnectionOptions | undefined {
  const of = (name: string) => url.searchParams.get(name);
  const off = of("tls");
  if (off !== null && off !== "off") throw wrong("has a `tls` that is not `off`; use rediss:// for TLS");
  if (url.protocol === "redis:") {
    if (["cacert", "cert", "key"].some((name) => url.searchParams.has(name)))
      throw wrong("names certificates although redis:// is plain text: use rediss://");
    if (off === null && !staysHere(host))
      throw wrong("is plain text beyond this machine: use rediss://, or say ?tls=off");
    return undefined;
  }
  if (off !== null) throw wrong("says tls=off and rediss://: one of them is wrong");
  const [ca, cert, key] = [of("cacert"), of("cert"), of("key")];
  if ((cert === null) !== (key === null)) throw wrong("needs cert and key together");
  return {
    rejectUnauthorized: true,
    minVersion: "TLSv1.2",
    // By its name the server is checked; an address has no place in SNI (RFC 6066 §3).
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === null ? {} : { ca: contentOf(ca, readFile) }),
    ...(cert === null || key === null
      ? {}
      : { cert: contentOf(cert, readFile), key: contentOf(key, readFile) }),
  };
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Nobody listens in between. */
function staysHere(host: string): boolean {
  const family = isIP(host);
  return family === 0 ? host === "localhost" : loopback.check(host, family === 4 ? "ipv4" : "ipv6");
}

function contentOf(path: string, readFile: (path: string) => Buffer): Buffer {
  try {
    return readFile(path);
  } catch (error) {
    throw new Fault("internal_error", `the file ${path} of the budget URL cannot be read`, { cause: error });
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrong("holds a broken percent-encoding");
  }
}

const wrong = (problem: string): Fault => new Fault("internal_error", `the budget URL ${problem}`);
