// SPDX-License-Identifier: Apache-2.0
/** What an error of PostgreSQL or of the way there means for the person who runs the server. */
import { Fault } from "../../kernel/fault.ts";

/** SQLSTATE (PostgreSQL documentation, appendix A), the longest beginning counts. */
const REFUSALS: Readonly<Record<string, string>> = {
  "28": "refuses the user or the password: check the database URL",
  "3D000": "does not exist: make it with createdb, then start again",
  "42501": "does not let this user do it: make the user the owner of the database",
  "25006": "can only be read: give the URL of the primary server, not of a standby",
  "53100": "cannot grow because the disk of its server is full: free some space there",
  "53300": "takes no more connections: raise max_connections of its server, or use fewer gateways",
};

/** A lost connection or a server that starts, stops or is too busy: later it may work. */
const UNREACHABLE_STATES = ["08", "57P0", "57014", "53300", "55P03"];
const UNREACHABLE_CODES = new Set([
  ...["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "ENOTFOUND", "EAI_AGAIN", "ENOENT"],
  ...["EHOSTUNREACH", "ENETUNREACH", "ECONNABORTED"],
]);
/** The driver has no codes for these. */
const UNREACHABLE_WORDS =
  /Connection terminated|connection timeout|timeout exceeded|read timeout|not queryable/i;

interface DriverError {
  readonly code?: unknown;
  readonly message?: unknown;
}

/** True where the connection must not be used again. */
export function breaksConnection(error: unknown): boolean {
  const { code, message } = (error ?? {}) as DriverError;
  if (typeof code === "string" && UNREACHABLE_CODES.has(code)) return true;
  if (typeof code === "string" && (code.startsWith("08") || code.startsWith("57P0"))) return true;
  return typeof message === "string" && UNREACHABLE_WORDS.test(message);
}

/** A Fault that names the database and the next step, without user and password. Faults pass through. */
export function postgresFault(error: unknown, shown: string): Fault {
  if (error instanceof Fault) return error;
  const { code, message } = (error ?? {}) as DriverError;
  const state = typeof code === "string" ? code : "";
  const meaning = Object.entries(REFUSALS).find(([prefix]) => state.startsWith(prefix))?.[1];
  const isLost = breaksConnection(error) || UNREACHABLE_STATES.some((prefix) => state.startsWith(prefix));
  const kind = isLost ? "control_plane_unavailable" : "internal_error";
  if (meaning !== undefined) return new Fault(kind, `the database ${shown} ${meaning}`, { cause: error });
  if (isLost) {
    const detail = `the database ${shown} cannot be reached${state === "" ? "" : ` (${state})`}: check that its server runs`;
    return new Fault("control_plane_unavailable", detail, { cause: error });
  }
  if (isTls(state, message)) {
    const detail = `the database ${shown} failed the check of TLS (${state || "no TLS offered"}): see sslmode in docs/storage.md`;
    return new Fault("internal_error", detail, { cause: error });
  }
  return new Fault("internal_error", `the database ${shown} failed${state === "" ? "" : ` (${state})`}`, {
    cause: error,
  });
}

const isTls = (code: string, message: unknown): boolean =>
  /CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO/.test(code) ||
  (typeof message === "string" && message.includes("does not support SSL"));
