// SPDX-License-Identifier: Apache-2.0
/**
 * How a secret is kept at rest: encrypted under a data key of its own, which is wrapped by the master key.
 *
 * Both layers authenticate the row they belong to, so a sealed value opens in its own row only: rows that
 * were swapped, renamed or replaced by an older version are refused like altered ones.
 *
 * Layout: `format (1) ‖ length of wrapped key (2) ‖ wrapped key ‖ nonce (12) ‖ ciphertext ‖ tag (16)`.
 */
import { randomBytes } from "node:crypto";
import { Fault } from "../kernel/fault.ts";
import { Secret } from "../kernel/secret.ts";
import { decrypt, encrypt, KEY_BYTES } from "./aes-gcm.ts";
import type { KeyEncryption } from "./key-encryption.ts";

const FORMAT = 1;
const HEADER_BYTES = 3;

/** The row that a sealed value belongs to. */
export interface SealIdentity {
  readonly table: string;
  readonly name: string;
  readonly version: number;
}

export interface Sealed {
  readonly sealed: Buffer;
  /** Id of the master key that opens it. */
  readonly keyId: string;
}

export async function seal(plaintext: Secret, identity: SealIdentity, keys: KeyEncryption): Promise<Sealed> {
  const dataKey = randomBytes(KEY_BYTES);
  try {
    const wrapped = await keys.wrap(dataKey, associated("key", identity, keys.id));
    const content = encrypt(dataKey, plaintext.expose("encrypt"), associated("content", identity, keys.id));
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt8(FORMAT, 0);
    header.writeUInt16BE(wrapped.length, 1);
    return { sealed: Buffer.concat([header, wrapped, content]), keyId: keys.id };
  } finally {
    dataKey.fill(0);
  }
}

/** A Fault that names the row, where the value is not exactly what was sealed for this row under this key. */
export async function open(value: Sealed, identity: SealIdentity, keys: KeyEncryption): Promise<Secret> {
  const row = `${identity.table} ${identity.name} version ${identity.version}`;
  if (value.keyId !== keys.id) {
    throw new Fault(
      "internal_error",
      `wrong master key: ${row} is sealed under ${value.keyId}, this server holds ${keys.id}`,
    );
  }
  try {
    return await openParts(value.sealed, identity, keys);
  } catch (error) {
    throw new Fault(
      "internal_error",
      `the sealed value of ${row} was altered or moved: restore it from a backup or set it again`,
      { cause: error },
    );
  }
}

async function openParts(sealed: Buffer, identity: SealIdentity, keys: KeyEncryption): Promise<Secret> {
  if (sealed.readUInt8(0) !== FORMAT) throw new RangeError("unknown format");
  const end = HEADER_BYTES + sealed.readUInt16BE(1);
  if (end > sealed.length) throw new RangeError("truncated");
  const wrapped = sealed.subarray(HEADER_BYTES, end);
  const dataKey = await keys.unwrap(wrapped, associated("key", identity, keys.id));
  try {
    return new Secret(decrypt(dataKey, sealed.subarray(end), associated("content", identity, keys.id)));
  } finally {
    dataKey.fill(0);
  }
}

/** JSON of a fixed list: no two identities give the same bytes, and the layers cannot stand in for each other. */
function associated(layer: "key" | "content", { table, name, version }: SealIdentity, keyId: string): Buffer {
  return Buffer.from(JSON.stringify(["postern seal", FORMAT, layer, keyId, table, name, version]), "utf8");
}
