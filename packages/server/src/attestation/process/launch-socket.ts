// SPDX-License-Identifier: Apache-2.0
/**
 * How does a run's leader prove itself and hand its gate over?
 *
 * One message: the token, a newline, and the listening socket as one descriptor (SCM_RIGHTS). The kernel says who
 * sent it. A wrong token ends the run; a peer that goes away without a word is forgotten.
 */
import { timingSafeEqual } from "node:crypto";
import type { Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import {
  closeDescriptor,
  descriptorOf,
  peerCredentials,
  receiveDescriptor,
  type PeerCredentials,
} from "./native.ts";

export type LaunchMessage =
  | { readonly kind: "launch"; readonly peer: PeerCredentials; readonly listener: number }
  | { readonly kind: "gone" }
  | { readonly kind: "wrong"; readonly reason: string };

const PATIENCE_MS = 5000;
const LONGEST_PAUSE_MS = 50;

/** Reads the launch message from a paused socket; a descriptor is either handed on or closed. */
export async function receiveLaunch(socket: Socket, token: string): Promise<LaunchMessage> {
  const expected = Buffer.from(token + "\n");
  const deadline = performance.now() + PATIENCE_MS;
  for (let pause = 0; performance.now() < deadline; pause = Math.min(LONGEST_PAUSE_MS, pause * 2 + 1)) {
    // Node has no event for "readable" that leaves the bytes, and with them the descriptor, in the socket.
    // eslint-disable-next-line no-await-in-loop
    if (pause > 0) await wait(pause);
    const fd = descriptorOf(socket);
    if (fd === undefined) return { kind: "gone" };
    const received = receiveDescriptor(fd, expected.length + 1);
    if (received.kind === "ended") return { kind: "gone" };
    if (received.kind === "message") return judge(received, expected, peerCredentials(fd));
  }
  return { kind: "gone" };
}

function judge(
  { bytes, descriptor }: { bytes: Buffer; descriptor?: number },
  expected: Buffer,
  peer: PeerCredentials | undefined,
): LaunchMessage {
  const wrong = (reason: string): LaunchMessage => {
    if (descriptor !== undefined) closeDescriptor(descriptor);
    return { kind: "wrong", reason };
  };
  if (bytes.length !== expected.length || !timingSafeEqual(bytes, expected))
    return wrong("wrong launch token");
  if (descriptor === undefined) return wrong("the launch message carries no listening socket");
  if (peer === undefined || peer.pid <= 0)
    return wrong("the launching process is outside of what this server can see");
  return { kind: "launch", peer, listener: descriptor };
}
