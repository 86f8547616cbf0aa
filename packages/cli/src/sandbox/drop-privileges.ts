// SPDX-License-Identifier: Apache-2.0
/** How does a process give up, for itself and everything it starts, what could undo the sandbox? */
import { readFileSync } from "node:fs";
import { addressOf, ERRNO, SYSCALL, SystemCallError, systemCall } from "./native.ts";

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
 * Leaves the session keyring of the user's login behind: kernel keys (Kerberos tickets, file system keys) would
 * otherwise stay readable. A kernel without keyrings has none to leave.
 */
export function leaveSessionKeyring(): void {
  try {
    systemCall("keyctl", SYSCALL.keyctl, KEYCTL_JOIN_SESSION_KEYRING, null);
  } catch (error) {
    const harmless = [ERRNO.ENOSYS, ERRNO.EPERM, ERRNO.EACCES, ERRNO.EDQUOT];
    if (!(error instanceof SystemCallError && harmless.includes(error.errno))) throw error;
  }
}

const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;

/** `ioctl` by the processor that the call is made for; x32 shares the number space of x86-64. */
const IOCTL_NUMBERS: readonly { readonly audit: number; readonly numbers: readonly number[] }[] = [
  { audit: 0xc000003e, numbers: [16, 0x40000000 + 514, 0x40000000 + 16] },
  { audit: 0x40000003, numbers: [54] },
  { audit: 0xc00000b7, numbers: [29] },
  { audit: 0x40000028, numbers: [54] },
];

/**
 * Refuses TIOCSTI and TIOCLINUX, with which an agent could type into the terminal that it shares with the user and
 * so run commands outside. Unlike a session of its own, this keeps Ctrl-C and job control as they are.
 */
export function forbidTypingIntoTerminal(): void {
  const program = terminalFilter();
  const header = Buffer.alloc(16);
  header.writeUInt16LE(program.length / 8, 0);
  header.writeBigUInt64LE(addressOf(program), 8);
  systemCall("prctlPointer", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0);
}

/** Classic BPF over `struct seccomp_data` (nr at 0, arch at 4, args[1] at 24). */
export function terminalFilter(): Buffer {
  const LOAD = 0x20;
  const JUMP_EQUAL = 0x15;
  const RETURN = 0x06;
  const ALLOW = 0x7fff0000;
  const ERRNO_EPERM = 0x00050001;
  const code: number[][] = [[LOAD, 0, 0, 4]];
  const toCheck: number[] = [];
  for (const { audit, numbers } of IOCTL_NUMBERS) {
    code.push([JUMP_EQUAL, 0, numbers.length + 2, audit], [LOAD, 0, 0, 0]);
    for (const number of numbers) {
      toCheck.push(code.length);
      code.push([JUMP_EQUAL, 0, 0, number]);
    }
    code.push([RETURN, 0, 0, ALLOW]);
  }
  code.push([RETURN, 0, 0, ALLOW]);
  for (const at of toCheck) code[at]![1] = code.length - at - 1;
  // The kernel looks at the low 32 bits of the request only, so the filter does the same (CVE-2019-10063).
  code.push([LOAD, 0, 0, 24], [JUMP_EQUAL, 1, 0, TIOCSTI], [JUMP_EQUAL, 0, 1, TIOCLINUX]);
  code.push([RETURN, 0, 0, ERRNO_EPERM], [RETURN, 0, 0, ALLOW]);
  return encode(code);
}

function encode(code: readonly (readonly number[])[]): Buffer {
  const program = Buffer.alloc(code.length * 8);
  for (const [index, [operation = 0, yes = 0, no = 0, value = 0]] of code.entries()) {
    program.writeUInt16LE(operation, index * 8);
    program.writeUInt8(yes, index * 8 + 2);
    program.writeUInt8(no, index * 8 + 3);
    program.writeUInt32LE(value, index * 8 + 4);
  }
  return program;
}
