// SPDX-License-Identifier: Apache-2.0
/** Does a sealed value open in its own row only, byte for byte as it was sealed? */
import { masterKey } from "../../packages/server/src/keys/master-key.ts";
import { open, seal, type SealIdentity } from "../../packages/server/src/keys/seal.ts";
import { Fault } from "../../packages/server/src/kernel/fault.ts";
import { Secret } from "../../packages/server/src/kernel/secret.ts";
import { Choices } from "../choices.ts";
import { demand, type FuzzTarget } from "../target.ts";

const keys = masterKey(Buffer.alloc(32, 7));
const rows: readonly SealIdentity[] = [
  { table: "secrets", name: "openai-key", version: 1 },
  { table: "secrets", name: "openai-key", version: 2 },
  { table: "sealed_keys", name: "openai-key", version: 1 },
  { table: "secrets", name: "other", version: 1 },
];
const PLAIN = ["sk-proj-canary-0001", "", "x".repeat(70_000)];
const sealed = await Promise.all(
  rows.flatMap((row) =>
    PLAIN.map(async (plain) => ({ row, plain, value: await seal(Secret.fromUtf8(plain), row, keys) })),
  ),
);

/** Choices: a sealed value, a row, and what is done to the bytes. */
async function check(input: Buffer): Promise<void> {
  const choose = new Choices(input);
  const { row, plain, value } = choose.pick(sealed);
  const where = choose.once(3) ? choose.pick(rows) : row;
  let bytes = value.sealed;
  for (let left = choose.below(3); left > 0; left--) bytes = altered(bytes, choose);
  const isSound = bytes.equals(value.sealed) && where === row;
  try {
    const opened = await open({ sealed: bytes, keyId: value.keyId }, where, keys);
    const same = sealed.find((one) => one.value.sealed.equals(bytes) && one.row === where);
    demand(isSound || same !== undefined, "what was changed or moved was opened");
    // Its bytes stay in it; as many of them is all that may be seen here.
    demand(opened.length === Buffer.byteLength((same ?? { plain }).plain), "not what was sealed");
  } catch (error) {
    demand(error instanceof Fault, `opening failed with ${String(error)}`);
    demand(!isSound, "a sound value was refused");
    demand(!`${error.message}${String(error.cause)}`.includes("canary"), "the secret is in the error");
  }
}

function altered(bytes: Buffer, choose: Choices): Buffer {
  const at = choose.below(Math.min(bytes.length, choose.pick([4, 90, bytes.length])) + 1);
  switch (choose.below(5)) {
    case 0: {
      const copy = Buffer.from(bytes);
      if (at < copy.length) copy[at]! ^= 1 << choose.below(8);
      return copy;
    }
    case 1:
      return bytes.subarray(0, at);
    case 2:
      return Buffer.concat([bytes.subarray(0, at), choose.bytes(20), bytes.subarray(at)]);
    case 3: {
      // The wrapped key of another value before this content.
      const other = choose.pick(sealed).value.sealed;
      return Buffer.concat([other.subarray(0, 63), bytes.subarray(63)]);
    }
    default: {
      const copy = Buffer.from(bytes);
      if (copy.length >= 3) copy.writeUInt16BE(choose.below(65_536), 1);
      return copy;
    }
  }
}

const target: FuzzTarget = {
  parsers: [
    "packages/server/src/keys/seal.ts",
    "packages/server/src/keys/aes-gcm.ts",
    "packages/server/src/keys/master-key.ts",
  ],
  property:
    "A sealed value that was changed by a bit, or put into another row, is refused with a fault that does not hold it.",
  make: (choose) => choose.rest(),
  largest: 512,
  check,
};
export default target;
