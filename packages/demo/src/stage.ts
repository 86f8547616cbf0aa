// SPDX-License-Identifier: Apache-2.0
/** Builds the demo's world: stand-ins, the real product on a temporary folder, secrets, resources, listeners. */
import { createSocket } from "node:dgram";
import { fileURLToPath } from "node:url";
import {
  startPostern,
  startProgram,
  startStandIns,
  type Postern,
  type ProgramOptions,
  type RunningProgram,
  type StandIns,
} from "@postern/testkit";

export const AGENT = "demo-agent";
export const OTHER_AGENT = "other-agent";

/** One claim, held against what happened. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface Stage {
  readonly standIns: StandIns;
  readonly postern: Postern;
  readonly udp: { readonly port: number; readonly received: readonly string[] };
  /** In the environment of a process beside the server; nobody else knows it. */
  readonly decoy: string;
  /** Every output seen so far, for the canary. */
  readonly collected: { place: string; content: string }[];
  /** Starts a script of this folder as an agent, in `postern run`. */
  startAgent(agent: string, script: string, options?: AgentOptions): RunningProgram;
  close(): Promise<void>;
}

export interface AgentOptions {
  readonly args?: readonly string[];
  /** Variables that are taken away inside the sandbox, such as the base URLs. */
  readonly without?: readonly string[];
}

export async function setStage(): Promise<Stage> {
  const undo: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const step of undo.toReversed()) await step().catch(() => {});
  };
  try {
    const standIns = await startStandIns({ endlessInterval: 50 });
    undo.push(() => standIns.close());
    const udp = await listenUdp();
    undo.push(udp.close);
    const decoy = `decoy-${crypto.randomUUID()}`;
    const decoyProcess = startProgram("sleep", ["600"], { env: { POSTERN_DECOY: decoy } });
    undo.push(() => decoyProcess.stop());
    const postern = await startPostern({
      args: ["--trust-domain", "demo", "--gateway-listen", "127.0.0.1:0"],
    });
    undo.push(() => postern.stop());
    for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
    await postern.apply(standIns.resources({ agents: [AGENT, OTHER_AGENT] }));
    const collected: Stage["collected"] = [];
    const startAgent = (agent: string, script: string, options: AgentOptions = {}) =>
      collect(collected, script, postern.start(agentCommand(agent, script, options), providerKeysRemoved()));
    return { standIns, postern, udp, decoy, collected, startAgent, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function agentCommand(agent: string, script: string, options: AgentOptions): string[] {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const node = [process.execPath, "--disable-warning=ExperimentalWarning", path, ...(options.args ?? [])];
  const without = (options.without ?? []).flatMap((variable) => ["-u", variable]);
  return ["run", "--agent", agent, "--", ...(without.length === 0 ? [] : ["env", ...without]), ...node];
}

/** The visitor's own keys have no part in the demo. */
const providerKeysRemoved = (): ProgramOptions => ({
  env: Object.fromEntries(
    Object.keys(process.env)
      .filter((name) => /^(OPENAI|ANTHROPIC|GEMINI|GOOGLE)_/.test(name))
      .map((name) => [name, undefined]),
  ),
});

function collect(collected: Stage["collected"], script: string, program: RunningProgram): RunningProgram {
  program.ended.then(
    ({ stdout, stderr }) => void collected.push({ place: `output of ${script}`, content: stdout + stderr }),
    () => {},
  );
  return program;
}

async function listenUdp() {
  const received: string[] = [];
  const socket = createSocket("udp4", (message) => void received.push(message.toString("latin1")));
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  const close = () => new Promise<void>((resolve) => socket.close(() => resolve()));
  return { port: socket.address().port, received, close };
}

/** The JSON lines of a program's output; anything else is skipped. */
export function jsonLines<T>(text: string): T[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as T);
}
