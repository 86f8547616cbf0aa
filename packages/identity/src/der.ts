// SPDX-License-Identifier: Apache-2.0
/** Writes DER (X.690 §10), just the types that certificates need. Every function returns one TLV. */

/** In one piece: certificates are made of dozens of these. */
function tlv(tag: number, ...items: readonly Buffer[]): Buffer {
  let length = 0;
  for (const item of items) length += item.length;
  if (length >= 0x10000) throw new RangeError("DER value too long");
  const header = length < 0x80 ? 2 : length < 0x100 ? 3 : 4;
  const whole = Buffer.allocUnsafe(header + length);
  whole[0] = tag;
  if (header > 2) whole[1] = 0x80 | (header - 2);
  if (header === 4) whole[2] = length >> 8;
  whole[header - 1] = length & 0xff;
  let at = header;
  for (const item of items) at += item.copy(whole, at);
  return whole;
}

export const sequence = (...items: readonly Buffer[]): Buffer => tlv(0x30, ...items);
export const set = (...items: readonly Buffer[]): Buffer => tlv(0x31, ...items);
export const octetString = (content: Buffer): Buffer => tlv(0x04, content);
export const utf8String = (text: string): Buffer => tlv(0x0c, Buffer.from(text, "utf8"));
export const boolean = (value: boolean): Buffer => tlv(0x01, Buffer.from([value ? 0xff : 0x00]));
/** `[n]` constructed, explicit. */
export const explicit = (n: number, content: Buffer): Buffer => tlv(0xa0 | n, content);
/** `[n]` primitive, implicit. */
export const implicit = (n: number, content: Buffer): Buffer => tlv(0x80 | n, content);

export const bitString = (content: Buffer, unusedBits = 0): Buffer =>
  tlv(0x03, Buffer.from([unusedBits]), content);

/** A non-negative INTEGER from big-endian bytes. */
export function integer(bytes: Buffer): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const trimmed = bytes.subarray(start);
  return tlv(0x02, trimmed[0]! & 0x80 ? Buffer.concat([Buffer.from([0]), trimmed]) : trimmed);
}

/** The few that the code names, each written once. */
const objectIdentifiers = new Map<string, Buffer>();

export function objectIdentifier(dotted: string): Buffer {
  const known = objectIdentifiers.get(dotted) ?? writeObjectIdentifier(dotted);
  objectIdentifiers.set(dotted, known);
  return known;
}

function writeObjectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return tlv(0x06, Buffer.from(bytes));
}

/** UTCTime until 2049, GeneralizedTime after (RFC 5280 §4.1.2.5). */
export function time(instant: number): Buffer {
  const text = new Date(instant).toISOString();
  const [year, month, day] = [text.slice(0, 4), text.slice(5, 7), text.slice(8, 10)];
  const digits = `${month}${day}${text.slice(11, 13)}${text.slice(14, 16)}${text.slice(17, 19)}Z`;
  return Number(year) < 2050
    ? tlv(0x17, Buffer.from(year.slice(2) + digits, "latin1"))
    : tlv(0x18, Buffer.from(year + digits, "latin1"));
}
