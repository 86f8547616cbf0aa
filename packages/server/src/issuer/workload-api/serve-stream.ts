// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps the peer of an open stream up to date: an answer at once, then one for each change.
 *
 * Each answer is the whole state (Workload API §4.3), so a slow reader is sent the newest one when it is ready, and
 * never a queue of old ones.
 */
import { type Call, CallError, STATUS } from "./grpc.ts";

export interface OpenStream {
  /** `if-changed`: only where the answer is for somebody else now. */
  push(why: "always" | "if-changed"): void;
  stop(): void;
}

export interface Answer<Kept> {
  /** What `make` is given next time, where only a change matters. */
  readonly kept: Kept;
  /** Absent where the peer knows it already. */
  readonly message?: Buffer;
  /** Milliseconds after which a new answer is made anyway. */
  readonly renewIn?: number;
  /** Overwritten once it is on its way. */
  readonly isSecret?: boolean;
}

/** Resolves when the call is over. `make` is never called twice at a time; what it throws ends the call. */
export function serveStream<Kept>(
  call: Call,
  streams: Set<OpenStream>,
  make: (before: Kept | undefined) => Promise<Answer<Kept>>,
  onOpen?: (stream: OpenStream) => void,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let kept: Kept | undefined;
  let wanted: "always" | "if-changed" | undefined = "always";
  let isBusy = false;
  let isBlocked = false;
  let timer: NodeJS.Timeout | undefined;

  const work = async (): Promise<void> => {
    isBusy = true;
    try {
      while (wanted !== undefined && !isBlocked && !call.isEnded) {
        const before = wanted === "if-changed" ? kept : undefined;
        wanted = undefined;
        // Each answer has to be on its way before the next is made.
        // eslint-disable-next-line no-await-in-loop
        deliver(await make(before));
      }
    } catch (error) {
      reject(error);
    } finally {
      isBusy = false;
    }
  };
  const deliver = ({ kept: next, message, renewIn, isSecret }: Answer<Kept>): void => {
    kept = next;
    if (message === undefined) return;
    isBlocked = !call.send(message);
    if (isSecret === true) message.fill(0);
    clearTimeout(timer);
    if (renewIn !== undefined) timer = setTimeout(() => stream.push("always"), renewIn);
  };
  const stream: OpenStream = {
    push(why) {
      if (wanted !== "always") wanted = why;
      if (!isBusy && !isBlocked) void work();
    },
    stop: () => reject(new CallError(STATUS.unavailable, "the server is stopping")),
  };
  streams.add(stream);
  onOpen?.(stream);
  call.onReady(() => {
    isBlocked = false;
    if (!isBusy && wanted !== undefined) void work();
  });
  call.onEnd(resolve);
  void work();
  return promise.finally(() => {
    clearTimeout(timer);
    streams.delete(stream);
  });
}
