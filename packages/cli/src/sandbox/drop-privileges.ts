// SPDX-License-Identifier: Apache-2.0
/** How does a process give up, for itself and everything it starts, what could undo the sandbox? */
import { readFileSync } from "node:fs";
import { addressOf, ERRNO, SYSCALL, SystemCallError, systemCall } from "./native.ts";
import { systemCallFilter } from "./seccomp-filter.ts";

const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;
const PR_SET_SECCOMP = 22;
const PR_CAPBSET_READ = 23;
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
const SECCOMP_MODE_FILTER = 2;
const KEYCTL_JOIN_SESSION_KEYRING = 1;

/** The kernel kills this process when the one that started it ends, however it ends. */
export function dieWithParent(): void {
  systemCall("prctl", PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

/** Set on this thread and kept by `execve`; nothing started later can gain a privilege through setuid files. */
export function forbidNewPrivileges(): void {
  systemCall("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/** Empties all five capability sets. The bounding set goes first: dropping from it takes CAP_SETPCAP. */
export function dropCapabilities(): void {
  const last = Number.parseInt(readFileSync("/proc/sys/kernel/cap_last_cap", "utf8"), 10);
  for (let capability = 0; capability <= last; capability++) {
    if (systemCall("prctl", PR_CAPBSET_READ, capability, 0, 0, 0) === 1) {
      systemCall("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0);
    }
  }
  systemCall("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  const header = Buffer.alloc(8);
  header.writeUInt32LE(0x20080522, 0); // _LINUX_CAPABILITY_VERSION_3, this thread
  systemCall("capset", SYSCALL.capset, header, Buffer.alloc(24), 0);
}

/**
 * Leaves the session keyring of the user's login behind, for what the kernel itself looks up in it. It does not
 * close the user keyring, which belongs to the uid: that is what refusing the key calls is for (`seccomp-filter.ts`).
 * A kernel without keyrings has none to leave.
 */
export function leaveSessionKeyring(): void {
  try {
    systemCall("keyctl", SYSCALL.keyctl, KEYCTL_JOIN_SESSION_KEYRING, null);
  } catch (error) {
    const harmless = [ERRNO.ENOSYS, ERRNO.EPERM, ERRNO.EACCES, ERRNO.EDQUOT];
    if (!(error instanceof SystemCallError && harmless.includes(error.errno))) throw error;
  }
}

/**
 * Installs the filter of `seccomp-filter.ts`, which the agent and all that it starts keep. Unlike a session of its
 * own, refusing to type keeps Ctrl-C and job control as they are.
 */
export function restrictSystemCalls(): void {
  const program = systemCallFilter();
  const header = Buffer.alloc(16);
  header.writeUInt16LE(program.length / 8, 0);
  header.writeBigUInt64LE(addressOf(program), 8);
  systemCall("prctlPointer", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0);
}
