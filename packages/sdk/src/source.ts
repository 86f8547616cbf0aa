// SPDX-License-Identifier: Apache-2.0
/** What do all sources have in common: a state that is kept up to date, and somebody who waits for the first one. */
import { findEndpoint } from "./endpoint.ts";
import { followStream } from "./follow-stream.ts";
import { GrpcClient, STATUS } from "./grpc-client.ts";
import { SpiffeError } from "./spiffe-error.ts";

export interface SourceOptions {
  /** `unix:///path` or `tcp://IP:PORT`; absent: what `SPIFFE_ENDPOINT_SOCKET` says. */
  readonly endpoint?: string;
  /** Ends the wait for the first answer. An open source is ended by `close`. */
  readonly signal?: AbortSignal;
  /** Hears of every refusal, every lost connection and every answer that was not taken. For logs. */
  readonly onProblem?: (problem: SpiffeError) => void;
}

export interface StreamOf<State> {
  readonly method: string;
  /** Throws where the answer is of no use. */
  read(message: Buffer, problem: (problem: SpiffeError) => void): State;
  readonly nothing: State;
}

/** The newest state of one stream. */
export class Kept<State> {
  readonly client: GrpcClient;
  readonly #stream: StreamOf<State>;
  readonly #options: SourceOptions;
  readonly #end = new AbortController();
  readonly #listeners = new Set<() => void>();
  readonly #first = Promise.withResolvers<void>();
  #state: State;

  private constructor(stream: StreamOf<State>, options: SourceOptions) {
    this.client = new GrpcClient(findEndpoint(options.endpoint));
    this.#stream = stream;
    this.#options = options;
    this.#state = stream.nothing;
  }

  /** Resolves when there is a first state. */
  static async open<State>(stream: StreamOf<State>, options: SourceOptions): Promise<Kept<State>> {
    const kept = new Kept(stream, options);
    const { signal } = options;
    const giveUp = (): void =>
      kept.#first.reject(
        new SpiffeError("workload_api", "the Workload API gave no answer before the caller gave up", {
          status: STATUS.cancelled,
          cause: signal?.reason,
        }),
      );
    if (signal?.aborted === true) giveUp();
    signal?.addEventListener("abort", giveUp, { once: true });
    void kept.#follow();
    try {
      await kept.#first.promise;
      return kept;
    } catch (error) {
      kept.close();
      throw error;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
  }

  get state(): State {
    return this.#state;
  }

  get isClosed(): boolean {
    return this.#end.signal.aborted;
  }

  /** Called after every change; gives what takes the listener away. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Nothing that was given may be used any more. */
  withdraw(): void {
    if (this.#state !== this.#stream.nothing) this.#become(this.#stream.nothing);
  }

  close(): void {
    if (this.isClosed) return;
    this.#end.abort();
    this.client.close();
    this.withdraw();
    this.#listeners.clear();
  }

  #follow(): Promise<void> {
    const problem = (what: SpiffeError): void => this.#tell(what);
    return followStream(
      {
        ...{ client: this.client, method: this.#stream.method, problem },
        take: (message) => {
          this.#become(this.#stream.read(message, problem));
          this.#first.resolve();
        },
        withdrawn: () => this.withdraw(),
        ended: (what) => this.#first.reject(what),
      },
      this.#end.signal,
    );
  }

  #become(state: State): void {
    this.#state = state;
    for (const listener of this.#listeners)
      try {
        listener();
      } catch (cause) {
        // The next one may be what ends connections that are trusted no longer.
        this.#tell(new SpiffeError("listener_failed", "who was told of a change has thrown", { cause }));
      }
  }

  #tell(problem: SpiffeError): void {
    try {
      this.#options.onProblem?.(problem);
    } catch {
      // There is nobody left to tell, and no identity may depend on who writes logs.
    }
  }
}
