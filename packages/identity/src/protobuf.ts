// SPDX-License-Identifier: Apache-2.0
/** Writes and reads the wire format of Protocol Buffers, as far as the Workload API's messages need it. */

export class ProtobufError extends Error {}

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

function varintSize(value: number): number {
  let size = 1;
  for (let left = value; left >= 128; left = Math.floor(left / 128)) size++;
  return size;
}

/** Gives the place behind it. */
function writeVarint(bytes: Buffer, value: number, start: number): number {
  let at = start;
  let left = value;
  for (; left >= 128; left = Math.floor(left / 128)) bytes[at++] = (left % 128) | 0x80;
  bytes[at++] = left;
  return at;
}

/** A field of bytes: text, bytes, or a message. */
export const field = (number: number, content: Buffer | string): Buffer => {
  const bytes = typeof content === "string" ? Buffer.from(content, "utf8") : content;
  const tag = number * 8 + LENGTH;
  const whole = Buffer.allocUnsafe(varintSize(tag) + varintSize(bytes.length) + bytes.length);
  bytes.copy(whole, writeVarint(whole, bytes.length, writeVarint(whole, tag, 0)));
  return whole;
};

export function varintField(number: number, value: number): Buffer {
  const tag = number * 8 + VARINT;
  const whole = Buffer.allocUnsafe(varintSize(tag) + varintSize(value));
  writeVarint(whole, value, writeVarint(whole, tag, 0));
  return whole;
}

export function doubleField(number: number, value: number): Buffer {
  const tag = number * 8 + FIXED64;
  const whole = Buffer.allocUnsafe(varintSize(tag) + 8);
  whole.writeDoubleLE(value, writeVarint(whole, tag, 0));
  return whole;
}

/** `map<string, bytes>`: an entry is a message of key and value. */
export const mapField = (number: number, key: string, value: Buffer | string): Buffer =>
  field(number, Buffer.concat([field(1, key), field(2, value)]));

/** Nothing that is meant has a tenth of it; a field takes two bytes, and an object of many more here. */
const MOST_FIELDS = 10_000;

/**
 * Fields of bytes by number, in order; others are passed over, as a reader of an older definition must. Whole numbers
 * go to `numbers`, of a field that stands several times the last.
 */
export function readFields(
  message: Buffer,
  numbers?: Map<number, number>,
): ReadonlyMap<number, readonly Buffer[]> {
  const fields = new Map<number, Buffer[]>();
  let count = 0;
  let at = 0;
  const readVarint = (): number => {
    let value = 0;
    for (let index = 0; index < 10; index++) {
      const byte = message[at++];
      if (byte === undefined) throw new ProtobufError("a number is cut off");
      value += (byte & 0x7f) * 2 ** (7 * index);
      if ((byte & 0x80) === 0) return value;
    }
    throw new ProtobufError("a number too long");
  };
  while (at < message.length) {
    const tag = readVarint();
    const number = Math.floor(tag / 8);
    const type = tag % 8;
    if (number === 0 || number >= 2 ** 29) throw new ProtobufError("a field without a number");
    if (type === VARINT) {
      const value = readVarint();
      numbers?.set(number, value);
    } else if (type === FIXED64 || type === FIXED32) at += type === FIXED64 ? 8 : 4;
    else if (type === LENGTH) {
      const length = readVarint();
      if (length > message.length - at) throw new ProtobufError("a field is cut off");
      if (++count > MOST_FIELDS) throw new ProtobufError("too many fields");
      const same = fields.get(number);
      const content = message.subarray(at, at + length);
      if (same === undefined) fields.set(number, [content]);
      else same.push(content);
      at += length;
    } else throw new ProtobufError("a field of an unknown type");
    if (at > message.length) throw new ProtobufError("a field is cut off");
  }
  return fields;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function readText(bytes: Buffer): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new ProtobufError("a text that is not UTF-8");
  }
}
