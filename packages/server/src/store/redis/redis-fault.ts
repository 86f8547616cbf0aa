// SPDX-License-Identifier: Apache-2.0
/** What an error of Redis or Valkey or of the way there means for the person who runs the server. */
import { Fault } from "../../kernel/fault.ts";
import { LOST } from "./budget-scripts.ts";

/** By the first word of an error reply. */
const REFUSALS: Readonly<Record<string, string>> = {
  WRONGPASS: "refuses the user or the password: check the budget URL",
  NOAUTH: "asks for a password: put it into the budget URL",
  NOPERM: "does not let this user do it: see docs/guides/budgets.md for what it needs",
  READONLY: "can only be read: give the URL of the primary server, not of a replica",
  OOM: "has no memory left: raise maxmemory of its server",
  MISCONF: "cannot save to its disk: see the log of its server",
  MOVED: "is one of a cluster and does not have the budgets: give the URL of the one that has them",
  [LOST]: "has lost the counters or was given others: start this server again, and counting begins anew",
};

/** Later it may work. */
const FOR_NOW = new Set(["LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "OOM", "MISCONF"]);

/** A Fault that names the server and the next step, without user and password. Faults pass through. */
export function redisFault(error: unknown, shown: string): Fault {
  if (error instanceof Fault) return error;
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  const word = /^[A-Z]+(?= |$)/.exec(typeof message === "string" ? message : "")?.[0] ?? "";
  const state = typeof code === "string" ? code : word;
  const place = `the budget store ${shown}`;
  const cause = { cause: error };
  const meaning = REFUSALS[word];
  if (meaning !== undefined) return new Fault("control_plane_unavailable", `${place} ${meaning}`, cause);
  if (FOR_NOW.has(word))
    return new Fault("control_plane_unavailable", `${place} cannot answer now (${word})`, cause);
  if (/CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO/.test(state))
    return new Fault(
      "control_plane_unavailable",
      `${place} failed the check of TLS (${state}): see docs/guides/budgets.md`,
      cause,
    );
  if (word !== "") return new Fault("internal_error", `${place} refuses (${word})`, cause);
  const detail = `${place} cannot be reached${state === "" ? "" : ` (${state})`}: check that its server runs`;
  return new Fault("control_plane_unavailable", detail, cause);
}
