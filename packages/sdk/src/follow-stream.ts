// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps a stream of the Workload API open for as long as somebody wants it (Workload API §4.2, Workload Endpoint §6).
 *
 * It comes back after every end, later and later while nothing comes, except where asking again cannot help.
 */
import { type GrpcClient, STATUS } from "./grpc-client.ts";
import { SpiffeError } from "./spiffe-error.ts";

export interface Following {
  readonly client: GrpcClient;
  readonly method: string;
  /** One whole state; throws where it is of no use, and the state before stays. */
  take(message: Buffer): void;
  /** Workload API §5.2.1: nothing that was given may be used any more. */
  withdrawn(): void;
  /** Every refusal and every end, for logs. */
  problem(problem: SpiffeError): void;
  /** It will not be tried again. */
  ended(problem: SpiffeError): void;
}

const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 30_000;
/** Asking the same again gets the same answer. */
const HOPELESS: ReadonlySet<number | undefined> = new Set([STATUS.invalidArgument, STATUS.unimplemented]);

/** Until `signal`. */
export async function followStream(following: Following, signal: AbortSignal): Promise<void> {
  const { client, method } = following;
  let pause = FIRST_PAUSE;
  const receive = (message: Buffer): void => {
    try {
      following.take(message);
      pause = FIRST_PAUSE;
    } catch (error) {
      following.problem(asSpiffeError(error));
    }
  };
  while (!signal.aborted) {
    // One attempt after the other is the point.
    // eslint-disable-next-line no-await-in-loop
    const problem = await client
      .stream(method, Buffer.alloc(0), receive, { signal })
      .then(() => new SpiffeError("workload_api", `the Workload API ended ${method}`), asSpiffeError);
    if (signal.aborted) return;
    following.problem(problem);
    if (problem.status === STATUS.permissionDenied) following.withdrawn();
    if (HOPELESS.has(problem.status)) return following.ended(problem);
    // eslint-disable-next-line no-await-in-loop
    await rest(pause * (0.75 + 0.5 * Math.random()), signal);
    pause = Math.min(LONGEST_PAUSE, pause * 1.7);
  }
}

const asSpiffeError = (error: unknown): SpiffeError =>
  error instanceof SpiffeError
    ? error
    : new SpiffeError("response_invalid", error instanceof Error ? error.message : String(error), {
        cause: error,
      });

function rest(milliseconds: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  signal.addEventListener("abort", () => resolve(), { once: true });
  return promise.finally(() => clearTimeout(timer));
}
