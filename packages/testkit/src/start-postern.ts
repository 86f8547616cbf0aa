// SPDX-License-Identifier: Apache-2.0
/** Starts the real product as real processes on a folder of its own, and gives its commands as calls. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startProgram, type Finished, type ProgramOptions, type RunningProgram } from "./child-process.ts";
import { decisionKeeper } from "./keep-decisions.ts";
import { noteSecret, searchForLeaks } from "./leak-search.ts";

/** The launcher at the root of the repository. */
export const POSTERN = fileURLToPath(new URL("../../../postern", import.meta.url));

export interface StartPosternOptions {
  /** The data folder; a temporary one, removed at the end, where absent. */
  readonly folder?: string;
  /** More arguments for `postern up`. */
  readonly args?: readonly string[];
  readonly env?: ProgramOptions["env"];
  /** A command, with its arguments, that starts the server, such as one that changes what it sees. */
  readonly through?: readonly string[];
}

export interface Postern {
  readonly folder: string;
  /** The server's process. */
  readonly server: RunningProgram;
  /** Everything that `postern up` has printed so far. */
  readonly log: string;
  /** Runs a command to its end; a code other than 0 is a result, not an error. */
  postern(args: readonly string[], options?: ProgramOptions): Promise<Finished>;
  /** Starts a command and gives it while it runs. */
  start(args: readonly string[], options?: ProgramOptions): RunningProgram;
  /** `postern apply` of the text; throws with the output where it is refused. */
  apply(yaml: string): Promise<Finished>;
  setSecret(name: string, value: string): Promise<void>;
  /**
   * Ends the server and every command still running, and removes temporary folders. Rejects with a `LeakError` where
   * a secret that was set is found in the data folder, the server's temporary folder, what was printed, or the
   * words and environment of a process.
   */
  stop(): Promise<void>;
}

export async function startPostern(options: StartPosternOptions = {}): Promise<Postern> {
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), "postern-test-")));
  const env = { ...options.env, POSTERN_HOME: folder };
  const up = [POSTERN, "up", "--data", folder, ...(options.args ?? [])];
  const [first, ...rest] = [...(options.through ?? []), ...up] as [string, ...string[]];
  const temporary = await mkdtemp(join(tmpdir(), "postern-tmpdir-"));
  const server = startProgram(first, rest, { env: { TMPDIR: temporary, ...env } });
  const commands = new Set<RunningProgram>();
  const printed: Record<string, string> = {};
  const search = () =>
    searchForLeaks({
      folders: [folder, temporary],
      texts: { ...printed, "output of the server": server.stdout + server.stderr },
    });
  const remove = async () => {
    await rm(temporary, { recursive: true, force: true });
    if (options.folder === undefined) await rm(folder, { recursive: true, force: true });
  };

  let count = 0;
  const start = (args: readonly string[], more: ProgramOptions = {}) => {
    const program = startProgram(POSTERN, args, { ...more, env: { ...env, ...more.env } });
    commands.add(program);
    const place = `output of postern ${args[0] ?? ""} (command ${++count})`;
    program.ended
      .then(({ stdout, stderr }) => (printed[place] = stdout + stderr))
      .finally(() => commands.delete(program))
      .catch(() => {});
    return program;
  };
  const keeper = decisionKeeper(folder);
  const finish = async (args: readonly string[], more?: ProgramOptions) => {
    const result = await start(args, more).ended;
    if (args[0] === "apply" || args[0] === "delete") await keeper?.changed();
    return result;
  };
  const mustSucceed = async (args: readonly string[], input: string) => {
    const result = await finish(args, { input });
    if (result.code === 0) return result;
    throw new Error(`postern ${args.join(" ")} ended with ${result.code}\n${result.stdout}${result.stderr}`);
  };

  try {
    await server.line(isReadyLine);
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    folder,
    server,
    get log() {
      return server.stdout + server.stderr;
    },
    postern: finish,
    start,
    apply: (yaml) => withFile(yaml, (file) => mustSucceed(["apply", "-f", file], "")),
    setSecret: async (name, value) => {
      noteSecret(name, value);
      await mustSucceed(["secret", "set", name], value);
    },
    stop: async () => {
      try {
        // While it runs: processes and temporary files are there to be looked at.
        await search();
      } finally {
        await keeper?.ending();
        await Promise.allSettled([...commands].map((program) => program.stop(2000)));
        await server.stop().catch(() => {});
        try {
          // And once more, with what its end has written.
          await search();
        } finally {
          await remove();
        }
      }
    },
  };
}

function isReadyLine(line: string): boolean {
  return line.startsWith("postern is ready") || line.startsWith('{"ready":');
}

/** A file that lives as long as the call, outside the data folder. */
async function withFile<T>(text: string, use: (file: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "postern-resources-"));
  try {
    const file = join(folder, "resources.yaml");
    await writeFile(file, text);
    return await use(file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
