// SPDX-License-Identifier: Apache-2.0
/** A name server (RFC 1035) on a loopback address that answers whatever a test wants, lies included. */
import { createSocket, type RemoteInfo } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";

/** Addresses for a name; `cname` puts an alias in front; `silence` lets the question wait for ever. */
export interface NameAnswer {
  readonly addresses?: readonly string[];
  readonly cname?: string;
  readonly silence?: boolean;
}

export interface NameServer {
  /** Names that were asked for, once for each address family. */
  readonly asked: readonly string[];
  close(): void;
}

const A = 1;
const CNAME = 5;
const AAAA = 28;

/** `answer` is asked with the name and how often it was asked for before; undefined means that there is no such name. */
export async function startNameServer(
  address: string,
  answer: (name: string, before: number) => NameAnswer | undefined,
): Promise<NameServer> {
  const socket = createSocket("udp4");
  const asked: string[] = [];
  socket.on("message", (question: Buffer, from: RemoteInfo) => {
    const { name, type, end } = readQuestion(question);
    const given = answer(name, asked.filter((each) => each === `${name}/${type}`).length);
    asked.push(`${name}/${type}`);
    if (given?.silence !== true)
      socket.send(response(question.subarray(0, end), type, given), from.port, from.address);
  });
  socket.bind(53, address);
  await once(socket, "listening");
  return { asked, close: () => void socket.close() };
}

function readQuestion(message: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  while (message[at] !== 0) {
    labels.push(message.toString("latin1", at + 1, at + 1 + message[at]!));
    at += 1 + message[at]!;
  }
  return { name: labels.join(".").toLowerCase(), type: message.readUInt16BE(at + 1), end: at + 5 };
}

function response(question: Buffer, type: number, given: NameAnswer | undefined): Buffer {
  const owner = given?.cname === undefined ? Buffer.from([0xc0, 12]) : encodeName(given.cname);
  const records = (given?.addresses ?? [])
    .filter((address) => isIPv6(address) === (type === AAAA) && (type === A || type === AAAA))
    .map((address) => record(owner, type, encodeAddress(address)));
  if (given?.cname !== undefined)
    records.unshift(record(Buffer.from([0xc0, 12]), CNAME, encodeName(given.cname)));
  const header = Buffer.from(question.subarray(0, 12));
  // A response, authoritative, recursion available; "no such name" where there is none.
  header.writeUInt16BE(0x8580 | (given === undefined ? 3 : 0), 2);
  header.writeUInt16BE(records.length, 6);
  header.writeUInt32BE(0, 8);
  return Buffer.concat([header, question.subarray(12), ...records]);
}

function record(owner: Buffer, type: number, data: Buffer): Buffer {
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(type, 0);
  fixed.writeUInt16BE(1, 2);
  fixed.writeUInt16BE(data.length, 8);
  return Buffer.concat([owner, fixed, data]);
}

const encodeName = (name: string): Buffer =>
  Buffer.concat([
    ...name.split(".").map((label) => Buffer.from([label.length, ...Buffer.from(label)])),
    Buffer.from([0]),
  ]);

function encodeAddress(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split(".").map(Number));
  const plain = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, ...four: string[]) =>
    [0, 2].map((i) => ((Number(four[i]) << 8) | Number(four[i + 1])).toString(16)).join(":"),
  );
  const [head = "", tail = ""] = plain.split("::");
  const groups = (text: string): number[] =>
    text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
  const [before, after] = [groups(head), groups(tail)];
  const all = [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}
