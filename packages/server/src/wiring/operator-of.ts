// SPDX-License-Identifier: Apache-2.0
/** Who is at the other end of the operators' socket, and may that one be there? */
import type { Socket } from "node:net";
import { descriptorOf, peerCredentials } from "../attestation/process/native.ts";

/** The file mode keeps others out; the kernel's word on the peer is asked all the same. */
export function operatorOf(socket: Socket): { uid: number; pid: number } | undefined {
  const descriptor = descriptorOf(socket);
  const peer = descriptor === undefined ? undefined : peerCredentials(descriptor);
  return peer !== undefined && (peer.uid === process.getuid?.() || peer.uid === 0)
    ? { uid: peer.uid, pid: peer.pid }
    : undefined;
}
