// SPDX-License-Identifier: Apache-2.0
/** Is a master key taken only where it is 32 bytes in base64 and nothing else, and never repeated in an error? */
import { loadReferencedMasterKey } from "../../packages/server/src/keys/file-master-key.ts";
import { masterKey } from "../../packages/server/src/keys/master-key.ts";
import { Fault } from "../../packages/server/src/kernel/fault.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const KEY = Buffer.alloc(32, 0xa5).toString("base64");

async function check(input: Buffer): Promise<void> {
  const text = input.toString("utf8");
  if (text === "") return;
  const trimmed = text.replaceAll(/^[ \t\r\n\v\f]+|[ \t\r\n\v\f]+$/g, "");
  const isKey = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(trimmed);
  try {
    const { id } = await loadReferencedMasterKey("env:K", { readEnv: () => text }, []);
    demand(isKey, "another text was taken for a key");
    demandEqual(id, masterKey(Buffer.from(trimmed, "base64")).id, "the key");
  } catch (error) {
    demand(error instanceof Fault, `loading failed with ${String(error)}`);
    demand(!isKey, "a key was refused");
    if (trimmed.length > 12) demand(!error.message.includes(trimmed), "the text is in the error");
  }
}

const target: FuzzTarget = {
  parsers: ["packages/server/src/keys/file-master-key.ts", "packages/server/src/keys/reference.ts"],
  property: "Only 32 bytes in canonical base64 are a key; whatever else it is does not stand in the error.",
  words: [KEY, "\n", "=", "-", "_", " ", "\ufeff"].map((word) => Buffer.from(word).toString("latin1")),
  make: (choose) =>
    choose.pick([KEY, `${KEY}\n`, choose.rest().toString("base64"), choose.rest().toString("base64url")]),
  check,
};
export default target;
