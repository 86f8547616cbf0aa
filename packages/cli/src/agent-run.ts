// SPDX-License-Identifier: Apache-2.0
/** Opens a run at the server and starts a command in it: what `run` and `doctor` have in common. */
import { existsSync, realpathSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { OpenRunResponse } from "@postern/contract";
import { UsageError } from "./command.ts";
import { type ControlClient, ControlError } from "./control-client.ts";
import { ESCAPE_VARIABLES, escapeRoutes } from "./escape-routes.ts";
import type { IsolationMode } from "./sandbox/plan.ts";
import { type Sandboxed, startSandboxed } from "./sandbox/start-sandboxed.ts";

export interface AgentRun {
  readonly control: ControlClient;
  readonly mode: IsolationMode;
  readonly agent: string | undefined;
  readonly command: readonly string[];
  /** Environment of the user; what is secret in it is taken out. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Variables that stay although their name looks like a secret's. */
  readonly keep: readonly string[];
  readonly hide: readonly string[];
}

export async function startAgent(
  run: AgentRun,
  streams?: Parameters<typeof startSandboxed>[1],
): Promise<Sandboxed> {
  const hidden = run.hide.map(existingPath);
  const environment = Object.fromEntries(
    Object.entries(run.environment).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const opened = await run.control.post<OpenRunResponse>("/v1/runs", {
    ...(run.agent === undefined ? {} : { agent: run.agent }),
    isolated: run.mode !== "none",
    command: run.command[0],
    environment,
    keep: run.keep,
  });
  checkIdentities(opened);
  const plan = {
    mode: run.mode,
    hidePaths: [...opened.hide, ...escapeRoutes(run.environment), ...hidden],
    readOnlyPaths: programPaths(),
    runFolder: opened.folder,
    spec: {
      launch: { socket: opened.launchSocket, token: opened.launchToken, port: 0 },
      env: agentEnvironment(environment, opened),
      gateVariables: Object.keys(opened.environment),
      cwd: process.cwd(),
      command: run.command,
    },
  };
  return startSandboxed(plan, streams);
}

/** What is hidden must be what the server means, not something that was put in its place. */
function checkIdentities({ hide, folder, identities }: OpenRunResponse): void {
  for (const path of [...hide, folder]) {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (found === undefined || `${found.dev}:${found.ino}` !== identities[path])
      throw new ControlError(`${path} is not the folder that the server means, so the agent is not started`);
  }
}

/** Postern's own program: an agent that could change it would be let out at the next start. */
function programPaths(): string[] {
  const root = fileURLToPath(new URL("../../..", import.meta.url));
  return [...["packages", "node_modules", "postern"].map((name) => join(root, name)), process.execPath];
}

function agentEnvironment(
  own: Readonly<Record<string, string>>,
  { removedVariables, environment }: OpenRunResponse,
): Record<string, string> {
  const removed = new Set([...removedVariables, ...ESCAPE_VARIABLES, "POSTERN_HOME"]);
  return {
    ...Object.fromEntries(Object.entries(own).filter(([name]) => !removed.has(name))),
    ...environment,
  };
}

function existingPath(path: string): string {
  const absolute = resolve(path);
  if (!existsSync(absolute)) throw new UsageError(`--hide ${path}: there is no such file or folder`);
  return realpathSync(absolute);
}
