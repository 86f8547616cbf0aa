// SPDX-License-Identifier: Apache-2.0
/**
 * The SPIFFE Broker API (Incubating): what is somebody told who asks on behalf of a workload?
 *
 * What the workload itself would be told, for as long as it is there and the broker may ask. A workload is named by the
 * number of its process; the number is all that is taken from the request, and everything else is found out here (§3.1.1).
 */
import type { Socket } from "node:net";
import { field, ProtobufError, readFields, readText, varintField } from "@postern/identity/protobuf";
import type { Log } from "../../kernel/log.ts";
import { type Call, CallError, GrpcServer, type Method, STATUS, type Status } from "./grpc.ts";
import { readJwtSvidRequest } from "./messages.ts";
import { type Answers, guarded, parsed, type WorkloadPeer } from "./workload-api.ts";

/** The process that a call is about. */
export interface NamedWorkload extends WorkloadPeer {
  /** Whether it has ended since it was identified; cheap. */
  readonly isGone: boolean;
}

export interface BrokerProblem {
  /**
   * `unproved`: its certificate does not hold, so it has to come in anew with another. `refused`: it may not ask.
   * `unavailable`: nobody can tell at present.
   */
  readonly kind: "unproved" | "refused" | "unavailable";
  readonly reason: string;
}

/** Who is at the other end of one connection. */
export interface Broker<Workload extends NamedWorkload> {
  /** Why it may not ask now; undefined where it may. Asked for each answer by `identify` of its workloads too. */
  problem(): BrokerProblem | undefined;
  workload(pid: number): Workload;
}

/** Broker Endpoint §3 */
const SECURITY_HEADER = "broker.spiffe.io";
const PID_REFERENCE = "type.googleapis.com/spiffe.broker.WorkloadPIDReference";
const ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo";
const LARGEST_PID = 2 ** 31 - 1;
/** A process that ends, and a broker that loses its identity, are noticed so soon (§4.9). */
const SWEEP_EVERY = 250;

/** §4.8 */
const REASONS: ReadonlyMap<Status, string> = new Map([
  [STATUS.notFound, "WORKLOAD_NOT_FOUND"],
  [STATUS.permissionDenied, "WORKLOAD_NOT_ENTITLED"],
]);

interface OpenCall<Workload> {
  readonly call: Call;
  readonly workload: Workload;
}

export class BrokerApi<Workload extends NamedWorkload> {
  readonly #server: GrpcServer<Broker<Workload>>;
  readonly #connections = new Map<Broker<Workload>, Socket>();
  readonly #open = new Map<Broker<Workload>, Set<OpenCall<Workload>>>();
  readonly #clockwork: NodeJS.Timeout;

  constructor(answers: Answers<Workload>, log: Log) {
    const { jwtBundles, jwtSvid, x509Bundles, x509Svid } = answers;
    const methods: Record<string, Method<Workload>> = {
      SubscribeToX509SVID: x509Svid,
      SubscribeToX509Bundles: x509Bundles,
      FetchJWTSVID: (call, workload) => {
        const request = parsed(() => readJwtSvidRequest(call.request, 2));
        return jwtSvid(call, workload, request);
      },
      SubscribeToJWTBundles: jwtBundles,
    };
    const byPath = Object.entries(methods).map(
      ([name, method]) =>
        [`/spiffe.broker.API/${name}`, guarded(SECURITY_HEADER, this.#onBehalf(method))] as const,
    );
    this.#server = new GrpcServer(new Map(byPath), log);
    this.#clockwork = setInterval(() => this.#sweep(), SWEEP_EVERY).unref();
  }

  accept(socket: Socket, broker: Broker<Workload>): void {
    this.#connections.set(broker, socket);
    socket.once("close", () => this.#connections.delete(broker));
    this.#server.accept(socket, broker);
  }

  close(): void {
    clearInterval(this.#clockwork);
    this.#server.close();
  }

  #onBehalf(method: Method<Workload>): Method<Broker<Workload>> {
    return async (call, broker) => {
      const workload = broker.workload(referencedPid(call.request));
      const calls = this.#open.get(broker) ?? new Set();
      this.#open.set(broker, calls);
      const open = { call, workload };
      calls.add(open);
      try {
        await method(call, workload);
      } catch (error) {
        throw error instanceof CallError ? explained(error) : error;
      } finally {
        calls.delete(open);
        if (calls.size === 0) this.#open.delete(broker);
      }
    };
  }

  #sweep(): void {
    for (const [broker, socket] of this.#connections) {
      const problem = broker.problem()?.kind;
      // Clients keep a connection for longer than an SVID: told no on it, they would go on to ask on it.
      if (problem === "unproved") socket.destroy();
      for (const { call, workload } of this.#open.get(broker) ?? []) {
        if (problem === "refused") refuseOn(call, STATUS.permissionDenied, "no identity issued");
        else if (workload.isGone) refuseOn(call, STATUS.notFound, "the workload has ended");
      }
    }
  }
}

const refuseOn = (call: Call, status: Status, message: string): void =>
  call.end(status, message, explained(new CallError(status, message)).details);

function explained(error: CallError, reason = REASONS.get(error.status)): CallError {
  if (reason === undefined || error.details !== undefined) return error;
  const info = Buffer.concat([field(1, reason), field(2, "spiffe.io")]);
  const detail = Buffer.concat([field(1, ERROR_INFO), field(2, info)]);
  const status = [varintField(1, error.status), field(2, error.message), field(3, detail)];
  return new CallError(error.status, error.message, Buffer.concat(status));
}

/** The one workload that a request names in its first field; throws `CallError`. */
function referencedPid(request: Buffer): number {
  try {
    const any = readFields(only(readFields(only(readFields(request).get(1))).get(1)));
    if (readText(only(any.get(1))) !== PID_REFERENCE)
      throw new ProtobufError("workloads are referenced by WorkloadPIDReference here");
    const numbers = new Map<number, number>();
    readFields(only(any.get(2)), numbers);
    const pid = numbers.get(1) ?? 0;
    if (pid < 1 || pid > LARGEST_PID) throw new ProtobufError("this is no number of a process");
    return pid;
  } catch (error) {
    if (!(error instanceof ProtobufError)) throw error;
    const refusal = new CallError(STATUS.invalidArgument, `the workload reference: ${error.message}`);
    throw explained(refusal, "WORKLOAD_REFERENCE_INVALID");
  }
}

/** §3.1.1: exactly one. Two could be read in two ways. */
function only(fields: readonly Buffer[] | undefined): Buffer {
  const [first, ...more] = fields ?? [];
  if (first === undefined || more.length > 0) throw new ProtobufError("exactly one is needed");
  return first;
}
