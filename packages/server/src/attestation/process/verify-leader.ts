// SPDX-License-Identifier: Apache-2.0
/** Is the process that launches a run what the operator asked for, and is its gate really its own? */
import { ok, refuse, type Result } from "../../kernel/result.ts";
import type { RunProcesses } from "./membership.ts";
import { isAlive, isTcpListener, type PeerCredentials } from "./native.ts";
import { readNamespace, readStat, readTcpTable, socketInode, tcpRows } from "./proc.ts";

export interface Leader {
  readonly processes: RunProcesses;
  /** Port of the gate on 127.0.0.1 of the leader's network. */
  readonly port: number;
}

const LOOPBACK = "0100007F:";

/** `pidfd` is a handle on `peer.pid` that was opened before anything is read here. */
export async function verifyLeader(
  peer: PeerCredentials,
  pidfd: number,
  listener: number,
  expected: { readonly uid: number; readonly isolated: boolean },
): Promise<Result<Leader, string>> {
  if (peer.uid !== expected.uid) return refuse("the run was opened for another user");
  const stat = readStat(peer.pid);
  if (stat === undefined || !isAlive(pidfd)) return refuse("the launching process has ended");
  const leader = { pid: peer.pid, startTime: stat.startTime };
  const gate = await gateOf(peer.pid, listener);
  if (!gate.ok) return gate;
  if (!expected.isolated) return ok({ processes: { leader, pidNamespace: undefined }, port: gate.value });
  const own = sharedNamespace(peer.pid);
  if (own !== undefined) return refuse(own);
  const pidNamespace = readNamespace(peer.pid, "pid")!;
  if (!isAlive(pidfd)) return refuse("the launching process has ended");
  return ok({ processes: { leader, pidNamespace }, port: gate.value });
}

/**
 * The listener must be a TCP socket on 127.0.0.1 in the leader's network namespace. The table of that namespace
 * says all three at once, because a socket's inode is unique in the kernel; it takes no privilege to read.
 */
async function gateOf(pid: number, listener: number): Promise<Result<number, string>> {
  const inode = socketInode(listener);
  if (inode === undefined || !isTcpListener(listener))
    return refuse("the launch message carries no TCP listener");
  const rows = [...tcpRows(await readTcpTable(pid, "tcp"))];
  const row = rows.find((each) => each.inode === inode && each.listening);
  if (row === undefined) return refuse("the listener is not in the network of the launching process");
  if (!row.local.startsWith(LOOPBACK)) return refuse("the listener is not on 127.0.0.1");
  return ok(Number.parseInt(row.local.slice(LOOPBACK.length), 16));
}

/** A sentence about the first namespace that the process shares with this server. */
function sharedNamespace(pid: number): string | undefined {
  for (const kind of ["net", "pid", "mnt"] as const) {
    const theirs = readNamespace(pid, kind);
    if (theirs === undefined) return `the ${kind} namespace of the launching process cannot be read`;
    if (theirs === readNamespace("self", kind))
      return `the launching process is not isolated: it shares the server's ${kind} namespace`;
  }
  return undefined;
}
