// SPDX-License-Identifier: Apache-2.0
/** The exchange that an agent's connection is busy with, as the stages see it. */
import type { Duplex } from "node:stream";
import { Ending } from "../ending.ts";
import { AnswerWriter } from "./answer-writer.ts";
import type { BodyQueue } from "./body-queue.ts";
import type { RequestHead } from "./message-head.ts";
import type { AnswerBody, AnswerHead, Entrance, Exchange, HeaderList, RawRequest } from "./messages.ts";

/** What an exchange needs of its connection. */
interface ConnectionHooks {
  /** Whether the request has come to its end. */
  isComplete(): boolean;
  onAnswered(keepsAlive: boolean): void;
  /** Lets go of the connection; gives the bytes that were not read yet. */
  release(): Buffer;
}

export class OpenRequest implements Exchange {
  readonly request: RawRequest;
  readonly entrance: Entrance;
  readonly gone = new Ending();
  readonly body: BodyQueue;
  /** Made for who asks: hardly anybody does. */
  #leaving: Ending | undefined;
  #isLeaving = false;
  readonly #socket: Duplex;
  readonly #head: RequestHead;
  readonly #hooks: ConnectionHooks;
  #state: "open" | "answering" | "answered" | "switched" | "lost" = "open";

  constructor(
    socket: Duplex,
    head: RequestHead,
    entrance: Entrance,
    body: BodyQueue,
    hooks: ConnectionHooks,
  ) {
    this.#socket = socket;
    this.#head = head;
    this.#hooks = hooks;
    this.entrance = entrance;
    this.body = body;
    this.request = { method: head.method, target: head.target, headers: head.headers, body };
  }

  get isAnswering(): boolean {
    return this.#state === "answering";
  }

  get leaving(): Ending {
    this.#leaving ??= new Ending();
    if (this.#isLeaving || this.gone.isOver) this.#leaving.end();
    return this.#leaving;
  }

  /** The agent sends nothing more. */
  leave(): void {
    this.#isLeaving = true;
    this.#leaving?.end();
  }

  startAnswer(head: AnswerHead): AnswerBody {
    this.#expectOpen();
    this.#state = "answering";
    return new AnswerWriter(this.#socket, head, {
      method: this.#head.method,
      isHttp11: this.#head.isHttp11,
      keepsAlive: this.#head.keepsAlive && this.#hooks.isComplete(),
      onComplete: (keepsAlive) => {
        this.#state = "answered";
        this.#hooks.onAnswered(keepsAlive);
      },
    });
  }

  switchProtocols(headers: HeaderList): Duplex {
    this.#expectOpen();
    this.#state = "switched";
    const rest = this.#hooks.release();
    const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    this.#socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines}\r\n`, "latin1");
    if (rest.length > 0) this.#socket.unshift(rest);
    return this.#socket;
  }

  destroy(): void {
    // Answered, the connection carries other exchanges; lost, it is closing with a word of its own.
    if (this.#state !== "answered" && this.#state !== "lost") this.#socket.destroy();
  }

  /** The agent has gone, or what it sent turned out to be broken. */
  lose(): void {
    if (this.#state !== "open" && this.#state !== "answering") return;
    this.#state = "lost";
    this.body.fail(new Error("agent went away"));
    this.gone.end();
    this.#leaving?.end();
  }

  #expectOpen(): void {
    if (this.#state !== "open") throw new Error("agent went away");
  }
}
