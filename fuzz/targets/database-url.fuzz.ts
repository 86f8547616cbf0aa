// SPDX-License-Identifier: Apache-2.0
/** Does a database URL never weaken TLS unsaid, and never repeat its password? */
import { isIP } from "node:net";
import { parseDatabaseUrl } from "../../packages/server/src/store/postgres/connection-settings.ts";
import { Fault } from "../../packages/server/src/kernel/fault.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const PASSWORD = "hunter2canary";

function check(input: Buffer): void {
  const text = input.toString("utf8");
  let settings;
  try {
    settings = parseDatabaseUrl(text, () => Buffer.from("pem"));
  } catch (error) {
    demand(error instanceof Fault, `parsing failed with ${String(error)}`);
    return demand(!error.message.includes(PASSWORD), "the password is in the error");
  }
  const { host, port, ssl, shown, password, user } = settings;
  const isHere =
    host === "localhost" ||
    host.startsWith("/") ||
    (isIP(host) !== 0 && (host.startsWith("127.") || host === "::1" || /^::ffff:(127\.|7f)/i.test(host)));
  if (ssl === false) demand(isHere || isSaid(text), `no TLS to ${host}, and nobody said so`);
  else {
    demandEqual(ssl.rejectUnauthorized, true, "unauthorized servers");
    demandEqual(ssl.minVersion, "TLSv1.2", "the oldest TLS");
  }
  demand(port >= 0 && port <= 65_535 && host !== "" && settings.database !== "", "a place that is none");
  if (password === PASSWORD && text.split(PASSWORD).length === 2)
    demand(!shown.includes(PASSWORD), "the password is shown");
  demand(user !== "" && password !== "", "an empty user or password");
}

/** Whether the text names a mode, in plain or percent-encoded letters. */
const isSaid = (text: string): boolean =>
  new URLSearchParams(text.slice(text.indexOf("?") + 1)).has("sslmode");

const PARTS = [
  "postgres://",
  "postgresql://",
  "postern",
  ":",
  "@",
  `user:${PASSWORD}@`,
  "db.example",
  "localhost",
  "127.0.0.1",
  "[::1]",
  "/",
  "/postern",
  "?",
  "&",
  "sslmode=disable",
  "sslmode=prefer",
  "sslmode=verify-ca",
  "sslmode=%64isable",
  "sslrootcert=/x",
  "host=/run/postgresql",
  "host=evil.example",
  "options=-c%20x%3D1",
  "%00",
  "%2F",
  "%zz",
  "#",
  "5432",
  "sslmode=",
];

const target: FuzzTarget = {
  parsers: ["packages/server/src/store/postgres/connection-settings.ts"],
  property:
    "Without a word about it TLS is verified for every server that is not on this machine; no error and no label holds the password.",
  words: PARTS,
  make: (choose) => `postgres://${choose.list(10, () => choose.pick(PARTS)).join("")}`,
  check,
};
export default target;
