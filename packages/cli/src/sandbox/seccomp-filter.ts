// SPDX-License-Identifier: Apache-2.0
/**
 * Which system calls are refused to everything in a run, as a classic BPF program for `seccomp(2)`?
 *
 * TIOCSTI and TIOCLINUX, with which an agent could type into the terminal that it shares with the user and so run
 * commands outside; and the calls for kernel keys (Kerberos tickets, file system keys), which follow the uid and
 * know no namespace.
 */

const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;
const KEYCTL_JOIN_SESSION_KEYRING = 1;

/** Numbers by the processor that the call is made for; x32 shares the number space of x86-64. */
const NUMBERS: readonly {
  readonly audit: number;
  readonly ioctl: readonly number[];
  /** add_key, request_key */
  readonly keys: readonly number[];
  readonly keyctl: readonly number[];
}[] = [
  {
    audit: 0xc000003e,
    ioctl: [16, 0x40000000 + 514, 0x40000000 + 16],
    keys: [248, 249, 0x40000000 + 248, 0x40000000 + 249],
    keyctl: [250, 0x40000000 + 250],
  },
  { audit: 0x40000003, ioctl: [54], keys: [286, 287], keyctl: [288] },
  { audit: 0xc00000b7, ioctl: [29], keys: [217, 218], keyctl: [219] },
  { audit: 0x40000028, ioctl: [54], keys: [309, 310], keyctl: [311] },
];

const LOAD = 0x20;
const JUMP_EQUAL = 0x15;
const RETURN = 0x06;
const ALLOW = 0x7fff0000;
const ERRNO_EPERM = 0x00050001;

/** Offsets in `struct seccomp_data`. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const FIRST_ARGUMENT = 16;
const SECOND_ARGUMENT = 24;

/** `mayLeaveKeyring` is for the processes before the agent: they leave the session keyring of the login. */
export function systemCallFilter(mayLeaveKeyring = false): Buffer {
  const code: number[][] = [[LOAD, 0, 0, ARCHITECTURE]];
  const jumps: { at: number; to: "ioctl" | "keys" | "keyctl" }[] = [];
  for (const { audit, ...numbers } of NUMBERS) {
    const kinds = ["ioctl", "keys", "keyctl"] as const;
    const length = kinds.reduce((sum, kind) => sum + numbers[kind].length, 0);
    code.push([JUMP_EQUAL, 0, length + 2, audit], [LOAD, 0, 0, NUMBER]);
    for (const to of kinds)
      for (const number of numbers[to]) {
        jumps.push({ at: code.length, to });
        code.push([JUMP_EQUAL, 0, 0, number]);
      }
    code.push([RETURN, 0, 0, ALLOW]);
  }
  code.push([RETURN, 0, 0, ALLOW]);
  const targets = { ioctl: code.length, keyctl: code.length + 4, keys: code.length + 6 };
  // The kernel looks at the low 32 bits of the request only, so the filter does the same (CVE-2019-10063).
  code.push([LOAD, 0, 0, SECOND_ARGUMENT], [JUMP_EQUAL, 4, 0, TIOCSTI], [JUMP_EQUAL, 3, 0, TIOCLINUX]);
  code.push([RETURN, 0, 0, ALLOW]);
  code.push([LOAD, 0, 0, FIRST_ARGUMENT]);
  code.push([JUMP_EQUAL, mayLeaveKeyring ? 1 : 0, 0, KEYCTL_JOIN_SESSION_KEYRING]);
  code.push([RETURN, 0, 0, ERRNO_EPERM], [RETURN, 0, 0, ALLOW]);
  for (const { at, to } of jumps) code[at]![1] = targets[to] - at - 1;
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
