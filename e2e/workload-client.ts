// SPDX-License-Identifier: Apache-2.0
/** A gRPC client over a Unix socket, for tests: plain HTTP/2, so that `npm test` needs no package and no network. */
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";

/** Fields of bytes of a message by number, in order; others are passed over. */
export function fieldsOf(message: Buffer): Map<number, Buffer[]> {
  const fields = new Map<number, Buffer[]>();
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let power = 1; ; power *= 128) {
      const byte = message[at++]!;
      value += (byte & 0x7f) * power;
      if ((byte & 0x80) === 0) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    if (tag % 8 === 0) varint();
    else if (tag % 8 === 2) {
      const length = varint();
      fields.set(number, [...(fields.get(number) ?? []), message.subarray(at, (at += length))]);
    } else at += tag % 8 === 1 ? 8 : 4;
  }
  return fields;
}

/** A field of bytes or text. */
export function field(number: number, content: Buffer | string): Buffer {
  const bytes = Buffer.from(content);
  const varint = (value: number): number[] =>
    value < 128 ? [value] : [(value % 128) | 0x80, ...varint(Math.floor(value / 128))];
  return Buffer.concat([Buffer.from([...varint(number * 8 + 2), ...varint(bytes.length)]), bytes]);
}

export interface CallEvents {
  message?(message: Buffer): void;
  /** `grpc-status`; undefined where the stream broke off. */
  end?(status: string | undefined): void;
}

export class WorkloadClient {
  readonly #session: ClientHttp2Session;

  /** `secure`: with TLS in the socket, as brokers come in. */
  constructor(socketPath: string, secure?: ConnectionOptions) {
    const open = (): Socket =>
      secure === undefined
        ? connect(socketPath)
        : connectTls({ path: socketPath, ALPNProtocols: ["h2"], ...secure });
    this.#session = connectHttp2("http://localhost", { createConnection: open });
    this.#session.on("error", () => {});
  }

  /** `path` such as `/SpiffeWorkloadAPI/FetchX509SVID`. */
  call(
    path: string,
    request: Buffer,
    events: CallEvents,
    more: Record<string, string> = {},
  ): ClientHttp2Stream {
    const stream = this.#session.request({
      ...{ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" },
      ...{ "workload.spiffe.io": "true", ...more },
    });
    let status: string | undefined;
    let bytes: Buffer = Buffer.alloc(0);
    const noteStatus = (headers: Record<string, unknown>): void => {
      if (typeof headers["grpc-status"] === "string") status = headers["grpc-status"];
    };
    stream.on("response", noteStatus);
    stream.on("trailers", noteStatus);
    stream.on("error", () => {});
    stream.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) {
        const length = 5 + bytes.readUInt32BE(1);
        events.message?.(bytes.subarray(5, length));
        bytes = bytes.subarray(length);
      }
    });
    stream.on("close", () => events.end?.(status));
    stream.end(framed(request));
    return stream;
  }

  /** The first message, or the status that it ended with. */
  first(method: string, request: Buffer = Buffer.alloc(0)): Promise<Buffer | string | undefined> {
    return new Promise((resolve) => {
      this.call(`/SpiffeWorkloadAPI/${method}`, request, { message: resolve, end: resolve });
    });
  }

  close(): void {
    this.#session.destroy();
  }
}

function framed(message: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}

/** `X509SVIDResponse`: the first SVID of it. */
export function svidOf(message: Buffer) {
  const svid = fieldsOf(fieldsOf(message).get(1)![0]!);
  const [id, certificate, key, bundle] = [1, 2, 3, 4].map((number) => svid.get(number)![0]!);
  return { id: id!.toString(), certificate: certificate!, key: key!, bundle: bundle! };
}
