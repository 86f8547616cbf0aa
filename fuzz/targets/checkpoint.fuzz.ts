// SPDX-License-Identifier: Apache-2.0
/** Is a checkpoint believed only byte for byte as it was signed, and a verifier key only in its one form? */
import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import {
  formatVkey,
  parseVkey,
  signCheckpoint,
  verifyCheckpoint,
} from "../../packages/server/src/audit/checkpoint.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

/** The key of RFC 8032 §7.1, test 1: the corpus must stay valid. */
const privateKey = createPrivateKey({
  key: Buffer.from(
    "302e020100300506032b6570042204209d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "hex",
  ),
  format: "der",
  type: "pkcs8",
});
const publicKey = createPublicKey(privateKey).export({ format: "der", type: "spki" }).subarray(-32);
const key = { name: "postern.test/audit", publicKey, sign: (note: Buffer) => sign(null, note, privateKey) };

const SIZES = [0, 1, 255, 256, 70_000];
const notes = SIZES.map((size) => signCheckpoint({ size, root: Buffer.alloc(32, size) }, key));
/** What the signature covers; lines of other signers may follow (C2SP signed-note). */
const signedTexts = new Map(
  notes.map((note, index) => [note.slice(0, note.lastIndexOf("\n\n") + 1), SIZES[index]!]),
);

function check(input: Buffer): void {
  const text = input.toString("utf8");
  const verified = verifyCheckpoint(text, key);
  if (verified.ok) {
    const size = signedTexts.get(text.slice(0, text.lastIndexOf("\n\n") + 1));
    demand(size !== undefined, "a text was believed that was never signed");
    demandEqual([verified.value.size, verified.value.origin], [size, key.name], "size and origin");
    demand(verified.value.root.equals(Buffer.alloc(32, size)), "another root");
    demandEqual(
      verified.value.signatures,
      text.slice(text.lastIndexOf("\n\n") + 2, -1).split("\n").length,
      "signatures",
    );
  }
  const vkey = parseVkey(text);
  if (vkey.ok) demandEqual(formatVkey(vkey.value), text, "the one form of a verifier key");
}

const target: FuzzTarget = {
  parsers: ["packages/server/src/audit/checkpoint.ts"],
  property:
    "Only texts that were signed are believed, with the size and root in them; a verifier key has one spelling.",
  words: [
    ...notes,
    formatVkey(key),
    "\n",
    "\n\n",
    "— ",
    key.name,
    "+",
    "=",
    "— other AAAAAAA=\n",
    "256\n",
  ].map((word) => Buffer.from(word).toString("latin1")),
  make: (choose) => Buffer.from(choose.pick([...notes, formatVkey(key)])),
  check,
};
export default target;
