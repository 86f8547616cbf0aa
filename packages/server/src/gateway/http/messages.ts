// SPDX-License-Identifier: Apache-2.0
/**
 * The narrow interface between the gateway and whatever speaks HTTP/1.1 for it.
 *
 * Stages see these types only, never `node:http` or a client library, so that the codec can be replaced.
 */
import type { Duplex } from "node:stream";
import type { Ending } from "../ending.ts";

/** Name and value in the order of the wire; names in lower case, in which they are compared and sent. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

/** The bytes of a body, read once. */
export interface MessageBody extends AsyncIterable<Buffer> {
  /** All of it, where it has come already and none was read: nothing has to be awaited then. */
  readonly whole?: Buffer | undefined;
}

/** A request as it was read, nothing decided yet. */
export interface RawRequest {
  readonly method: string;
  /** The request target of the request line, byte for byte. */
  readonly target: string;
  readonly headers: HeaderList;
  readonly body: MessageBody;
}

/** Where a request came in. */
export type Entrance =
  /** Straight on the run's door: base URL, or absolute-form proxy request. */
  | { readonly kind: "door"; readonly authorities: readonly string[] }
  /** Inside a CONNECT tunnel whose TLS was terminated here. */
  | {
      readonly kind: "tunnel";
      readonly host: string;
      readonly port: number;
      readonly serverName: string | undefined;
    };

/** One request and the way to answer it. */
export interface Exchange {
  readonly request: RawRequest;
  readonly entrance: Entrance;
  /** Comes when the agent goes away or the exchange is destroyed before the answer is complete. */
  readonly gone: Ending;
  /** Comes when the agent has said that it sends nothing more: it waits for its answer all the same, or has given up. */
  readonly leaving: Ending;
  /** Begins the answer; once. Its head leaves with the first piece, or at the end of this turn. */
  startAnswer(head: AnswerHead): AnswerBody;
  /**
   * Answers 101 with these headers and hands over the connection's byte stream, both ways; bytes that came
   * after the request come first. Only for a request that asked for another protocol. The stream is paused:
   * whoever takes it resumes it once its handlers stand.
   */
  switchProtocols(headers: HeaderList): Duplex;
  /** Closes the agent's connection at once, whatever was sent so far. */
  destroy(): void;
}

export interface AnswerHead {
  readonly status: number;
  readonly headers: HeaderList;
}

export interface AnswerBody {
  /** Sends a piece; resolves when more may be sent (back-pressure). */
  write(chunk: Buffer): Promise<void>;
  /** Sends the last piece and what ends the answer; resolves when everything has been given to the system. */
  end(last?: Buffer): Promise<void>;
}

/** The one form of a request that policy, audit and the wire see. */
export interface CanonicalRequest {
  readonly method: string;
  /** `https` only goes on; `http` is recognized to be refused with a clear reason. */
  readonly scheme: "https" | "http";
  /** Lower-case ASCII host; absent where the base URL names a server workload instead. */
  readonly host?: string;
  readonly port?: number;
  /** Name in the first path segment of a base URL. */
  readonly workloadName?: string;
  /** Absolute path, normalized: what is matched, decided and sent. */
  readonly path: string;
  /** Query with its question mark, or empty; as it came. */
  readonly query: string;
  readonly mode: "base-url" | "proxy" | "connect";
}

/** A request ready for the upstream, credential included: `inject` makes it, `forward` sends it. */
export interface UpstreamRequest {
  readonly method: string;
  /** Origin-form. */
  readonly target: string;
  readonly headers: HeaderList;
  readonly body: Buffer | AsyncIterable<Buffer> | undefined;
}

/** An answer of the upstream, headers first. */
export interface UpstreamAnswer {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: MessageBody;
  /** Leaves the rest unread; the connection ends with it. */
  discard(): void;
}

/** What a request for another protocol is answered with. */
export interface UpgradeAnswer {
  readonly answer: UpstreamAnswer;
  /** After a 101: the byte stream, paused, what came after the head first. Any other answer is an ordinary one. */
  readonly stream?: Duplex;
}

export declare const connectionBrand: unique symbol;

/** An open, verified TLS connection to one server workload. Only `connect-upstream` makes one. */
export interface UpstreamConnection {
  readonly [connectionBrand]: true;
  readonly authority: string;
  /** Sends one request; the connection is given back by itself when the answer has been read to its end. */
  send(request: UpstreamRequest, ending: Ending): Promise<UpgradeAnswer>;
  /** Sends a request that asks for another protocol. */
  upgrade(request: UpstreamRequest, ending: Ending): Promise<UpgradeAnswer>;
  /** Gives the connection back unused. */
  release(): void;
}
