// SPDX-License-Identifier: Apache-2.0
/** One end of a WebSocket: its stream, what was said to it, and whether it is still there. */
import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { FrameReader } from "./frame-reader.ts";
import { closePayload, FrameWriter } from "./frame-writer.ts";

/** Ticks without a byte after which a peer is asked for one, and after which it counts as gone. */
const PING_AFTER = 2;
const GONE_AFTER = 10;

export class Peer {
  readonly name: "agent" | "upstream";
  readonly stream: Duplex;
  readonly reader: FrameReader;
  readonly #writer: FrameWriter;
  /** It has said that it closes. */
  hasClosed = false;
  /** It was told so. */
  #wasClosed = false;
  #isRead = true;
  #silentTicks = 0;
  #ping: Buffer | undefined;

  constructor(name: "agent" | "upstream", stream: Duplex) {
    this.name = name;
    this.stream = stream;
    this.reader = new FrameReader(name);
    this.#writer = new FrameWriter(name);
    // What goes wrong shows as the end of the stream.
    stream.on("error", () => {});
  }

  get wasClosed(): boolean {
    return this.#wasClosed;
  }

  /** Resolves when the stream is closed, whatever closed it. */
  closed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.stream.closed) resolve();
      else this.stream.once("close", resolve);
    });
  }

  /** Pieces as they come, to the end of the stream. What is not taken yet waits in the stream. */
  async *chunks(): AsyncGenerator<Buffer, void> {
    try {
      for await (const chunk of this.stream.iterator({ destroyOnReturn: false })) {
        this.#isRead = false;
        yield chunk as Buffer;
        this.#isRead = true;
        this.#silentTicks = 0;
        this.#ping = undefined;
      }
    } catch {
      // Broken off: an end like any other.
    }
  }

  /** Resolves when more may be sent. */
  async sendData(bytes: Buffer, isText: boolean, ends: boolean): Promise<void> {
    await this.#send(this.#writer.data(bytes, isText, ends));
  }

  async sendControl(kind: "close" | "ping" | "pong", bytes: Buffer): Promise<void> {
    const frame = this.#writer.control(kind, bytes);
    if (!this.#wasClosed) this.#wasClosed = kind === "close";
    await this.#send(frame);
  }

  /** Says why, where nothing was said yet, and that nothing follows; gone within `patience` milliseconds. */
  finish(code: number, reason: string, patience: number): void {
    if (!this.#wasClosed) void this.sendControl("close", closePayload(code, reason));
    this.#wasClosed = true;
    if (this.stream.closed) return;
    const insist = setTimeout(() => this.stream.destroy(), patience);
    this.stream.once("close", () => clearTimeout(insist));
    this.stream.end();
  }

  /** Whether this is the answer to a ping of ours, which the other end knows nothing of. */
  answersPing(bytes: Buffer): boolean {
    return this.#ping?.equals(bytes) === true;
  }

  /** Called now and then; false where nothing has come for too long. Who is not read cannot be heard. */
  tick(): boolean {
    if (!this.#isRead) return true;
    this.#silentTicks++;
    if (this.#silentTicks === PING_AFTER && !this.#wasClosed) {
      this.#ping = randomBytes(8);
      void this.sendControl("ping", this.#ping);
    }
    return this.#silentTicks < GONE_AFTER;
  }

  #send(frame: Buffer): Promise<void> {
    const { stream } = this;
    if (frame.length === 0 || stream.destroyed || stream.writableEnded || stream.write(frame))
      return Promise.resolve();
    return new Promise((resolve) => {
      const settle = (): void => {
        stream.off("drain", settle);
        stream.off("close", settle);
        resolve();
      };
      stream.on("drain", settle);
      stream.on("close", settle);
    });
  }
}
