// SPDX-License-Identifier: Apache-2.0
/**
 * Which process is at the other end of a connection to a run's gate or door, and does it belong to the run?
 *
 * The order makes the answer hold for one process: a handle on it first (pidfd), then the facts, then the same
 * facts once more while the handle says that it still lives. A reused process number, an exec in between or a
 * socket passed on shows as a difference, and the caller is refused.
 */
import { FairTurns } from "../../kernel/fair-turns.ts";
import { ok, refuse, type Result } from "../../kernel/result.ts";
import type { ExecutableHashes } from "./hash-executable.ts";
import type { ConnectionAddresses, HolderSearch } from "./find-holders.ts";
import { belongsTo, type RunProcesses } from "./membership.ts";
import { closeDescriptor, isAlive, openProcess } from "./native.ts";
import {
  executableOf,
  holdsSocket,
  type ProcessStat,
  readCgroup,
  readCredentials,
  readFileKey,
  readRunningFile,
  readStat,
  socketAt,
} from "./proc.ts";

/** What the kernel says about one process, at the moment of asking. */
export interface ProcessFacts {
  readonly pid: number;
  readonly startTime: bigint;
  readonly uid: number;
  readonly gid: number;
  readonly path: string;
  /** False where a process chose what its path says, by mounts of its own, or the file was replaced. */
  readonly pathVerified: boolean;
  readonly deleted: boolean;
  readonly cgroup: string | undefined;
  /** Names the unchanged executable file. */
  readonly fileKey: string;
  /** Computed when first asked for. */
  sha256(): Promise<Result<string, string>>;
}

export interface RunFacts {
  readonly id: string;
  readonly isolated: boolean;
  /** Agent that the operator named when opening the run. */
  readonly agent?: string;
}

export interface CallerFacts {
  /** Absent for a process that no run was opened for. */
  readonly run: RunFacts | undefined;
  readonly transport: "tcp" | "unix";
  /** Every process that holds the connection; at least one. */
  readonly processes: readonly ProcessFacts[];
  /** Whether all of them still live and still run the same executables: cheap enough for every request. */
  stillHolds(): boolean;
}

/** Who may call at all. */
export interface CallerBounds {
  readonly run: RunFacts | undefined;
  readonly hashes: ExecutableHashes;
  /** Why this process may not; undefined where it may. */
  strangerProblem(pid: number, stat: ProcessStat | undefined): string | undefined;
}

export interface CallerSearch extends CallerBounds {
  readonly run: RunFacts;
  readonly holders: HolderSearch;
}

/** For the connections of one run. */
export const searchIn = (
  run: RunFacts,
  processes: RunProcesses,
  holders: HolderSearch,
  hashes: ExecutableHashes,
): CallerSearch => ({
  ...{ run, holders, hashes },
  strangerProblem: (pid, stat) =>
    belongsTo(pid, processes, stat) ? undefined : "the caller does not belong to the run",
});

/** Reading a process takes some fifteen system calls: a run that opens thousands of connections waits for itself. */
const turns = new FairTurns(8);

/** The caller of a TCP connection: all processes of the run that hold the client's socket. */
export async function identifyTcpCaller(
  search: CallerSearch,
  addresses: ConnectionAddresses,
): Promise<Result<CallerFacts, string>> {
  const held = await search.holders.find(addresses);
  if (!held.ok) return held;
  const { inode, holders } = held.value;
  const processes: ProcessFacts[] = [];
  for (const { pid, descriptor } of holders) {
    // eslint-disable-next-line no-await-in-loop
    await turns.take(search.run.id);
    const facts = readFacts(
      pid,
      search,
      () => socketAt(pid, descriptor) === inode || holdsSocket(pid, inode),
    );
    // A holder that let go in between is nobody's caller; the others are asked all the same.
    if (facts === "let-go") continue;
    if (typeof facts === "string") return refuse(facts);
    processes.push(facts);
  }
  return processes.length === 0
    ? refuse("the caller let go of the connection meanwhile")
    : ok(callerFacts(search.run, "tcp", processes));
}

/** The caller of a Unix connection: the process that connected, which the kernel noted down (SO_PEERCRED). */
export async function identifyUnixCaller(
  search: CallerBounds,
  peer: { readonly pid: number; readonly uid: number; readonly pidfd: number | undefined },
): Promise<Result<CallerFacts, string>> {
  if (peer.pid <= 0) return refuse("the caller is outside of what this server can see");
  // Without a handle the number could be another process's by then.
  if (peer.pidfd !== undefined) await turns.take(search.run?.id ?? `uid:${peer.uid}`);
  const facts = readFacts(peer.pid, search, () => peer.pidfd === undefined || isAlive(peer.pidfd));
  if (facts === "let-go") return refuse("the caller ended before it could be identified");
  return typeof facts === "string" ? refuse(facts) : ok(callerFacts(search.run, "unix", [facts]));
}

/**
 * A process that somebody else names by its number: whoever has the number now. Nobody who gets it later, as long as
 * `stillHolds` is asked.
 */
export async function identifyNamedProcess(
  bounds: CallerBounds,
  pid: number,
  asker: string,
): Promise<Result<CallerFacts, { readonly isGone: boolean; readonly reason: string }>> {
  await turns.take(asker);
  const facts = readFacts(pid, bounds, () => true);
  if (facts === "let-go") return refuse({ isGone: true, reason: "there is no such process" });
  return typeof facts === "string"
    ? refuse({ isGone: false, reason: facts })
    : ok(callerFacts(undefined, "unix", [facts]));
}

function readFacts(
  pid: number,
  { strangerProblem, hashes }: CallerBounds,
  stillConnected: () => boolean,
): ProcessFacts | "let-go" | (string & {}) {
  const pidfd = openProcess(pid);
  if (pidfd === undefined) return "let-go";
  try {
    const stat = readStat(pid);
    const credentials = readCredentials(pid);
    const file = readRunningFile(pid);
    const executable = file === undefined ? undefined : executableOf(file);
    const cgroup = readCgroup(pid);
    const stranger = strangerProblem(pid, stat);
    const after = readRunningFile(pid);
    if (!stillConnected() || !isAlive(pidfd)) return "let-go";
    if (stranger !== undefined) return stranger;
    if (stat === undefined || credentials === undefined || executable === undefined) {
      return "the caller's process cannot be read by this server";
    }
    if (after?.fileKey !== file?.fileKey || after?.link !== file?.link) {
      return "the caller started another program meanwhile";
    }
    const sha256 = () => hashes.hash(pid, executable.fileKey);
    return { pid, startTime: stat.startTime, ...credentials, ...executable, cgroup, sha256 };
  } finally {
    closeDescriptor(pidfd);
  }
}

function callerFacts(
  run: RunFacts | undefined,
  transport: CallerFacts["transport"],
  processes: readonly ProcessFacts[],
): CallerFacts {
  const unchanged = ({ pid, startTime, fileKey }: ProcessFacts) =>
    readStat(pid)?.startTime === startTime && readFileKey(pid) === fileKey;
  return { run, transport, processes, stillHolds: () => processes.every(unchanged) };
}
