// SPDX-License-Identifier: Apache-2.0
/**
 * Which system calls does the entry program need that Node does not offer? (Linux, x64 and arm64)
 *
 * Every binding is synchronous and runs on the main thread: privileges, seccomp filters and signal masks
 * belong to a thread, and `execve` keeps those of the thread that calls it.
 */
import koffi from "koffi";

const libc = koffi.load(null);

/** A failed system call: `errno` is the number, `message` names the call. */
export class SystemCallError extends Error {
  readonly errno: number;

  constructor(call: string, errno: number) {
    super(`${call}: ${errorName(errno)}`);
    this.name = "SystemCallError";
    this.errno = errno;
  }
}

export const ERRNO: Readonly<Record<string, number>> = koffi.os.errno;

export function errorName(errno: number): string {
  return Object.entries(koffi.os.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
}

type NativeArgument = number | bigint | string | null | Buffer | readonly (string | null)[];
type Native = (...values: NativeArgument[]) => number;

const declare = (name: string, parameters: string[]): Native => libc.func(name, "int", parameters) as Native;

const raw = {
  bind: declare("bind", ["int", "void *", "uint32"]),
  close_range: declare("syscall", ["long", "uint32", "uint32", "uint32"]),
  connect: declare("connect", ["int", "void *", "uint32"]),
  execve: declare("execve", ["const char *", "const char **", "const char **"]),
  fcntl: declare("fcntl", ["int", "int", "long"]),
  getsockname: declare("getsockname", ["int", "void *", "void *"]),
  getsockopt: declare("getsockopt", ["int", "int", "int", "void *", "void *"]),
  ioctl: declare("ioctl", ["int", "ulong", "void *"]),
  listen: declare("listen", ["int", "int"]),
  mount: declare("mount", ["const char *", "const char *", "const char *", "ulong", "const char *"]),
  mount_setattr: declare("syscall", ["long", "int", "const char *", "uint32", "void *", "size_t"]),
  pidfd_open: declare("syscall", ["long", "int", "uint32"]),
  prctl: declare("prctl", ["int", "ulong", "ulong", "ulong", "ulong"]),
  prctlPointer: declare("prctl", ["int", "ulong", "void *", "ulong", "ulong"]),
  recv: declare("recv", ["int", "void *", "size_t", "int"]),
  sendmsg: declare("sendmsg", ["int", "void *", "int"]),
  setsockopt: declare("setsockopt", ["int", "int", "int", "void *", "uint32"]),
  sigaction: declare("sigaction", ["int", "void *", "void *"]),
  sigprocmask: declare("sigprocmask", ["int", "void *", "void *"]),
  socket: declare("socket", ["int", "int", "int"]),
  capset: declare("syscall", ["long", "void *", "void *", "ulong"]),
  keyctl: declare("syscall", ["long", "int", "void *"]),
};

export type SystemCall = keyof typeof raw;

/** Calls `name`; -1 becomes a `SystemCallError`. */
export function systemCall(name: SystemCall, ...values: NativeArgument[]): number {
  const result = raw[name](...values);
  if (result === -1) throw new SystemCallError(name, koffi.errno());
  return result;
}

/** Address of the bytes of a buffer; the caller keeps the buffer alive during the call. */
export const addressOf = (buffer: Buffer): bigint => koffi.address(buffer);

/** Numbers that differ between the two supported processors. */
export const SYSCALL =
  process.arch === "arm64"
    ? { capset: 91, keyctl: 219, pidfd_open: 434, close_range: 436, mount_setattr: 442 }
    : { capset: 126, keyctl: 250, pidfd_open: 434, close_range: 436, mount_setattr: 442 };
