// SPDX-License-Identifier: Apache-2.0
/** Are the header blocks of the Workload API's clients read as what they say, within bounds? */
import {
  encodeLiterally,
  type HeaderField,
  HpackDecoder,
  HpackError,
} from "../../packages/server/src/issuer/workload-api/hpack.ts";
import { decodeHuffman } from "../../packages/server/src/issuer/workload-api/huffman.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

/** The first byte is the length of the first block, and so on: what one block says may refer to earlier ones. */
function blocksOf(input: Buffer): Buffer[] {
  const blocks: Buffer[] = [];
  for (let at = 0; at < input.length; at += 1 + input[at]!)
    blocks.push(input.subarray(at + 1, at + 1 + input[at]!));
  return blocks;
}

function decode(decoder: HpackDecoder, block: Buffer): HeaderField[] | undefined {
  try {
    return decoder.decode(block);
  } catch (error) {
    demand(error instanceof HpackError, `another error than its own: ${String(error)}`);
    return undefined;
  }
}

const textOf = (fields: readonly HeaderField[]) =>
  fields.map(([name, value]) => [name.toString("latin1"), value.toString("latin1")]);

function check(input: Buffer): void {
  const [decoder, again] = [new HpackDecoder(), new HpackDecoder()];
  for (const block of blocksOf(input)) {
    const fields = decode(decoder, block);
    const same = decode(again, Buffer.from(block));
    demandEqual(
      same === undefined ? "refused" : textOf(same),
      fields === undefined ? "refused" : textOf(fields),
      "twice",
    );
    if (fields === undefined) return;
    demand(fields.length <= 128, "more fields than are taken");
    const plain = decode(new HpackDecoder(), encodeLiterally(fields));
    demand(plain !== undefined, "what was written is refused");
    demandEqual(textOf(plain), textOf(fields), "written plainly");
  }
  const text = decodeHuffman(input);
  demand(text === undefined || text.length * 5 <= input.length * 8, "more text than its code has room for");
}

const target: FuzzTarget = {
  parsers: [
    "packages/server/src/issuer/workload-api/hpack.ts",
    "packages/server/src/issuer/workload-api/huffman.ts",
  ],
  property:
    "Blocks are read the same each time and written plainly say the same; fields are bounded; nothing but its own error is thrown.",
  words: [
    "\u0082",
    "\u0086",
    "\u0041\u008c",
    "\u0040\u000a",
    "\u00be",
    "\u003f\u00e1\u0001",
    "\u00ff",
    ":authority",
  ],
  check,
};
export default target;
