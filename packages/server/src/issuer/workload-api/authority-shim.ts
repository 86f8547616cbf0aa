// SPDX-License-Identifier: Apache-2.0
/**
 * Lets every gRPC client in, whatever it puts into `:authority`.
 *
 * On a Unix socket there is no authority. Some clients send the path of the socket, or nothing; Node's HTTP/2 resets
 * their streams (RFC 9113 §8.3.1 wants a host there). So the client's frames pass through here: header blocks are read
 * and written anew with the same word in that place, everything else stays as it is. The other direction is not touched.
 */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { encodeLiterally, type HeaderField, HpackDecoder, HpackError } from "./hpack.ts";

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
const FRAME_HEADER = 9;
/** Our side never offers more (RFC 9113 §6.5.2). */
const MOST_FRAME_BYTES = 16_384;
const MOST_BLOCK_BYTES = 16_384;
const MOST_BLOCK_FRAMES = 16;

const HEADERS = 1;
const CONTINUATION = 9;
const END_STREAM = 0x01;
const END_HEADERS = 0x04;
const PADDED = 0x08;
const PRIORITY = 0x20;

const AUTHORITY: HeaderField = [Buffer.from(":authority"), Buffer.from("localhost")];

type WriteDone = (error?: Error | null) => void;

interface OpenBlock {
  readonly stream: number;
  readonly isLast: boolean;
  readonly parts: Buffer[];
  bytes: number;
}

/** The readable side is what Node's HTTP/2 reads; what it writes goes to the socket. */
export class AuthorityShim extends Duplex {
  readonly #socket: Socket;
  readonly #decoder = new HpackDecoder();
  #waiting: Buffer = Buffer.alloc(0);
  #hasPreface = false;
  #block: OpenBlock | undefined;

  constructor(socket: Socket) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => this.#take(bytes));
    socket.on("end", () => this.push(null));
    socket.on("error", () => this.destroy());
    socket.on("close", () => this.destroy());
    socket.on("drain", () => this.#release());
  }

  #writeDone: (() => void) | undefined;

  #release(): void {
    const done = this.#writeDone;
    this.#writeDone = undefined;
    done?.();
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: WriteDone): void {
    this.#send(bytes, done);
  }

  /** What HTTP/2 writes in pieces goes out in one: a push to thousands of streams is mostly writes. */
  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: WriteDone): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  #send(bytes: Buffer, done: WriteDone): void {
    if (this.#socket.destroyed) return done(new Error("the peer is gone"));
    if (this.#socket.write(bytes)) return done();
    this.#writeDone = done;
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    this.#release();
    done(error);
  }

  #take(bytes: Buffer): void {
    this.#waiting = this.#waiting.length === 0 ? bytes : Buffer.concat([this.#waiting, bytes]);
    try {
      while (!this.destroyed && this.#passOne());
    } catch (error) {
      if (!(error instanceof HpackError)) throw error;
      // Nothing that follows could be understood: the state of both sides differs from here on.
      this.destroy();
    }
  }

  /** Passes the preface or one frame on; false where more bytes are needed. */
  #passOne(): boolean {
    if (!this.#hasPreface) {
      const { length } = PREFACE;
      const start = this.#waiting.subarray(0, length);
      if (!PREFACE.subarray(0, start.length).equals(start)) throw new HpackError("this is not HTTP/2");
      if (start.length < length) return false;
      this.#hasPreface = true;
      this.#pass(this.#cut(length));
      return true;
    }
    if (this.#waiting.length < FRAME_HEADER) return false;
    const length = this.#waiting.readUIntBE(0, 3);
    if (length > MOST_FRAME_BYTES) throw new HpackError("a frame larger than what was offered");
    if (this.#waiting.length < FRAME_HEADER + length) return false;
    this.#passFrame(this.#cut(FRAME_HEADER + length));
    return true;
  }

  #cut(length: number): Buffer {
    const part = this.#waiting.subarray(0, length);
    this.#waiting = this.#waiting.subarray(length);
    return part;
  }

  #passFrame(frame: Buffer): void {
    const type = frame[3]!;
    const stream = frame.readUInt32BE(5) & 0x7fffffff;
    // RFC 9113 §4.3: nothing stands between the frames of one block.
    if (this.#block !== undefined && (type !== CONTINUATION || stream !== this.#block.stream))
      throw new HpackError("a frame within a header block");
    if (type === HEADERS) return this.#begin(frame, stream);
    if (type !== CONTINUATION) return this.#pass(frame);
    if (this.#block === undefined) throw new HpackError("a continuation of nothing");
    this.#append(this.#block, frame.subarray(FRAME_HEADER), frame[4]!);
  }

  /** §6.2: without padding and priority, which nobody needs. */
  #begin(frame: Buffer, stream: number): void {
    const flags = frame[4]!;
    let start = FRAME_HEADER;
    let end = frame.length;
    if ((flags & PADDED) !== 0) end -= frame[start++] ?? 0;
    if ((flags & PRIORITY) !== 0) start += 5;
    if (start > end) throw new HpackError("more padding than frame");
    this.#block = { stream, isLast: (flags & END_STREAM) !== 0, parts: [], bytes: 0 };
    this.#append(this.#block, frame.subarray(start, end), flags);
  }

  #append(block: OpenBlock, fragment: Buffer, flags: number): void {
    block.bytes += fragment.length;
    if (block.parts.push(fragment) > MOST_BLOCK_FRAMES || block.bytes > MOST_BLOCK_BYTES)
      throw new HpackError("a header block too large");
    if ((flags & END_HEADERS) === 0) return;
    this.#block = undefined;
    this.#passBlock(block, this.#decoder.decode(Buffer.concat(block.parts)));
  }

  #passBlock({ stream, isLast }: OpenBlock, fields: readonly HeaderField[]): void {
    const payload = encodeLiterally(withAuthority(fields));
    for (let at = 0, type = HEADERS; at === 0 || at < payload.length; type = CONTINUATION) {
      const part = payload.subarray(at, at + MOST_FRAME_BYTES);
      at += Math.max(1, part.length);
      const header = Buffer.alloc(FRAME_HEADER);
      header.writeUIntBE(part.length, 0, 3);
      header[3] = type;
      header[4] = (at >= payload.length ? END_HEADERS : 0) | (type === HEADERS && isLast ? END_STREAM : 0);
      header.writeUInt32BE(stream, 5);
      this.#pass(Buffer.concat([header, part]));
    }
  }

  #pass(bytes: Buffer): void {
    if (!this.push(bytes)) this.#socket.pause();
  }
}

/** Only a request has one: trailers stay as they are. */
function withAuthority(fields: readonly HeaderField[]): readonly HeaderField[] {
  const isRequest = fields.some(([name]) => name.equals(Buffer.from(":method")));
  if (!isRequest) return fields;
  const others = fields.filter(([name]) => !name.equals(AUTHORITY[0]));
  return [AUTHORITY, ...others];
}
