// SPDX-License-Identifier: Apache-2.0
/** Is the process behind the control socket the operator's server, and not an agent that put a socket in its place? */
import { readlinkSync } from "node:fs";
import type { Socket } from "node:net";
import { systemCall } from "./sandbox/native.ts";

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
  try {
    if (readlinkSync(`/proc/${pid}/ns/pid`) !== readlinkSync("/proc/self/ns/pid"))
      return "its process runs inside a sandbox";
  } catch (error) {
    // Root's processes may not be looked at by others, and an agent of this account cannot be root's.
    if (uid === 0 && own !== 0 && (error as NodeJS.ErrnoException).code !== "ENOENT") return undefined;
    return (error as NodeJS.ErrnoException).code === "ENOENT"
      ? "the process that opened it has ended"
      : "its process may not be looked at";
  }
  return undefined;
}
