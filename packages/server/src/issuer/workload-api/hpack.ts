// SPDX-License-Identifier: Apache-2.0
/** Reads and writes the header blocks of HTTP/2 (RFC 7541): reads all of it, writes the plainest form only. */
import { decodeHuffman } from "./huffman.ts";

export class HpackError extends Error {}

export type HeaderField = readonly [name: Buffer, value: Buffer];

/** What our side of every connection announces, or leaves at its default (RFC 9113 §6.5.2). */
const TABLE_BYTES = 4096;
const ENTRY_OVERHEAD = 32;
const MOST_FIELDS = 128;
const MOST_DECODED_BYTES = 65_536;

/** Appendix A, in order; `name value`, or a name alone. */
const STATIC_TABLE: readonly HeaderField[] = [
  [":authority"],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset"],
  ["accept-encoding", "gzip, deflate"],
  ...(
    "accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control " +
    "content-disposition content-encoding content-language content-length content-location content-range " +
    "content-type cookie date etag expect expires from host if-match if-modified-since if-none-match if-range " +
    "if-unmodified-since last-modified link location max-forwards proxy-authenticate proxy-authorization range " +
    "referer refresh retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary " +
    "via www-authenticate"
  )
    .split(" ")
    .map((name) => [name]),
].map(([name = "", value = ""]) => [Buffer.from(name), Buffer.from(value)]);

/** One per direction of a connection: what one block says may refer to earlier blocks. */
export class HpackDecoder {
  /** Newest first. */
  readonly #dynamic: HeaderField[] = [];
  #dynamicBytes = 0;
  #limit = TABLE_BYTES;

  /** Throws `HpackError`; the connection is of no use afterwards (§4.1, RFC 9113 §4.3). */
  decode(block: Buffer): HeaderField[] {
    const fields: HeaderField[] = [];
    let decoded = 0;
    const reader = new BlockReader(block);
    while (!reader.isAtEnd) {
      const first = reader.peek();
      if ((first & 0xe0) === 0x20) {
        // §4.2: sizes change at the beginning of a block only.
        if (fields.length > 0) throw new HpackError("a size update within a block");
        this.#resize(reader.integer(5));
        continue;
      }
      const field = this.#readField(reader, first);
      decoded += field[0].length + field[1].length + ENTRY_OVERHEAD;
      if (fields.push(field) > MOST_FIELDS || decoded > MOST_DECODED_BYTES)
        throw new HpackError("too many or too large header fields");
    }
    return fields;
  }

  #readField(reader: BlockReader, first: number): HeaderField {
    if ((first & 0x80) !== 0) return this.#entry(reader.integer(7));
    const isIndexed = (first & 0xc0) === 0x40;
    const index = reader.integer(isIndexed ? 6 : 4);
    const name = index === 0 ? reader.text() : this.#entry(index)[0];
    const field: HeaderField = [name, reader.text()];
    if (isIndexed) this.#insert(field);
    return field;
  }

  #entry(index: number): HeaderField {
    const entry =
      index <= STATIC_TABLE.length ? STATIC_TABLE[index - 1] : this.#dynamic[index - STATIC_TABLE.length - 1];
    if (entry === undefined) throw new HpackError(`no entry ${index}`);
    return entry;
  }

  #insert([name, value]: HeaderField): void {
    // Copies: the block they are part of would be kept alive by them.
    const field: HeaderField = [Buffer.from(name), Buffer.from(value)];
    this.#dynamic.unshift(field);
    this.#dynamicBytes += sizeOf(field);
    this.#evict();
  }

  #resize(limit: number): void {
    if (limit > TABLE_BYTES) throw new HpackError("a table larger than what was offered");
    this.#limit = limit;
    this.#evict();
  }

  #evict(): void {
    while (this.#dynamicBytes > this.#limit) this.#dynamicBytes -= sizeOf(this.#dynamic.pop()!);
  }
}

const sizeOf = ([name, value]: HeaderField): number => name.length + value.length + ENTRY_OVERHEAD;

class BlockReader {
  readonly #block: Buffer;
  #at = 0;

  constructor(block: Buffer) {
    this.#block = block;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#block.length;
  }

  peek(): number {
    const byte = this.#block[this.#at];
    if (byte === undefined) throw new HpackError("a block is cut off");
    return byte;
  }

  /** §5.1 */
  integer(prefixBits: number): number {
    const most = (1 << prefixBits) - 1;
    let value = this.peek() & most;
    this.#at++;
    if (value < most) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.peek();
      this.#at++;
      value += (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) return value;
    }
    throw new HpackError("an integer too large");
  }

  /** §5.2 */
  text(): Buffer {
    const isHuffman = (this.peek() & 0x80) !== 0;
    const length = this.integer(7);
    const end = this.#at + length;
    if (end > this.#block.length) throw new HpackError("a text is cut off");
    const bytes = this.#block.subarray(this.#at, end);
    this.#at = end;
    const text = isHuffman ? decodeHuffman(bytes) : bytes;
    if (text === undefined) throw new HpackError("a text is not in the Huffman code");
    return text;
  }
}

/** Every field as a literal that nobody remembers (§6.2.2): needs no state, and no table at the reader. */
export function encodeLiterally(fields: readonly HeaderField[]): Buffer {
  const parts = fields.flatMap(([name, value]) => [
    Buffer.from([0]),
    encodeLength(name.length),
    name,
    encodeLength(value.length),
    value,
  ]);
  return Buffer.concat(parts);
}

function encodeLength(length: number): Buffer {
  if (length < 127) return Buffer.from([length]);
  const bytes = [127];
  let left = length - 127;
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) | 0x80);
  bytes.push(left);
  return Buffer.from(bytes);
}
