// SPDX-License-Identifier: Apache-2.0
/** What does /proc say about a process? Everything here may be outdated a moment later: `identify-caller` rechecks. */
import { readdirSync, readFileSync, readlinkSync, statSync, type BigIntStats } from "node:fs";
import { readdir, readFile } from "node:fs/promises";

/** Reads that fail because the process ended, or because it is not ours to read, give undefined. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

export interface ProcessStat {
  readonly parent: number;
  /** Clock ticks since boot; with the pid it names one process, unlike the pid alone. */
  readonly startTime: bigint;
  /** Id of the process session: all that was started from one terminal, or by one service. */
  readonly session: number;
}

export function readStat(pid: number): ProcessStat | undefined {
  const text = readText(`/proc/${pid}/stat`);
  return text === undefined ? undefined : parseStat(text);
}

/**
 * As UTF-8, which Node reads in one step. Names of processes and groups may hold other bytes; each becomes U+FFFD, and an
 * ASCII byte behind it, such as the end of a line, stays what it is.
 */
const readText = (path: string): string | undefined => attempt(() => readFileSync(path, "utf8"));

/** `/proc/PID/stat`; a zombie counts as gone. The name in it may hold spaces, brackets and line ends. */
export function parseStat(text: string): ProcessStat | undefined {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, parent, , session] = fields;
  const startTime = fields[19];
  if (state === "Z" || state === "X" || parent === undefined || startTime === undefined) return undefined;
  return { parent: Number(parent), startTime: BigInt(startTime), session: Number(session) };
}

/** Such as `pid:[4026531836]`. Undefined where it cannot be read. */
export const readNamespace = (pid: number | "self", kind: "net" | "pid" | "mnt"): string | undefined =>
  attempt(() => readlinkSync(`/proc/${pid}/ns/${kind}`));

export function listProcesses(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Inode of a socket descriptor of this process. */
export const socketInode = (descriptor: number): string | undefined =>
  attempt(() => /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${descriptor}`))?.[1]);

/** Names of the open descriptors of a process; none where they cannot be read. */
export const listDescriptors = (pid: number): Promise<string[]> => readdir(`/proc/${pid}/fd`).catch(() => []);

/** Inode of the socket at a descriptor; undefined where there is none. */
export function socketAt(pid: number, descriptor: string): string | undefined {
  const link = attempt(() => readlinkSync(`/proc/${pid}/fd/${descriptor}`));
  return link?.startsWith("socket:[") === true ? link.slice(8, -1) : undefined;
}

/** Whether the process has this socket anywhere: for the rare case in which it is not where it was. */
export function holdsSocket(pid: number, inode: string): boolean {
  const names = attempt(() => readdirSync(`/proc/${pid}/fd`)) ?? [];
  return names.some((name) => socketAt(pid, name) === inode);
}

/** How many descriptors this server may have; Node raises it to the hard limit when it starts. */
export function descriptorLimit(): number {
  const text = attempt(() => readFileSync("/proc/self/limits", "latin1")) ?? "";
  const soft = /^Max open files\s+(\d+)/m.exec(text)?.[1];
  return soft === undefined ? Number.MAX_SAFE_INTEGER : Number(soft);
}

export interface Credentials {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Effective user and group, as this server's user namespace sees them: those of the folder `/proc/PID`, which the kernel
 * keeps so for whoever wants nothing else (fs/proc/base.c, `task_dump_owner`). No text that a process could write into.
 */
export function readCredentials(pid: number): Credentials | undefined {
  const folder = attempt(() => statSync(`/proc/${pid}`));
  return folder === undefined ? undefined : { uid: folder.uid, gid: folder.gid };
}

/** All lines: one of version 2, and one for each hierarchy of version 1. */
export const readCgroupText = (pid: number): string | undefined => readText(`/proc/${pid}/cgroup`);

export function readCgroup(pid: number): string | undefined {
  const text = readCgroupText(pid);
  return text === undefined ? undefined : parseCgroup(text);
}

/**
 * Path in the unified hierarchy, or of the systemd hierarchy on older machines. Names of groups hold no line feed; any
 * other character may stand in them.
 */
export function parseCgroup(text: string): string | undefined {
  const lines = text.split("\n");
  const after = (start: RegExp) => lines.find((line) => start.test(line))?.replace(start, "");
  return after(/^0::/) ?? after(/^\d+:name=systemd:/);
}

export interface Executable {
  /** As the kernel gives it. A process that made its own mounts chooses what stands here: see `pathVerified`. */
  readonly path: string;
  /** The file was removed or replaced after the process started from it. */
  readonly deleted: boolean;
  /** In this server's own view the path leads to the very file that the process runs. */
  readonly pathVerified: boolean;
  /** Device, inode, size and times: two equal keys are the same unchanged file. */
  readonly fileKey: string;
}

const DELETED = " (deleted)";

/** What a process runs, before anything is made of it: as long as both stay the same, it runs the same unchanged file. */
export interface RunningFile {
  readonly link: string;
  readonly file: BigIntStats;
  readonly fileKey: string;
}

export function readRunningFile(pid: number): RunningFile | undefined {
  const link = attempt(() => readlinkSync(`/proc/${pid}/exe`));
  const file = statOf(`/proc/${pid}/exe`);
  return link === undefined || file === undefined ? undefined : { link, file, fileKey: fileKey(file) };
}

/** The same as `fileKey` of the file that it runs, for whoever needs nothing else. */
export function readFileKey(pid: number): string | undefined {
  const file = statOf(`/proc/${pid}/exe`);
  return file === undefined ? undefined : fileKey(file);
}

const statOf = (path: string): BigIntStats | undefined => attempt(() => statSync(path, { bigint: true }));

export function executableOf({ link, file, fileKey: key }: RunningFile): Executable {
  const atPath = statOf(link);
  const pathVerified = atPath?.dev === file.dev && atPath.ino === file.ino;
  const deleted = !pathVerified && link.endsWith(DELETED);
  return { path: deleted ? link.slice(0, -DELETED.length) : link, deleted, pathVerified, fileKey: key };
}

export const fileKey = (file: BigIntStats): string =>
  [file.dev, file.ino, file.size, file.mtimeNs, file.ctimeNs].join(":");

/** A row of `/proc/net/tcp`: addresses in the kernel's hexadecimal form. */
export interface TcpRow {
  readonly local: string;
  readonly remote: string;
  readonly listening: boolean;
  /** "0" where no process holds the socket any more. */
  readonly inode: string;
}

/** The TCP sockets of the network namespace that `pid` is in. */
export async function readTcpTable(pid: number, family: "tcp" | "tcp6"): Promise<string> {
  return readFile(`/proc/${pid}/net/${family}`, "latin1").catch(() => "");
}

/** The rows of a table, cut as they are asked for because it may be long. */
export function* tcpRows(table: string): Generator<TcpRow> {
  for (let start = table.indexOf("\n") + 1; start > 0 && start < table.length;) {
    const end = table.indexOf("\n", start);
    const fields = table
      .slice(start, end < 0 ? undefined : end)
      .trim()
      .split(/ +/);
    const [, local, remote, state] = fields;
    const inode = fields[9];
    if (local !== undefined && remote !== undefined && inode !== undefined) {
      yield { local, remote, listening: state === "0A", inode };
    }
    start = end < 0 ? -1 : end + 1;
  }
}

/** `127.0.0.1`, 80 → `0100007F:0050`: the address in host order (little-endian), the port as a number. */
export function tcpTableAddress(address: string, port: number): string {
  const bytes = address.split(".").map(Number).toReversed();
  return (
    bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("") +
    ":" +
    port.toString(16).padStart(4, "0")
  ).toUpperCase();
}

/** How an IPv6 socket shows the same IPv4 address (`::ffff:127.0.0.1`; what Java uses): word by word in host order. */
export const mappedTcpTableAddress = (address: string, port: number): string =>
  "0000000000000000FFFF0000" + tcpTableAddress(address, port);
