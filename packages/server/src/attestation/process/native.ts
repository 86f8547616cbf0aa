// SPDX-License-Identifier: Apache-2.0
/**
 * What does the kernel say about the process at the other end of a socket, and who may look into this one?
 * (Linux, x64 and arm64)
 *
 * The only place of the server with native calls. The library is loaded with the first call, so that a server that
 * attests no local process needs none.
 */
import { createRequire } from "node:module";
import type { Socket } from "node:net";

const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_PEERCRED = 17;
const SO_ACCEPTCONN = 30;
const SO_DOMAIN = 39;
const SO_PEERPIDFD = 77;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 0x8;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SYS_PIDFD_OPEN = 434;
const POLLIN = 1;
const PR_SET_DUMPABLE = 4;
const RLIMIT_CORE = 4;

/** Length of `struct cmsghdr` with one descriptor: no room for a second one, so the kernel keeps those back. */
const ONE_DESCRIPTOR = 20;

interface Native {
  getsockopt(fd: number, level: number, name: number, value: Buffer, length: Buffer): number;
  recvmsg(fd: number, message: Buffer, flags: number): number;
  poll(entries: Buffer, count: number, timeout: number): number;
  close(fd: number): number;
  pidfdOpen(number: number, pid: number, flags: number): number;
  prctl(option: number, value: number, ...unused: [number, number, number]): number;
  setrlimit(resource: number, limits: Buffer): number;
  addressOf(buffer: Buffer): bigint;
  errno(): number;
  readonly EAGAIN: number;
}

let loaded: Native | undefined;

function native(): Native {
  loaded ??= load();
  return loaded;
}

function load(): Native {
  const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi").default;
  const libc = koffi.load(null);
  const int = (name: string, parameters: string[]) => libc.func(name, "int", parameters);
  return {
    getsockopt: int("getsockopt", ["int", "int", "int", "void *", "void *"]),
    recvmsg: libc.func("recvmsg", "long", ["int", "void *", "int"]),
    poll: int("poll", ["void *", "ulong", "int"]),
    close: int("close", ["int"]),
    pidfdOpen: int("syscall", ["long", "int", "uint32"]),
    prctl: int("prctl", ["int", "ulong", "ulong", "ulong", "ulong"]),
    setrlimit: int("setrlimit", ["int", "void *"]),
    addressOf: (buffer) => koffi.address(buffer),
    errno: () => koffi.errno(),
    EAGAIN: koffi.os.errno.EAGAIN!,
  };
}

/**
 * From here on nothing of this process's memory goes into a core file, and no process of the same account may read
 * its memory or environment, or trace it (`PR_SET_DUMPABLE`, prctl(2)); root still may. The limit alone would not
 * do: the kernel does not ask it where core files go to a program (core(5)).
 *
 * @throws {Error} where the kernel refuses: a server whose memory lies open does not start
 */
export function protectMemory(): void {
  if (process.platform !== "linux") return;
  const { prctl, setrlimit } = native();
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) !== 0 || setrlimit(RLIMIT_CORE, Buffer.alloc(16)) !== 0)
    throw new Error("the kernel does not keep others from reading the server's memory");
}

/** Descriptor of a socket that Node holds; undefined once it is closed. */
export function descriptorOf(socket: Socket): number | undefined {
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null };
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined;
}

function socketOption(fd: number, name: number, size: number): Buffer | undefined {
  const value = Buffer.alloc(size);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(size, 0);
  return native().getsockopt(fd, SOL_SOCKET, name, value, length) === 0 ? value : undefined;
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** SO_PEERCRED: who connected a Unix socket. A pid of 0 is a process that this server cannot see. */
export function peerCredentials(fd: number): PeerCredentials | undefined {
  const value = socketOption(fd, SO_PEERCRED, 12);
  if (value === undefined) return undefined;
  return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
}

/** SO_PEERPIDFD (Linux 6.5): a handle on exactly the process that connected. Undefined on older kernels. */
export function peerProcessHandle(fd: number): number | undefined {
  return socketOption(fd, SO_PEERPIDFD, 4)?.readInt32LE(0);
}

/** Whether `fd` is a listening IPv4 stream socket. */
export function isTcpListener(fd: number): boolean {
  const option = (name: number) => socketOption(fd, name, 4)?.readInt32LE(0);
  return option(SO_DOMAIN) === 2 && option(SO_TYPE) === 1 && option(SO_ACCEPTCONN) === 1;
}

/** `pidfd_open(2)`: a handle that stays with this process whatever becomes of its number. */
export function openProcess(pid: number): number | undefined {
  // The kernel marks it to be closed on exec by itself.
  const pidfd = native().pidfdOpen(SYS_PIDFD_OPEN, pid, 0);
  return pidfd === -1 ? undefined : pidfd;
}

/** False once the process of this handle has ended, also while nobody has waited for it. */
export function isAlive(pidfd: number): boolean {
  const entry = Buffer.alloc(8); // struct pollfd
  entry.writeInt32LE(pidfd, 0);
  entry.writeInt16LE(POLLIN, 4);
  return native().poll(entry, 1, 0) === 0;
}

export function closeDescriptor(fd: number): void {
  native().close(fd);
}

export type Received =
  | { readonly kind: "nothing-yet" }
  | { readonly kind: "ended" }
  | { readonly kind: "message"; readonly bytes: Buffer; readonly descriptor?: number };

/**
 * One `recvmsg(2)` without waiting, with at most one descriptor.
 *
 * Descriptors beyond the first are never installed, because there is no room for them; such a message counts as
 * ended, and the first descriptor is closed.
 */
export function receiveDescriptor(fd: number, limit: number): Received {
  const bytes = Buffer.alloc(limit);
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(native().addressOf(bytes), 0);
  vector.writeBigUInt64LE(BigInt(limit), 8);
  const control = Buffer.alloc(24);
  const message = Buffer.alloc(56);
  message.writeBigUInt64LE(native().addressOf(vector), 16);
  message.writeBigUInt64LE(1n, 24);
  message.writeBigUInt64LE(native().addressOf(control), 32);
  message.writeBigUInt64LE(BigInt(ONE_DESCRIPTOR), 40);
  const length = native().recvmsg(fd, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (length === -1)
    return native().errno() === native().EAGAIN ? { kind: "nothing-yet" } : { kind: "ended" };
  const descriptor = descriptorIn(control, Number(message.readBigUInt64LE(40)));
  if ((message.readInt32LE(48) & MSG_CTRUNC) !== 0 || length === 0) {
    if (descriptor !== undefined) closeDescriptor(descriptor);
    return { kind: "ended" };
  }
  return {
    kind: "message",
    bytes: bytes.subarray(0, length),
    ...(descriptor === undefined ? {} : { descriptor }),
  };
}

function descriptorIn(control: Buffer, length: number): number | undefined {
  if (length < ONE_DESCRIPTOR) return undefined;
  if (control.readInt32LE(8) !== SOL_SOCKET || control.readInt32LE(12) !== SCM_RIGHTS) return undefined;
  return control.readInt32LE(16);
}
