// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { systemCallFilter } from "./seccomp-filter.ts";

const ALLOW = 0x7fff0000;
const EPERM = 0x00050001;

/** Runs a seccomp program, by the rules of classic BPF, on one system call. */
function decide(
  program: Buffer,
  call: { arch: number; nr: number; request: bigint; first?: number },
): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call.nr, 0);
  data.writeUInt32LE(call.arch, 4);
  data.writeUInt32LE(call.first ?? 0, 16);
  data.writeBigUInt64LE(call.request, 24);
  let accumulator = 0;
  for (let at = 0; at * 8 < program.length; at++) {
    const operation = program.readUInt16LE(at * 8);
    const value = program.readUInt32LE(at * 8 + 4);
    if (operation === 0x20) accumulator = data.readUInt32LE(value);
    else if (operation === 0x15) at += program.readUInt8(at * 8 + (accumulator === value ? 2 : 3));
    else return value;
  }
  throw new Error("the program ran past its end");
}

describe("the system call filter", () => {
  const program = systemCallFilter();
  const x64 = 0xc000003e;

  test.each([
    ["x86-64", x64, 16],
    ["x32", x64, 0x40000000 + 514],
    ["i386", 0x40000003, 54],
    ["arm64", 0xc00000b7, 29],
    ["arm", 0x40000028, 54],
  ])("refuses TIOCSTI and TIOCLINUX on %s, also with rubbish in the upper half", (_name, arch, nr) => {
    for (const request of [0x5412n, 0x541cn, 0xffffffff00005412n])
      expect(decide(program, { arch, nr, request })).toBe(EPERM);
    expect(decide(program, { arch, nr, request: 0x5413n })).toBe(ALLOW);
  });

  test.each([
    ["x86-64", x64, [248, 249, 250]],
    ["x32", x64, [0x40000000 + 250]],
    ["i386", 0x40000003, [286, 287, 288]],
    ["arm64", 0xc00000b7, [217, 218, 219]],
    ["arm", 0x40000028, [309, 310, 311]],
  ])("refuses the key calls on %s", (_name, arch, numbers) => {
    for (const nr of numbers) expect(decide(program, { arch, nr, request: 0n })).toBe(EPERM);
  });

  test("lets only the processes before the agent leave the session keyring, and do nothing else with keys", () => {
    const before = systemCallFilter(true);
    expect(decide(before, { arch: x64, nr: 250, request: 0n, first: 1 })).toBe(ALLOW);
    expect(decide(before, { arch: x64, nr: 250, request: 0n, first: 11 })).toBe(EPERM);
    expect(decide(before, { arch: x64, nr: 249, request: 0n, first: 1 })).toBe(EPERM);
    expect(decide(program, { arch: x64, nr: 250, request: 0n, first: 1 })).toBe(EPERM);
  });

  test("lets every other call and processor be", () => {
    expect(decide(program, { arch: x64, nr: 54, request: 0x5412n })).toBe(ALLOW);
    expect(decide(program, { arch: 1, nr: 16, request: 0x5412n })).toBe(ALLOW);
  });
});
