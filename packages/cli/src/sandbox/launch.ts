// SPDX-License-Identifier: Apache-2.0
/** How does the entry program hand the agent's gate, a listening socket inside the sandbox, to the server? */
import { closeSync, constants, openSync } from "node:fs";
import { basename, dirname } from "node:path";
import { addressOf, systemCall } from "./native.ts";
import type { EntrySpec } from "./plan.ts";

const AF_UNIX = 1;
const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_RCVTIMEO = 20;
const SCM_RIGHTS = 1;
const O_PATH = 0o10000000;
const BACKLOG = 1024;
const ANSWER_TIMEOUT_SECONDS = 30n;

const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const IFF_UP = 1;

/** A fresh network namespace starts with its loopback interface down. */
export function bringUpLoopback(): void {
  const socket = systemCall("socket", AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const request = Buffer.alloc(40); // struct ifreq: name[16], flags
  request.write("lo", 0, "latin1");
  systemCall("ioctl", socket, SIOCGIFFLAGS, request);
  const flags = request.readInt16LE(16);
  if ((flags & IFF_UP) === 0) {
    request.writeInt16LE(flags | IFF_UP, 16);
    systemCall("ioctl", socket, SIOCSIFFLAGS, request);
  }
  closeSync(socket);
}

/** A TCP listener on 127.0.0.1. */
export function listenOnLoopback(port: number): { descriptor: number; port: number } {
  const descriptor = systemCall("socket", AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const one = Buffer.alloc(4);
  one.writeInt32LE(1, 0);
  systemCall("setsockopt", descriptor, SOL_SOCKET, SO_REUSEADDR, one, 4);
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  address.set([127, 0, 0, 1], 4);
  systemCall("bind", descriptor, address, 16);
  systemCall("listen", descriptor, BACKLOG);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(16, 0);
  systemCall("getsockname", descriptor, address, length);
  return { descriptor, port: address.readUInt16BE(2) };
}

/** Sends token and listener, waits for the answer: `go PID` or `no REASON`. */
export function launch(
  spec: NonNullable<EntrySpec["launch"]>,
  listener: number,
): { pid: number } | { refused: string } {
  const socket = connectTo(spec.socket);
  sendDescriptor(socket, spec.token + "\n", listener);
  const answer = receiveLine(socket);
  closeSync(socket);
  const go = /^go (\d+)$/.exec(answer);
  if (go !== null) return { pid: Number(go[1]) };
  return { refused: answer.startsWith("no ") ? answer.slice(3) : "the server closed the launch socket" };
}

function connectTo(path: string): number {
  const socket = systemCall("socket", AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeout = Buffer.alloc(16);
  timeout.writeBigInt64LE(ANSWER_TIMEOUT_SECONDS, 0);
  systemCall("setsockopt", socket, SOL_SOCKET, SO_RCVTIMEO, timeout, 16);
  // A socket address holds 107 bytes; through the folder's descriptor every path is short.
  const folder = openSync(dirname(path), O_PATH | constants.O_DIRECTORY);
  const name = Buffer.from(`/proc/self/fd/${folder}/${basename(path)}`);
  const address = Buffer.alloc(110);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  systemCall("connect", socket, address, name.length + 3);
  closeSync(folder);
  return socket;
}

function sendDescriptor(socket: number, text: string, descriptor: number): void {
  const bytes = Buffer.from(text);
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(addressOf(bytes), 0);
  vector.writeBigUInt64LE(BigInt(bytes.length), 8);
  const control = Buffer.alloc(24); // struct cmsghdr and one int
  control.writeBigUInt64LE(20n, 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  control.writeInt32LE(descriptor, 16);
  const message = Buffer.alloc(56); // struct msghdr
  message.writeBigUInt64LE(addressOf(vector), 16);
  message.writeBigUInt64LE(1n, 24);
  message.writeBigUInt64LE(addressOf(control), 32);
  message.writeBigUInt64LE(24n, 40);
  systemCall("sendmsg", socket, message, 0);
}

function receiveLine(socket: number): string {
  let line = "";
  const chunk = Buffer.alloc(512);
  while (!line.includes("\n") && line.length < 2000) {
    const length = systemCall("recv", socket, chunk, chunk.length, 0);
    if (length === 0) break;
    line += chunk.toString("utf8", 0, length);
  }
  return line.split("\n", 1)[0]!;
}
