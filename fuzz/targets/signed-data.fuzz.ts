// SPDX-License-Identifier: Apache-2.0
/** Is BER read to its end or refused, and no message believed that nobody signed? */
import { createPublicKey } from "node:crypto";
import {
  BerError,
  type BerValue,
  octetsOf,
  readBer,
} from "../../packages/server/src/attestation/aws-ec2/ber.ts";
import { verifySignedData } from "../../packages/server/src/attestation/aws-ec2/signed-data.ts";
import { demand, type FuzzTarget } from "../target.ts";

/** The key of RFC 7515 §A.3; it has signed none of these. */
const key = createPublicKey({
  key: {
    kty: "EC",
    crv: "P-256",
    x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
  },
  format: "jwk",
});

function check(input: Buffer): void {
  demand(!verifySignedData(input, [key]).ok, "a message was believed that nobody signed");
  try {
    const value = readBer(input);
    demand(value.whole.equals(input), "BER with something left over");
    checkParts(value);
    octetsOf(value);
  } catch (error) {
    if (!(error instanceof BerError)) throw error;
  }
}

/** The parts of a value lie in it one behind the other, and nothing between them. */
function checkParts({ whole, children, content, isIndefinite }: BerValue): void {
  const inside = children.reduce((sum, child) => sum + child.whole.length, content.length);
  const around = whole.length - inside;
  demand(isIndefinite ? around === 4 : around >= 2 && around <= 5, `${around} bytes around the parts`);
  for (const child of children) checkParts(child);
}

const target: FuzzTarget = {
  parsers: [
    "packages/server/src/attestation/aws-ec2/ber.ts",
    "packages/server/src/attestation/aws-ec2/signed-data.ts",
  ],
  property:
    "The parts of a value fill it without a gap, and nothing is left over; nothing but the reader's own refusal is thrown; no unsigned message is believed.",
  words: [
    ...["\x30\x80", "\x30\x82\x01\x00", "\x30\x81\x05", "\x02\x01\x00", "\x24\x80", "\x04\x01a", "\x00\x00"],
    ...["\x84\x00\x00\x00\x01", "\xa0\x80", "\x31\x00", "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"],
  ],
  check,
};
export default target;
