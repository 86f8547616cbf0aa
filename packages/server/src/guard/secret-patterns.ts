// SPDX-License-Identifier: Apache-2.0
/** The byte patterns under which a secret could come back: as it is, and in the usual encodings. */

/** Below this length encodings are not searched: they would hit by chance. */
const LEAST_FOR_ENCODINGS = 8;

/** All patterns of one secret, without repeats. They are as confidential as the secret itself. */
export function secretPatterns(secret: Buffer): Buffer[] {
  if (secret.length === 0) return [];
  if (secret.length < LEAST_FOR_ENCODINGS) return [secret];
  const texts = new Set<string>([secret.toString("latin1")]);
  for (const alphabet of ["base64", "base64url"] as const) {
    for (const offset of [0, 1, 2]) texts.add(encodedInterior(secret, offset, alphabet));
  }
  const hex = secret.toString("hex");
  texts.add(hex).add(hex.toUpperCase());
  const percent = percentEncode(secret);
  texts.add(percent).add(percent.replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()));
  texts.add(Buffer.from(JSON.stringify(secret.toString("utf8")).slice(1, -1), "utf8").toString("latin1"));
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

/** RFC 3986 §2.1 with upper-case digits; unreserved characters stay. */
function percentEncode(secret: Buffer): string {
  let text = "";
  for (const byte of secret) {
    const character = String.fromCharCode(byte);
    text += /[A-Za-z0-9\-._~]/.test(character)
      ? character
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return text;
}
