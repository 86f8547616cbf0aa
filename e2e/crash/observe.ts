// SPDX-License-Identifier: Apache-2.0
/** What does a server that has just started say that it has? */
import { existsSync, readdirSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import type { ResourcesResponse, SecretsResponse, StatusResponse } from "@postern/contract";
import { findSecretsInFolder, type PostgresServer, type StandIns } from "@postern/testkit";
import type { RunningAgent } from "../run-agent.ts";
import { ask, jsonOf } from "../control-socket.ts";
import type { State } from "./ledger.ts";
import { callOf, PROVIDERS, setMembers, STATE_AGENTS, THINGS } from "./load.ts";

/** Where the tables are, for what no command shows: epochs and the id of the master key. */
export interface Tables {
  rows(table: "epochs" | "installation"): Promise<ReadonlyMap<string, string>>;
}

export function sqliteTables(folder: string): Tables {
  return {
    // oxlint-disable-next-line require-await -- the other one has to wait
    async rows(table) {
      const database = new DatabaseSync(join(folder, "postern.db"), { readOnly: true });
      try {
        const rows = database.prepare(`select name, value from ${table}`).all();
        return new Map(rows.map(({ name, value }) => [String(name), String(value)]));
      } finally {
        database.close();
      }
    },
  };
}

export function postgresTables(server: PostgresServer, url: string): Tables {
  return {
    async rows(table) {
      const lines = (await server.query(url, `select name, value from ${table}`)).split("\n");
      return new Map(lines.map((line) => line.split("|") as [string, string]));
    },
  };
}

/** Names in the data folder of a server that runs; whatever else is there was left behind. */
const BELONGS =
  /^(postern\.db(-wal|-shm)?|lock\.(db|pid)|master\.key(\.old-[0-9a-f]{8}|\.next)?|server\.id|ca\.pem|control\.sock|audit|runs)$/;

/** Asked before the first run is opened. */
export function leftBehind(folder: string): string[] {
  const runs = existsSync(join(folder, "runs")) ? readdirSync(join(folder, "runs")) : [];
  return [...readdirSync(folder).filter((name) => !BELONGS.test(name)), ...runs];
}

export const statusOf = async (folder: string): Promise<StatusResponse> =>
  jsonOf(await ask(folder, "GET", "/v1/status")) as StatusResponse;

export async function observeStored(folder: string, tables: Tables): Promise<Map<string, State>> {
  const { resources } = jsonOf(await ask(folder, "GET", "/v1/resources")) as ResourcesResponse;
  const { secrets } = jsonOf(await ask(folder, "GET", "/v1/secrets")) as SecretsResponse;
  const generation = (kind: string, name: string): State => {
    const found = resources.find(({ resource }) => resource.kind === kind && resource.metadata.name === name);
    return found && /\d+$/.exec(found.resource.metadata.description ?? "")?.[0];
  };
  const seen = new Map<string, State>();
  for (const set of THINGS.sets) {
    const all = new Set([
      ...setMembers(set).map((name) => generation("Agent", name)),
      generation("AccessPolicy", `set-${set}`),
    ]);
    // Half a change is no state that anybody acknowledged or asked for.
    seen.set(`set ${set}`, all.size === 1 ? [...all][0] : `in part: ${[...all].join(", ")}`);
  }
  for (const name of THINGS.singles) seen.set(`single ${name}`, generation("Agent", name));
  for (const name of STATE_AGENTS) {
    const state = resources.find(({ resource }) => resource.metadata.name === name)?.state;
    seen.set(`state ${name}`, state?.reason === undefined ? undefined : `${state.state} ${state.reason}`);
  }
  for (const name of THINGS.spares)
    seen.set(`spare ${name}`, secrets.find((secret) => secret.name === name)?.version.toString());
  seen.set("master key", [...(await tables.rows("installation")).values()][0]);
  return seen;
}

/** Which value a call carries is known to the upstream alone. */
export async function observeCredentials(
  agent: RunningAgent,
  standIns: StandIns,
): Promise<Map<string, State>> {
  const seen = new Map<string, State>();
  for (const provider of PROVIDERS) {
    standIns[provider].forgetRequests();
    const answer = await agent.send(callOf(agent, provider));
    const [received] = standIns[provider].requests;
    seen.set(
      `credential ${provider}`,
      received?.credentials[0]?.value ?? `none: ${answer.status} ${answer.code}`,
    );
  }
  return seen;
}

interface Event {
  readonly metadata: { readonly uid: string };
  readonly unmapped: Readonly<Record<string, unknown>>;
}

export interface Logged {
  readonly traces: ReadonlyMap<string, number>;
  readonly decisions: ReadonlySet<string>;
}

/** The newest entries, as far back as asked. */
export async function readLog(folder: string, entries: number): Promise<Logged> {
  const { body } = await ask(folder, "GET", `/v1/audit/events?lines=${entries}`);
  const events = body
    .toString("utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Event);
  const traces = new Map<string, number>();
  const decisions = new Set<string>();
  for (const { metadata, unmapped } of events) {
    if (unmapped["kind"] === "decision") decisions.add(metadata.uid);
    const trace = traceOf(unmapped);
    if (trace !== undefined) traces.set(trace, (traces.get(trace) ?? 0) + 1);
  }
  return { traces, decisions };
}

function traceOf({
  kind,
  name,
  agent,
  reason,
  resource_kind: resource,
}: Event["unmapped"]): string | undefined {
  if (kind === "resource_change")
    return resource === "MasterKey" ? "resource master key" : `resource ${String(name)}`;
  if (kind === "secret_change") return `secret ${String(name)}`;
  if (kind === "agent_state") return `state ${String(agent)} ${String(reason)}`;
  return undefined;
}

export const secretsInFolder = async (folder: string, secrets: Readonly<Record<string, string>>) =>
  (await findSecretsInFolder(folder, secrets)).findings;
