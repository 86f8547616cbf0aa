// SPDX-License-Identifier: Apache-2.0
/** How does the entry program turn into the agent without leaving a trace of itself? */
import { ERRNO, SYSCALL, SystemCallError, systemCall } from "./native.ts";

const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const CLOSE_RANGE_CLOEXEC = 4;
const LAST_DESCRIPTOR = 0xffffffff;
const SIGKILL = 9;
const SIGSTOP = 19;
const SIG_SETMASK = 2;
const LAST_SIGNAL = 64;

/** Replaces this process; comes back only with the error. */
export function become(
  file: string,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): SystemCallError {
  const environment = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  try {
    systemCall("execve", file, [...argv, null], [...environment, null]);
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    if (error.errno !== ERRNO.ENOEXEC) return error;
    // A script without `#!`: what every shell does (execvp(3)).
    return become("/bin/sh", ["sh", file, ...argv.slice(1)], env);
  }
  throw new Error("execve came back");
}

/** Only 0, 1 and 2 go on, and not in the non-blocking mode that Node may have put them in. */
export function keepStandardStreamsOnly(): void {
  for (const descriptor of [0, 1, 2]) {
    try {
      const flags = systemCall("fcntl", descriptor, F_GETFL, 0);
      if ((flags & O_NONBLOCK) !== 0) systemCall("fcntl", descriptor, F_SETFL, flags & ~O_NONBLOCK);
      systemCall("fcntl", descriptor, 2, 0); // F_SETFD: stay open
    } catch (error) {
      if (!(error instanceof SystemCallError && error.errno === ERRNO.EBADF)) throw error;
    }
  }
  systemCall("close_range", SYSCALL.close_range, 3, LAST_DESCRIPTOR, CLOSE_RANGE_CLOEXEC);
}

/** Default dispositions and an empty mask, as a shell starts its commands. */
export function resetSignals(): void {
  for (let signal = 1; signal <= LAST_SIGNAL; signal++) {
    // 32 and 33 belong to the C library.
    if (signal === SIGKILL || signal === SIGSTOP || signal === 32 || signal === 33) continue;
    // An empty `struct sigaction` is SIG_DFL.
    systemCall("sigaction", signal, Buffer.alloc(152), null);
  }
  systemCall("sigprocmask", SIG_SETMASK, Buffer.alloc(128), null);
}
