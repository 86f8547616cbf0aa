// SPDX-License-Identifier: Apache-2.0
/** `FetchWITSVID`: which WIT-SVID, with which new key, does this workload get now? (Workload API §7) */
import { ProtobufError } from "@postern/identity/protobuf";
import { parseSpiffeId, type SpiffeId } from "@postern/identity/spiffe-id";
import type { WitSvid } from "../signer.ts";
import { type Call, CallError, STATUS } from "./grpc.ts";
import { readWitSvidRequest, witSvidResponse } from "./messages.ts";
import { type OpenStream, serveStream } from "./serve-stream.ts";
import type { Entitlement, IssuedDocument } from "./workload-api.ts";

export interface WitIssuer {
  issueWit(id: SpiffeId): WitSvid;
}

interface WitSource<Peer> {
  readonly wit: WitIssuer;
  readonly streams: Set<OpenStream>;
  /** Who it is; else the call ends. */
  entitled(peer: Peer): Promise<Entitlement>;
  /** What was not written down ends the call. */
  recordIssued(peer: Peer, entitlement: Entitlement, issued: IssuedDocument): Promise<void>;
  recordRefused(peer: Peer, reason: string): Promise<void>;
  stateOf(entitlement: Entitlement): string;
  /** Milliseconds. */
  renewIn(expiresAt: number): number;
}

export function fetchWitSvid<Peer>(call: Call, peer: Peer, source: WitSource<Peer>): Promise<void> {
  const asked = askedFor(call.request);
  return serveStream(call, source.streams, async (before: string | undefined) => {
    const entitlement = await source.entitled(peer);
    if (asked !== undefined && asked.uri !== entitlement.id.uri) {
      await source.recordRefused(peer, `asked for ${asked.uri}`);
      throw new CallError(STATUS.permissionDenied, "no identity issued");
    }
    const kept = source.stateOf(entitlement);
    if (before === kept) return { kept };
    const svid = source.wit.issueWit(entitlement.id);
    try {
      const { authority, expiresAt } = svid;
      await source.recordIssued(peer, entitlement, { document: "WIT-SVID", authority, expiresAt });
      const message = witSvidResponse(svid, svid.privateKey.expose("issue"));
      return { kept, message, renewIn: source.renewIn(expiresAt), isSecret: true };
    } finally {
      svid.privateKey.wipe();
    }
  });
}

function askedFor(request: Buffer): SpiffeId | undefined {
  let text: string;
  try {
    text = readWitSvidRequest(request);
  } catch (error) {
    if (!(error instanceof ProtobufError)) throw error;
    throw new CallError(STATUS.invalidArgument, `the request is malformed: ${error.message}`);
  }
  if (text === "") return undefined;
  const id = parseSpiffeId(text);
  if (!id.ok) throw new CallError(STATUS.invalidArgument, id.reason);
  return id.value;
}
