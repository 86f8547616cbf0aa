// SPDX-License-Identifier: Apache-2.0
/** How is a real program started, watched line by line and surely ended, with everything it started? */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export interface Finished {
  /** Exit code; 128 and the signal's number are not mapped: -1 where a signal ended it. */
  readonly code: number;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningProgram {
  readonly pid: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly ended: Promise<Finished>;
  /** The first line of either stream that satisfies `wanted`; rejects if the program ends before. */
  line(wanted: (line: string) => boolean): Promise<string>;
  /** Ends the program and all that it started: asks first, and insists after `grace` milliseconds. */
  stop(grace?: number): Promise<Finished>;
}

export interface ProgramOptions {
  readonly input?: string | Buffer;
  /** Added to this process's environment; `undefined` takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

const running = new Set<RunningProgram>();
const killAll = () => {
  for (const program of running) signalGroup(program.pid, "SIGKILL");
};
process.on("exit", killAll);

/** A process that dies of a signal has no "exit" event; one that handles the signal itself is left to it. */
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const) {
  process.on(signal, () => {
    if (process.listenerCount(signal) === 1) process.exit(code);
  });
}

export function startProgram(
  command: string,
  args: readonly string[],
  options: ProgramOptions = {},
): RunningProgram {
  const child = spawn(command, args, {
    env: mergedEnvironment(options.env),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
  });
  const output = { stdout: "", stderr: "" };
  const lines: string[] = [];
  const waiting = new Set<(line: string) => void>();
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => void (output[name] += text));
    createInterface({ input: child[name] }).on("line", (line) => {
      lines.push(line);
      for (const offer of waiting) offer(line);
    });
  }
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  const ended = new Promise<Finished>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      running.delete(program);
      resolve({ code: code ?? -1, signal, ...output });
    });
  });
  const program: RunningProgram = {
    pid: child.pid ?? 0,
    get stdout() {
      return output.stdout;
    },
    get stderr() {
      return output.stderr;
    },
    ended,
    line: (wanted) => awaitLine(wanted, lines, waiting, ended),
    stop: (grace = 5000) => stop(program, grace),
  };
  // A program that cannot be started is reported by whoever awaits `ended`.
  ended.catch(() => running.delete(program));
  running.add(program);
  return program;
}

/** Programs that have not ended yet are stopped; for the end of a test or demo. */
export const stopAllPrograms = async (): Promise<void> =>
  void (await Promise.allSettled([...running].map((program) => program.stop(2000))));

function mergedEnvironment(changes: ProgramOptions["env"] = {}): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = { ...process.env };
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) delete environment[name];
    else environment[name] = value;
  }
  return environment;
}

function awaitLine(
  wanted: (line: string) => boolean,
  lines: readonly string[],
  waiting: Set<(line: string) => void>,
  ended: Promise<Finished>,
): Promise<string> {
  const already = lines.find(wanted);
  if (already !== undefined) return Promise.resolve(already);
  return new Promise((resolve, reject) => {
    const offer = (line: string) => {
      if (!wanted(line)) return;
      waiting.delete(offer);
      resolve(line);
    };
    waiting.add(offer);
    ended.then(
      ({ code, stdout, stderr }) =>
        reject(new Error(`ended with code ${code} before the awaited line\n${stdout}${stderr}`)),
      reject,
    );
  });
}

async function stop(program: RunningProgram, grace: number): Promise<Finished> {
  signalGroup(program.pid, "SIGTERM");
  const insist = setTimeout(() => signalGroup(program.pid, "SIGKILL"), grace);
  try {
    return await program.ended;
  } finally {
    clearTimeout(insist);
    // What the program left behind in its group has nobody to report to.
    signalGroup(program.pid, "SIGKILL");
  }
}

/** The process group, so that children of a launcher end with it. */
function signalGroup(pid: number, signal: NodeJS.Signals): void {
  if (pid <= 1) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // ESRCH: nobody is left.
  }
}
