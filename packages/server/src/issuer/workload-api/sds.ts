// SPDX-License-Identifier: Apache-2.0
/**
 * Envoy's Secret Discovery Service (version 3): the same identities and bundles as the Workload API gives, in Envoy's words.
 *
 * `default` or a SPIFFE ID: certificate and key. `ROOTCA` or the ID of a trust domain: its authorities. `ALL`: those of every trust
 * domain that the agent may know, kept apart. No name: everything.
 */
import { createHash } from "node:crypto";
import type { TrustBundle } from "@postern/identity/trust-bundle";
import { chainPem, type X509Svid } from "../signer.ts";
import { type Call, CallError, type Method, STATUS } from "./grpc.ts";
import { ProtobufError } from "@postern/identity/protobuf";
import {
  authoritiesSecret,
  bundleName,
  certificateSecret,
  type DiscoveryRequest,
  discoveryResponse,
  readDiscoveryRequest,
  validatorSecret,
} from "./sds-messages.ts";
import { type Answer, type OpenStream, serveStream } from "./serve-stream.ts";
import type { Entitlement } from "./workload-api.ts";

const SERVICE = "/envoy.service.secret.v3.SecretDiscoveryService/";
const OWN_CERTIFICATE = "default";
const OWN_AUTHORITIES = "ROOTCA";
const ALL_AUTHORITIES = "ALL";

/** What a caller may have now. */
export interface Secrets {
  readonly id: string;
  /** Own trust domain first. */
  readonly bundles: readonly TrustBundle[];
  /** Two equal ones have the same secrets, apart from a new key. */
  readonly state: string;
  readonly entitlement: Entitlement;
}

export interface DiscoveryParts<Peer> {
  readonly streams: Set<OpenStream>;
  /** Who it is; else the call ends. */
  entitled(peer: Peer): Promise<Secrets>;
  /** A new certificate for this caller, in the log before it is handed out. `use` is given the private key, PKCS #8. */
  issue(peer: Peer, secrets: Secrets, use: (svid: X509Svid, key: Buffer) => Buffer): Promise<Issued>;
  /** It says that it cannot use what it was sent. */
  refused(agent: string): void;
}

export interface Issued {
  readonly secret: Buffer;
  /** Milliseconds after which there should be a new one. */
  readonly renewIn: number;
}

export function discoveryMethods<Peer>(parts: DiscoveryParts<Peer>): {
  readonly unary: ReadonlyMap<string, Method<Peer>>;
  readonly streaming: ReadonlyMap<string, Method<Peer>>;
} {
  return {
    unary: new Map([[`${SERVICE}FetchSecrets`, (call, peer) => fetchSecrets(parts, call, peer)]]),
    streaming: new Map([[`${SERVICE}StreamSecrets`, (call, peer) => streamSecrets(parts, call, peer)]]),
  };
}

async function fetchSecrets<Peer>(parts: DiscoveryParts<Peer>, call: Call, peer: Peer): Promise<void> {
  const { names } = parsed(call.request);
  const secrets = await parts.entitled(peer);
  const { message } = await answerWith(parts, peer, secrets, names, "");
  call.send(message);
  message.fill(0);
  call.end(STATUS.ok);
}

function streamSecrets<Peer>(parts: DiscoveryParts<Peer>, call: Call, peer: Peer): Promise<void> {
  const over = Promise.withResolvers<void>();
  let names: readonly string[] | undefined;
  let sent = 0;
  let agent: string | undefined;
  let isRefused = false;
  /** Names and version of the newest answer. */
  let last = "";
  let stream: OpenStream | undefined;
  const make = async (before: string | undefined): Promise<Answer<string>> => {
    const secrets = await parts.entitled(peer);
    ({ agent } = secrets.entitlement);
    const wanted = names ?? [];
    const kept = JSON.stringify([secrets.state, wanted]);
    if (before === kept) return { kept };
    const nonce = String(sent + 1);
    const { message, renewIn, version } = await answerWith(parts, peer, secrets, wanted, nonce);
    const now = JSON.stringify([version, wanted]);
    if (now === last) return { kept };
    last = now;
    sent++;
    return { kept, message, isSecret: true, ...(renewIn === undefined ? {} : { renewIn }) };
  };
  const take = (message: Buffer): void => {
    const request = parsed(message);
    if (request.isRefusal && !isRefused && agent !== undefined) {
      // Once for each call: how often it refuses is up to the peer.
      isRefused = true;
      parts.refused(agent);
    }
    if (names !== undefined && !isNew(request, names, sent === 0 ? "" : String(sent))) return;
    names = request.names;
    if (stream !== undefined) return stream.push("always");
    serveStream(call, parts.streams, make, (opened) => (stream = opened)).then(over.resolve, over.reject);
  };
  call.messages(take).then(() => {
    call.end(STATUS.ok);
    over.resolve();
  }, over.reject);
  return over.promise;
}

/**
 * Whether it asks for something (xDS, "ACK/NACK and resource type instance version"): not one that is about an answer before the
 * last, and not one that says of the last that it was taken or refused. What was refused is not sent again: the next change is.
 */
const isNew = ({ names, nonce }: DiscoveryRequest, before: readonly string[], last: string): boolean =>
  nonce === last && (names.length !== before.length || names.some((name, index) => name !== before[index]));

async function answerWith<Peer>(
  parts: DiscoveryParts<Peer>,
  peer: Peer,
  secrets: Secrets,
  names: readonly string[],
  nonce: string,
): Promise<{ readonly message: Buffer; readonly version: string; readonly renewIn?: number }> {
  const { bundles, id } = secrets;
  const wanted = names.length > 0 ? names : [id, ...bundles.map(bundleName)];
  const isCertificate = (name: string): boolean => name === OWN_CERTIFICATE || name === id;
  const authorities = wanted
    .filter((name) => !isCertificate(name))
    .map((name) => validationOf(name, bundles));
  const certificates = wanted.filter(isCertificate);
  const issued =
    certificates.length === 0
      ? undefined
      : await parts.issue(peer, secrets, (svid, key) =>
          // Several names of one certificate: the parts of the answer, one after the other.
          Buffer.concat(
            certificates.map((name) => lengthFirst(certificateSecret(name, chainPem(svid), key))),
          ),
        );
  const all = [...(issued === undefined ? [] : split(issued.secret)), ...authorities];
  // A new key makes a new version; the same authorities have the same one.
  const version = createHash("sha256").update(Buffer.concat(all)).digest("hex").slice(0, 32);
  const message = discoveryResponse(all, version, nonce);
  issued?.secret.fill(0);
  return { message, version, ...(issued === undefined ? {} : { renewIn: issued.renewIn }) };
}

function validationOf(name: string, bundles: readonly TrustBundle[]): Buffer {
  if (name === ALL_AUTHORITIES) return validatorSecret(name, bundles);
  const bundle = name === OWN_AUTHORITIES ? bundles[0] : bundles.find((each) => bundleName(each) === name);
  if (bundle !== undefined) return authoritiesSecret(name, bundle);
  throw new CallError(STATUS.invalidArgument, "there is no secret of that name for this workload");
}

function lengthFirst(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** Views, so that wiping the whole wipes them. */
function split(whole: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < whole.length;) {
    const end = at + 4 + whole.readUInt32BE(at);
    pieces.push(whole.subarray(at + 4, end));
    at = end;
  }
  return pieces;
}

function parsed(message: Buffer): DiscoveryRequest {
  try {
    return readDiscoveryRequest(message);
  } catch (error) {
    if (error instanceof ProtobufError)
      throw new CallError(STATUS.invalidArgument, `the request is malformed: ${error.message}`);
    throw error;
  }
}
