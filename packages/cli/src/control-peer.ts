// SPDX-License-Identifier: Apache-2.0
/** Is the process behind the control socket the operator's server, and not an agent that put a socket in its place? */
import { closeSync, readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { SYSCALL, systemCall } from "./sandbox/native.ts";

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

/**
 * Why nothing may be sent to it; undefined where it may. A process inside a run lives in a process namespace of its
 * own, in which an agent cannot make a listener look like one of the outside (`unix(7)`, SO_PEERCRED).
 */
export function distrustOf(socket: Socket): string | undefined {
  if (process.platform !== "linux") return undefined;
  const descriptor = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd;
  if (descriptor === undefined || descriptor < 0) return "its process cannot be told";
  const credentials = Buffer.alloc(12); // struct ucred: pid, uid, gid
  const length = Buffer.alloc(4);
  length.writeUInt32LE(credentials.length, 0);
  systemCall("getsockopt", descriptor, SOL_SOCKET, SO_PEERCRED, credentials, length);
  return judgePeer(credentials.readInt32LE(0), credentials.readUInt32LE(4));
}

export function judgePeer(pid: number, uid: number): string | undefined {
  const own = process.getuid!();
  if (uid !== own && uid !== 0 && own !== 0) return `it belongs to user ${uid}`;
  if (pid === 0) return "its process is outside of this process namespace";
  const depth = namespaceDepth(pid);
  if (depth === undefined) return "its process has ended";
  return depth === 1 && namespaceDepth(process.pid) === 1 ? undefined : "its process runs inside a sandbox";
}

/**
 * At how many levels of process namespaces, from this one down, the process lives: at 1 it is a neighbour, below it is
 * in a sandbox. Asked of a handle, because `/proc/PID/ns` of a server that keeps others out of its memory is shown to
 * root only (proc(5)).
 */
function namespaceDepth(pid: number): number | undefined {
  let handle: number | undefined;
  try {
    handle = systemCall("pidfd_open", SYSCALL.pidfd_open, pid, 0);
    const [, numbers = ""] =
      /^NSpid:(.*)$/m.exec(readFileSync(`/proc/self/fdinfo/${handle}`, "latin1")) ?? [];
    const found = numbers.trim().split(/\s+/).map(Number);
    // 0 or -1: it lives outside of what this namespace sees, or has just ended.
    return found.some((number) => !(number > 0)) ? undefined : found.length;
  } catch {
    return undefined;
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}
