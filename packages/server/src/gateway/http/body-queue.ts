// SPDX-License-Identifier: Apache-2.0
/** A body on its way from a connection to whoever reads it: pieces in order, with back-pressure. */
import type { MessageBody } from "./messages.ts";

/** Bytes that may wait to be read before the connection is told to pause. */
const MOST_WAITING = 65_536;

const OVER: IteratorReturnResult<undefined> = { done: true, value: undefined };

interface Flow {
  /** Somebody begins to read. */
  begin?(): void;
  /** There is room again. */
  resume(): void;
  /** Nobody will read the rest. */
  abandon(): void;
}

export class BodyQueue implements MessageBody {
  readonly #flow: Flow;
  #pieces: Buffer[] = [];
  /** The first of them that was not read yet: taking off the front of a long list would cost its length. */
  #next = 0;
  #size = 0;
  #isPaused = false;
  #isEnded = false;
  #error: Error | undefined;
  #isRead = false;
  #reader: PromiseWithResolvers<IteratorResult<Buffer, undefined>> | undefined;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  /** True while more may come. */
  push(piece: Buffer): boolean {
    if (this.#isEnded || piece.length === 0) return true;
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      reader.resolve({ done: false, value: piece });
      return true;
    }
    this.#pieces.push(piece);
    this.#size += piece.length;
    this.#isPaused = this.#size >= MOST_WAITING;
    return !this.#isPaused;
  }

  end(): void {
    this.#isEnded = true;
    this.#reader?.resolve(OVER);
    this.#reader = undefined;
  }

  /** What was not read yet is dropped; the reader gets the error. */
  fail(error: Error): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#error = error;
    this.#pieces = [];
    this.#reader?.reject(error);
    this.#reader = undefined;
  }

  /** Everything, where it is here already: nothing has to be awaited. */
  get whole(): Buffer | undefined {
    if (!this.#isEnded || this.#isRead || this.#error !== undefined) return undefined;
    return this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces);
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer, undefined> {
    this.#isRead = true;
    this.#flow.begin?.();
    return {
      next: () => this.#take(),
      return: () => {
        const isComplete = this.#isEnded;
        this.#isEnded = true;
        this.#pieces = [];
        if (!isComplete) this.#flow.abandon();
        return Promise.resolve(OVER);
      },
    };
  }

  #take(): Promise<IteratorResult<Buffer, undefined>> {
    const piece = this.#pieces[this.#next];
    if (piece !== undefined) {
      this.#next++;
      // While a slow reader never gets to the end, what it has read may not stay here.
      if (this.#next * 2 >= this.#pieces.length) {
        this.#pieces = this.#pieces.slice(this.#next);
        this.#next = 0;
      }
      this.#size -= piece.length;
      if (this.#isPaused && this.#size < MOST_WAITING) {
        this.#isPaused = false;
        this.#flow.resume();
      }
      return Promise.resolve({ done: false, value: piece });
    }
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#isEnded) return Promise.resolve(OVER);
    this.#reader = Promise.withResolvers();
    return this.#reader.promise;
  }
}

/** A body that is there as a whole. */
export const wholeBody = (whole: Buffer): MessageBody => ({
  whole,
  // oxlint-disable-next-line require-await -- the interface is that of bodies that come in pieces
  async *[Symbol.asyncIterator]() {
    if (whole.length > 0) yield whole;
  },
});
