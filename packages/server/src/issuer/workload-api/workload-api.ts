// SPDX-License-Identifier: Apache-2.0
/**
 * The SPIFFE Workload API: which identity does the process at the other end of this socket get?
 *
 * Asked anew for each call, and for each push of an open stream: whoever is no longer who it was gets nothing more.
 */
import { parseSpiffeId, type SpiffeId } from "@postern/identity/spiffe-id";
import { verifyJwtSvid } from "@postern/identity/jwt-svid";
import type { TrustBundle } from "@postern/identity/trust-bundle";
import type { Clock } from "../../kernel/clock.ts";
import type { Log } from "../../kernel/log.ts";
import type { Result } from "../../kernel/result.ts";
import type { JwtSvid, X509Svid } from "../signer.ts";
import { type Call, CallError, GrpcServer, type Method, STATUS } from "./grpc.ts";
import {
  jwtBundlesResponse,
  jwtSvidResponse,
  type JwtSvidRequest,
  readJwtSvidRequest,
  readValidateRequest,
  validateResponse,
  witBundlesResponse,
  x509BundlesResponse,
  x509SvidResponse,
} from "./messages.ts";
import { ProtobufError } from "@postern/identity/protobuf";
import { discoveryMethods, type Issued } from "./sds.ts";
import { fetchWitSvid, type WitIssuer } from "./wit-svid.ts";
import { type OpenStream, serveStream } from "./serve-stream.ts";

/** What the caller is entitled to, now. */
export interface Entitlement {
  readonly agent: string;
  readonly id: SpiffeId;
  /** Bundles of other trust domains that it asked for and that are believed now; none of them twice. */
  readonly federated: readonly TrustBundle[];
}

export interface Denial {
  /**
   * `unavailable`: it cannot be said who it is; asking again may help (Workload Endpoint §6). `gone`: of a workload that
   * a broker has named, and that is not there (Broker API §4.8).
   */
  readonly kind: "not_entitled" | "unavailable" | "gone";
  /** For the log; the caller is told nothing but the kind. */
  readonly reason: string;
}

/** The process at the other end of one connection. */
export interface WorkloadPeer {
  identify(): Promise<Result<Entitlement, Denial>>;
}

export interface IssuedDocument {
  readonly document: "X.509-SVID" | "JWT-SVID" | "WIT-SVID";
  readonly authority: string;
  readonly expiresAt: number;
  readonly serial?: string;
  readonly audience?: readonly string[];
}

export interface WorkloadApiParts<Peer extends WorkloadPeer> {
  /** Absent: the WIT-SVID profile is not implemented (Workload API §7). */
  readonly wit?: WitIssuer | undefined;
  readonly issuer: {
    readonly trustDomain: string;
    readonly bundle: TrustBundle;
    issueX509(id: SpiffeId): X509Svid;
    issueJwt(id: SpiffeId, audience: readonly string[]): JwtSvid;
  };
  /** Why the workload of this ID may not pass at present; undefined where it may. */
  standingProblem(id: SpiffeId): string | undefined;
  /** Both resolve when it is durable. What was not written down is not handed out. */
  recordIssued(peer: Peer, entitlement: Entitlement, issued: IssuedDocument): Promise<void>;
  recordRefused(peer: Peer, document: IssuedDocument["document"], reason: string): Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  /** 0 to 1; which moment between 45 and 55 % of its life an SVID is renewed at. */
  chance(): number;
}

/** Some five milliseconds of signing. */
const STREAMS_PER_TURN = 64;

/** For whoever may ask on behalf of a workload: `peer` stands for that one, and streams are kept as its own are. */
export interface Answers<Peer> {
  readonly x509Svid: Method<Peer>;
  readonly x509Bundles: Method<Peer>;
  readonly jwtBundles: Method<Peer>;
  jwtSvid(call: Call, peer: Peer, request: JwtSvidRequest): Promise<void>;
}

/** Workload Endpoint §4, against requests that a workload can be talked into. */
const SECURITY_HEADER = "workload.spiffe.io";

export class WorkloadApi<Peer extends WorkloadPeer> {
  readonly #parts: WorkloadApiParts<Peer>;
  readonly #server: GrpcServer<Peer>;
  readonly #streams = new Set<OpenStream>();
  /** Of pushes to everybody. */
  #round = 0;

  readonly answers: Answers<Peer> = {
    x509Svid: (call, peer) => this.#fetchX509Svid(call, peer),
    x509Bundles: (call, peer) => this.#fetchBundles(call, peer, "X.509-SVID", x509BundlesResponse),
    jwtBundles: (call, peer) => this.#fetchBundles(call, peer, "JWT-SVID", jwtBundlesResponse),
    jwtSvid: (call, peer, request) => this.#giveJwtSvid(call, peer, request),
  };

  constructor(parts: WorkloadApiParts<Peer>) {
    this.#parts = parts;
    const methods: Record<string, Method<Peer>> = {
      FetchX509SVID: this.answers.x509Svid,
      FetchX509Bundles: this.answers.x509Bundles,
      FetchJWTSVID: (call, peer) =>
        this.#giveJwtSvid(
          call,
          peer,
          parsed(() => readJwtSvidRequest(call.request)),
        ),
      FetchJWTBundles: this.answers.jwtBundles,
      ValidateJWTSVID: (call, peer) => this.#validateJwtSvid(call, peer),
    };
    const { wit } = parts;
    if (wit !== undefined) {
      const source = {
        entitled: (peer: Peer) => this.#entitled(peer, "WIT-SVID"),
        recordIssued: (...facts: Parameters<WorkloadApiParts<Peer>["recordIssued"]>) =>
          this.#recorded(parts.recordIssued(...facts)),
        recordRefused: (peer: Peer, reason: string) =>
          this.#recorded(parts.recordRefused(peer, "WIT-SVID", reason)),
        renewIn: (expiresAt: number) => renewAfter(expiresAt - parts.clock.now(), parts.chance()),
        ...{ stateOf, streams: this.#streams, wit },
      };
      methods["FetchWITSVID"] = (call, peer) => fetchWitSvid(call, peer, source);
      methods["FetchWITBundles"] = (call, peer) =>
        this.#fetchBundles(call, peer, "WIT-SVID", witBundlesResponse);
    }
    const discovery = discoveryMethods<Peer>({
      streams: this.#streams,
      entitled: async (peer) => {
        const entitlement = await this.#entitled(peer, "X.509-SVID");
        // Envoy refuses a trust domain with no authority at all, and would go on with what it had; one that is absent is not trusted.
        const federated = entitlement.federated.filter(({ x509Authorities }) => x509Authorities.length > 0);
        const bundles = [parts.issuer.bundle, ...federated];
        return { id: entitlement.id.uri, bundles, state: stateOf(entitlement), entitlement };
      },
      issue: (peer, { entitlement }, use) => this.#issueX509(peer, entitlement, use),
      // What it says of the reason may hold anything, the key included.
      refused: (agent) =>
        parts.log.write(
          "warn",
          "a workload cannot use the secrets that it was sent: see what its proxy logs",
          {
            agent,
          },
        ),
    });
    const workload = Object.entries(methods).map(
      ([name, method]) => [`/SpiffeWorkloadAPI/${name}`, guarded(SECURITY_HEADER, method)] as const,
    );
    this.#server = new GrpcServer(new Map([...workload, ...discovery.unary]), parts.log, discovery.streaming);
  }

  accept(socket: Parameters<GrpcServer<Peer>["accept"]>[0], peer: Peer): void {
    this.#server.accept(socket, peer);
  }

  /**
   * Authorities were changed: everybody gets new documents and bundles. In pieces, so that what is signed goes out while
   * the next is being signed, and nobody else waits for thousands of signatures. A new change begins from the start.
   */
  pushAll(): void {
    const round = ++this.#round;
    const waiting = [...this.#streams];
    const pushSome = (): void => {
      if (round !== this.#round) return;
      for (const stream of waiting.splice(0, STREAMS_PER_TURN))
        if (this.#streams.has(stream)) stream.push("always");
      if (waiting.length > 0) setImmediate(pushSome);
    };
    pushSome();
  }

  /** Agents were changed: whoever is entitled to something else now gets that, or is cut. */
  reconsider(): void {
    for (const stream of this.#streams) stream.push("if-changed");
  }

  close(): void {
    for (const stream of this.#streams) stream.stop();
    this.#server.close();
  }

  /** Who it is; else the call ends. */
  async #entitled(peer: Peer, document: IssuedDocument["document"]): Promise<Entitlement> {
    const identified = await peer.identify();
    if (identified.ok) return identified.value;
    const { kind, reason } = identified.reason;
    await this.#recorded(this.#parts.recordRefused(peer, document, reason));
    if (kind === "gone") throw new CallError(STATUS.notFound, "there is no such workload");
    throw kind === "unavailable"
      ? new CallError(STATUS.unavailable, "who is calling cannot be found out at present")
      : new CallError(STATUS.permissionDenied, "no identity issued");
  }

  async #recorded(writing: Promise<void>): Promise<void> {
    try {
      await writing;
    } catch {
      throw new CallError(STATUS.unavailable, "the audit log cannot be written");
    }
  }

  #fetchX509Svid(call: Call, peer: Peer): Promise<void> {
    return serveStream(call, this.#streams, async (before: string | undefined) => {
      const entitlement = await this.#entitled(peer, "X.509-SVID");
      const kept = stateOf(entitlement);
      if (before === kept) return { kept };
      const { secret, renewIn } = await this.#issueX509(peer, entitlement, (svid, key) =>
        x509SvidResponse(svid, key, this.#parts.issuer.bundle, entitlement.federated),
      );
      return { kept, message: secret, renewIn, isSecret: true };
    });
  }

  /** A new key with its certificate, in the log before `use` is given it. */
  async #issueX509(
    peer: Peer,
    entitlement: Entitlement,
    use: (svid: X509Svid, privateKey: Buffer) => Buffer,
  ): Promise<Issued> {
    const { issuer, clock, chance } = this.#parts;
    const svid = issuer.issueX509(entitlement.id);
    try {
      const { authority, expiresAt, serial } = svid;
      const issued = { document: "X.509-SVID", authority, expiresAt, serial } as const;
      await this.#recorded(this.#parts.recordIssued(peer, entitlement, issued));
      const secret = use(svid, svid.privateKey.expose("issue"));
      return { secret, renewIn: renewAfter(expiresAt - clock.now(), chance()) };
    } finally {
      svid.privateKey.wipe();
    }
  }

  #fetchBundles(
    call: Call,
    peer: Peer,
    document: IssuedDocument["document"],
    print: (bundles: readonly TrustBundle[]) => Buffer,
  ): Promise<void> {
    let last: Buffer | undefined;
    return serveStream(call, this.#streams, async () => {
      const { federated } = await this.#entitled(peer, document);
      const message = print([this.#parts.issuer.bundle, ...federated]);
      if (last?.equals(message) === true) return { kept: true as const };
      last = message;
      return { kept: true as const, message };
    });
  }

  async #giveJwtSvid(call: Call, peer: Peer, { audience, spiffeId }: JwtSvidRequest): Promise<void> {
    if (audience.length === 0 || audience.includes(""))
      throw new CallError(STATUS.invalidArgument, "an audience is needed");
    const asked = spiffeId === "" ? undefined : parseSpiffeId(spiffeId);
    if (asked?.ok === false) throw new CallError(STATUS.invalidArgument, asked.reason);
    const entitlement = await this.#entitled(peer, "JWT-SVID");
    if (asked !== undefined && asked.value.uri !== entitlement.id.uri) {
      await this.#recorded(this.#parts.recordRefused(peer, "JWT-SVID", `asked for ${asked.value.uri}`));
      throw new CallError(STATUS.permissionDenied, "no identity issued");
    }
    const svid = this.#parts.issuer.issueJwt(entitlement.id, audience);
    const { authority, expiresAt } = svid;
    const issued = { document: "JWT-SVID", authority, expiresAt, audience } as const;
    await this.#recorded(this.#parts.recordIssued(peer, entitlement, issued));
    call.send(jwtSvidResponse(svid));
    call.end(STATUS.ok);
  }

  async #validateJwtSvid(call: Call, peer: Peer): Promise<void> {
    const { audience, svid } = parsed(() => readValidateRequest(call.request));
    if (audience === "" || svid === "")
      throw new CallError(STATUS.invalidArgument, "an audience and a JWT-SVID are needed");
    const { federated } = await this.#entitled(peer, "JWT-SVID");
    const { issuer, clock, standingProblem } = this.#parts;
    const bundles = [issuer.bundle, ...federated];
    const bundleOf = (name: string) => bundles.find(({ trustDomain }) => trustDomain === name);
    const verified = verifyJwtSvid(svid, audience, bundleOf, clock.now());
    if (!verified.ok)
      throw new CallError(STATUS.invalidArgument, `the JWT-SVID is refused: ${verified.reason}`);
    const isOwn = verified.value.id.trustDomain === issuer.trustDomain;
    const problem = isOwn ? standingProblem(verified.value.id) : undefined;
    if (problem !== undefined)
      throw new CallError(STATUS.invalidArgument, `the JWT-SVID is refused: ${problem}`);
    // As lists of SVIDs' audiences are given everywhere: always a list.
    const { aud, ...claims } = verified.value.claims;
    const told = isOwn ? claims : registeredClaims(claims);
    call.send(validateResponse(verified.value.id.uri, { ...told, aud: [aud].flat() }));
    call.end(STATUS.ok);
  }
}

/** Two equal ones are entitled to the same answer. Objects of bundles are made anew where these change. */
const stateOf = ({ id, federated }: Entitlement): string =>
  [id.uri, ...federated.map((bundle) => numberOf(bundle))].join(" ");

const numbers = new WeakMap<TrustBundle, number>();
let lastNumber = 0;

function numberOf(bundle: TrustBundle): number {
  const number = numbers.get(bundle) ?? ++lastNumber;
  numbers.set(bundle, number);
  return number;
}

/** What somebody else's trust domain says besides is no fact here (RFC 7519 §4.1). */
const REGISTERED: ReadonlySet<string> = new Set(["sub", "exp", "nbf", "iat", "iss", "jti"]);
const registeredClaims = (claims: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(claims).filter(([name]) => REGISTERED.has(name)));

/** Half of a life, earlier or later by a tenth of that, so that not everybody comes at once (Workload API §4.3). */
export const renewAfter = (life: number, chance: number): number => (life / 2) * (0.9 + 0.2 * chance);

/** Workload Endpoint §4: exactly once, exactly `true`. */
export function guarded<Peer>(header: string, method: Method<Peer>): Method<Peer> {
  return (call, peer) => {
    if (call.headers[header] !== "true")
      throw new CallError(STATUS.invalidArgument, `the header ${header}: true is missing`);
    return method(call, peer);
  };
}

export function parsed<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof ProtobufError)
      throw new CallError(STATUS.invalidArgument, `the request is malformed: ${error.message}`);
    throw error;
  }
}
