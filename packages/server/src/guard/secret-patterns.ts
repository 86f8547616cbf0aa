// SPDX-License-Identifier: Apache-2.0
/**
 * The byte patterns under which a secret could show: as it is, and in the usual encodings.
 *
 * Letters are compared without case by whoever looks for them, so one hex pattern stands for all its spellings.
 */

/** Shorter secrets are not looked for: they would be found in every text. */
export const LEAST_SECRET = 4;
/** Below this length encodings are not searched: they would hit by chance. */
const LEAST_FOR_ENCODINGS = 8;

/** All patterns of one secret, without repeats. They are as confidential as the secret itself. */
export function secretPatterns(secret: Buffer): Buffer[] {
  if (secret.length < LEAST_SECRET) return [];
  if (secret.length < LEAST_FOR_ENCODINGS) return [secret];
  const raw = secret.toString("latin1");
  const texts = new Set<string>([raw, secret.toString("hex")]);
  for (const alphabet of ["base64", "base64url"] as const) {
    for (const offset of [0, 1, 2]) texts.add(encodedInterior(secret, offset, alphabet));
  }
  // Every form below leaves these characters as they are.
  if (!/^[A-Za-z0-9\-._]*$/.test(raw)) {
    for (const text of percentForms(secret)) texts.add(text);
    for (const text of readings(secret, raw)) {
      for (const form of jsonForms(text)) texts.add(Buffer.from(form, "utf8").toString("latin1"));
    }
  }
  return [...texts].map((text) => Buffer.from(text, "latin1"));
}

/**
 * The characters of base64 that depend on the secret alone when it starts at byte `offset` (mod 3) of a
 * longer text: the same wherever it stands, so also inside `Basic` credentials.
 */
function encodedInterior(secret: Buffer, offset: number, alphabet: "base64" | "base64url"): string {
  const padded = Buffer.concat([Buffer.alloc(offset), secret]);
  const first = Math.ceil((offset * 8) / 6);
  const end = Math.floor((padded.length * 8) / 6);
  return padded.toString(alphabet).slice(first, end);
}

/** What stays as it is besides letters, digits, `-`, `.` and `_`; encoders differ in it. */
const UNESCAPED = {
  "RFC 3986 §2.3": "~",
  "injection into path and query": "~:",
  encodeURIComponent: "~!*'()",
  encodeURI: "~!*'();,/?:@&=+$#",
  "encoders that keep slashes": "~/",
  "encoders of 1998": "",
  URLSearchParams: "*",
};

/** RFC 3986 §2.1, and `application/x-www-form-urlencoded` with a plus sign for the space. */
function percentForms(secret: Buffer): string[] {
  const forms = Object.values(UNESCAPED).map((unescaped) => percentEncode(secret, unescaped));
  return secret.includes(0x20)
    ? [...forms, ...forms.map((form) => form.replaceAll("%20", "+").replaceAll(" ", "+"))]
    : forms;
}

function percentEncode(secret: Buffer, unescaped: string): string {
  let text = "";
  for (const byte of secret) {
    const character = String.fromCharCode(byte);
    text +=
      /[A-Za-z0-9\-._]/.test(character) || unescaped.includes(character)
        ? character
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return text;
}

/** The texts that an upstream may take the bytes for: UTF-8, and Latin-1 as many read headers. */
function readings(secret: Buffer, latin1: string): string[] {
  const utf8 = secret.toString("utf8");
  if (utf8 === latin1) return [latin1];
  return Buffer.from(utf8, "utf8").equals(secret) ? [utf8, latin1] : [latin1];
}

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** RFC 8259 §7 leaves encoders a choice of what they escape, and how. */
function jsonForms(text: string): string[] {
  const least = JSON.stringify(text).slice(1, -1);
  const ascii = least.replaceAll(/[\u007f-\uffff]/g, escaped);
  const slashes = (form: string): string => form.replaceAll("/", "\\/");
  return [
    ...[least, ascii, slashes(least), slashes(ascii)],
    // Encoders that care for HTML: Go's, and .NET's, which also escapes what could end an attribute.
    ...[least, ascii].map((form) => form.replaceAll(/[<>&]/g, escaped)),
    ascii.replaceAll('\\"', escaped('"')).replaceAll(/[<>&'+`]/g, escaped),
    // JSON in a string of JSON, such as the arguments of a tool call.
    JSON.stringify(least).slice(1, -1),
  ];
}
