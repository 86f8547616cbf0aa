// SPDX-License-Identifier: Apache-2.0
/**
 * Is a secret in here, in any encoding that somebody might write it in?
 *
 * Deliberately independent of the product's own scrubber: the two are not allowed to share a blind spot.
 */
import { randomBytes } from "node:crypto";
import type { Dirent } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** A random secret with a mark, in the shape `prefix` of a provider: `sk-proj-CANARY…`. */
export const newMarkedSecret = (prefix: string): string =>
  `${prefix}CANARY${randomBytes(24).toString("base64url").replaceAll(/[-_]/g, "x")}`;

export interface Finding {
  readonly secret: string;
  readonly encoding: string;
  readonly place: string;
}

/** Which encodings of which secrets occur in `content`. Names are reported, never values. */
export function findSecrets(
  place: string,
  content: Buffer | string,
  secrets: Readonly<Record<string, string>>,
): readonly Finding[] {
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  const lower = Buffer.from(bytes.toString("latin1").toLowerCase(), "latin1");
  const findings: Finding[] = [];
  for (const [name, secret] of Object.entries(secrets)) {
    for (const { encoding, needle, anyCase } of encodingsOf(secret)) {
      if ((anyCase ? lower : bytes).includes(needle)) findings.push({ secret: name, encoding, place });
    }
  }
  return findings;
}

/** The same for every file below `folder`. */
export async function findSecretsInFolder(
  folder: string,
  secrets: Readonly<Record<string, string>>,
): Promise<{ readonly findings: readonly Finding[]; readonly filesRead: number }> {
  const findings: Finding[] = [];
  let filesRead = 0;
  const search = async (entries: readonly Dirent[]): Promise<void> => {
    for (const entry of entries.filter((each) => each.isFile())) {
      const path = join(entry.parentPath, entry.name);
      const content = await ifThere(readFile(path));
      if (content === undefined) continue;
      findings.push(...findSecrets(path, content, secrets));
      filesRead++;
    }
    // One folder at a time: where all are listed at once, one that has just gone takes the whole list with it.
    for (const entry of entries.filter((each) => each.isDirectory()))
      await search((await ifThere(entriesOf(join(entry.parentPath, entry.name)))) ?? []);
  };
  await search(await entriesOf(folder));
  return { findings, filesRead };
}

const entriesOf = (folder: string): Promise<Dirent[]> => readdir(folder, { withFileTypes: true });

/** The program that is searched may go on, and take away what it has just made. */
async function ifThere<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

interface Encoding {
  readonly encoding: string;
  readonly needle: Buffer;
  readonly anyCase: boolean;
}

/** The same few secrets are searched for again and again. */
const known = new Map<string, readonly Encoding[]>();

function encodingsOf(secret: string): readonly Encoding[] {
  const encodings = known.get(secret) ?? newEncodings(secret);
  known.set(secret, encodings);
  return encodings;
}

function newEncodings(secret: string): readonly Encoding[] {
  const bytes = Buffer.from(secret);
  const exact = (encoding: string, text: string) => ({ encoding, needle: Buffer.from(text), anyCase: false });
  const folded = (encoding: string, text: string) => ({
    encoding,
    needle: Buffer.from(text.toLowerCase()),
    anyCase: true,
  });
  const hex = bytes.toString("hex");
  return [
    exact("raw", secret),
    exact("reversed", Buffer.from(bytes).reverse().toString("latin1")),
    folded("hex", hex),
    folded("hex, spaced", hex.replaceAll(/(..)(?=.)/g, "$1 ")),
    folded("percent-encoded", encodeURIComponent(secret)),
    folded("percent-encoded throughout", hex.replaceAll(/../g, "%$&")),
    folded("utf-16", bytes.toString("latin1").replaceAll(/./g, "$&\0")),
    ...base64Alignments(bytes).flatMap((text, offset) => [
      exact(`base64 at offset ${offset}`, text),
      exact(`base64url at offset ${offset}`, text.replaceAll("+", "-").replaceAll("/", "_")),
    ]),
  ];
}

/** Base64 of the secret wherever it begins in a larger text: only the characters that neighbours cannot change. */
function base64Alignments(bytes: Buffer): string[] {
  return [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString("base64")
      .replaceAll("=", "");
    const first = offset === 0 ? 0 : offset + 1;
    const last = (offset + bytes.length) % 3 === 0 ? text.length : text.length - 1;
    return text.slice(first, last);
  });
}
