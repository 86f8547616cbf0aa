// SPDX-License-Identifier: Apache-2.0
/** Are Envoy's requests for secrets read as what they say, within bounds? */
import { field, ProtobufError } from "../../packages/identity/src/protobuf.ts";
import {
  type DiscoveryRequest,
  readDiscoveryRequest,
} from "../../packages/server/src/issuer/workload-api/sds-messages.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

function read(message: Buffer): DiscoveryRequest | undefined {
  try {
    return readDiscoveryRequest(message);
  } catch (error) {
    demand(error instanceof ProtobufError, `another error than its own: ${String(error)}`);
    return undefined;
  }
}

function check(input: Buffer): void {
  const request = read(input);
  demandEqual(read(Buffer.from(input)), request, "twice");
  if (request === undefined) return;
  const { names, nonce, isRefusal } = request;
  demand(names.length <= 100 && new Set(names).size === names.length, "too many names, or one twice");
  demand(
    names.every((name) => name.length <= 2048),
    "a name too long",
  );
  const plain = Buffer.concat([
    ...names.map((name) => field(3, name)),
    field(5, nonce),
    ...(isRefusal ? [field(6, "")] : []),
  ]);
  demandEqual(read(plain), request, "written plainly");
}

const target: FuzzTarget = {
  parsers: ["packages/server/src/issuer/workload-api/sds-messages.ts", "packages/identity/src/protobuf.ts"],
  property:
    "A request is read the same each time and written plainly says the same; names are bounded and none is there twice; nothing but its own error is thrown.",
  words: [
    "\u001a\u0007default",
    "\u001a\u0006ROOTCA",
    "\u001a\u0003ALL",
    '"HType.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
    "\u002a\u00011",
    "2\u0004\u0012\u0002no",
    "\u00ff\u00ff\u00ff\u00ff\u000f",
  ],
  check,
};
export default target;
