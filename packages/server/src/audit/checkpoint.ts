// SPDX-License-Identifier: Apache-2.0
/**
 * How a tree head is written, signed and checked: C2SP tlog-checkpoint in a C2SP signed note, Ed25519.
 *
 * Depends on `node:crypto` alone, so that it can stand beside an offline verifier anywhere.
 */
import { createPublicKey, hash, verify } from "node:crypto";
import { ok, refuse } from "../kernel/result.ts";
import type { Result } from "../kernel/result.ts";
import { HASH_BYTES } from "./merkle.ts";

/** Who signs checkpoints. The private key stays behind it. */
export interface CheckpointSigner {
  /** Name of the key and origin of the log: no space, no plus sign. */
  readonly name: string;
  /** The raw 32 bytes. */
  readonly publicKey: Buffer;
  sign(note: Buffer): Buffer;
}

export interface VerifierKey {
  readonly name: string;
  readonly publicKey: Buffer;
}

export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
}

export interface SignedCheckpoint extends Checkpoint {
  /** Number of signature lines, ours and others'. */
  readonly signatures: number;
}

const ED25519 = 0x01;
const MAX_NOTE_LENGTH = 16_384;
const MAX_SIGNATURES = 16;
const SIGNATURE_LINE = /^— (\S+) (\S+)$/u;
/** DER of a SubjectPublicKeyInfo with an Ed25519 key, up to the key (RFC 8410 §4). */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

function keyHash(name: string, publicKey: Buffer): Buffer {
  const text = Buffer.concat([Buffer.from(`${name}\n`), Buffer.from([ED25519]), publicKey]);
  return hash("sha256", text, "buffer").subarray(0, 4);
}

function isKeyName(name: string): boolean {
  return /^[^\s+\p{Cc}]{1,255}$/u.test(name) && name.isWellFormed();
}

/** Standard base64 with padding, in its one canonical form; undefined for anything else. */
function parseBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}

/** `name+hash+key`: what a person copies to check the log elsewhere (C2SP signed-note, verifier keys). */
export function formatVkey({ name, publicKey }: VerifierKey): string {
  if (!isKeyName(name)) throw new TypeError("the name of a checkpoint key has no space and no plus sign");
  const key = Buffer.concat([Buffer.from([ED25519]), publicKey]);
  return `${name}+${keyHash(name, publicKey).toString("hex")}+${key.toString("base64")}`;
}

export function parseVkey(text: string): Result<VerifierKey, string> {
  const [name, hexHash, ...rest] = text.split("+");
  if (name === undefined || hexHash === undefined || rest.length === 0 || !isKeyName(name)) {
    return refuse("the verifier key is not `name+hash+key`");
  }
  const key = parseBase64(rest.join("+"));
  if (key?.length !== 1 + HASH_BYTES || key[0] !== ED25519) return refuse("the verifier key is not Ed25519");
  const publicKey = key.subarray(1);
  if (keyHash(name, publicKey).toString("hex") !== hexHash) {
    return refuse("the hash in the verifier key does not fit its name and key");
  }
  return ok({ name, publicKey });
}

/** The text that is signed. */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${root.toString("base64")}\n`;
}

/** The signed note of a checkpoint, with one signature. */
export function signCheckpoint(tree: Omit<Checkpoint, "origin">, signer: CheckpointSigner): string {
  const text = formatCheckpoint({ origin: signer.name, ...tree });
  const signature = Buffer.concat([keyHash(signer.name, signer.publicKey), signer.sign(Buffer.from(text))]);
  return `${text}\n— ${signer.name} ${signature.toString("base64")}\n`;
}

interface Signature {
  readonly name: string;
  readonly keyHash: Buffer;
  readonly bytes: Buffer;
}

function parseSignature(line: string): Signature | undefined {
  const [, name, encoded] = SIGNATURE_LINE.exec(line) ?? [];
  const bytes = encoded === undefined ? undefined : parseBase64(encoded);
  if (name === undefined || !isKeyName(name) || bytes === undefined || bytes.length < 5) return undefined;
  return { name, keyHash: bytes.subarray(0, 4), bytes: bytes.subarray(4) };
}

function parseNote(note: string): Result<{ text: string; signatures: Signature[] }, string> {
  if (note.length > MAX_NOTE_LENGTH) return refuse("the checkpoint is too long");
  const end = note.lastIndexOf("\n\n");
  if (end < 0 || !note.endsWith("\n")) return refuse("the checkpoint is not a signed note");
  const lines = note.slice(end + 2, -1).split("\n");
  if (lines.length > MAX_SIGNATURES) return refuse("the checkpoint has too many signatures");
  const signatures = lines.map(parseSignature);
  if (signatures.includes(undefined)) return refuse("a signature line of the checkpoint is malformed");
  return ok({ text: note.slice(0, end + 1), signatures: signatures.filter((one) => one !== undefined) });
}

function parseText(text: string): Result<Checkpoint, string> {
  const [origin, size, root, ...rest] = text.split("\n");
  // Extension lines, which may follow, are never empty; the last element is what follows the final newline.
  if (rest.pop() !== "" || rest.includes("")) return refuse("the checkpoint is malformed");
  if (origin === undefined || !isKeyName(origin)) return refuse("the origin of the checkpoint is malformed");
  if (size === undefined || !/^(0|[1-9][0-9]{0,15})$/.test(size) || !Number.isSafeInteger(Number(size))) {
    return refuse("the size in the checkpoint is malformed");
  }
  const rootHash = parseBase64(root ?? "");
  if (rootHash?.length !== HASH_BYTES) return refuse("the root in the checkpoint is malformed");
  return ok({ origin, size: Number(size), root: rootHash });
}

/** The checkpoint, if it is well formed, of the key's log, and signed with the key. */
export function verifyCheckpoint(note: string, key: VerifierKey): Result<SignedCheckpoint, string> {
  const parsed = parseNote(note);
  if (!parsed.ok) return parsed;
  const { text, signatures } = parsed.value;
  const id = keyHash(key.name, key.publicKey);
  const [ours, ...more] = signatures.filter((one) => one.name === key.name && one.keyHash.equals(id));
  if (ours === undefined || more.length > 0) return refuse(`the checkpoint is not signed by ${key.name}`);
  const publicKey = createPublicKey({
    key: Buffer.concat([SPKI_PREFIX, key.publicKey]),
    format: "der",
    type: "spki",
  });
  if (ours.bytes.length !== 64 || !verify(null, Buffer.from(text), publicKey, ours.bytes)) {
    return refuse("the signature of the checkpoint is wrong");
  }
  const checkpoint = parseText(text);
  if (!checkpoint.ok) return checkpoint;
  if (checkpoint.value.origin !== key.name) return refuse("the checkpoint is of another log");
  return ok({ ...checkpoint.value, signatures: signatures.length });
}
