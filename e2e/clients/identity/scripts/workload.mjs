// SPDX-License-Identifier: Apache-2.0
/**
 * A workload with plain grpc-js, that sends the path of the socket as `:authority`, as gRPC for Java does.
 *
 * Says what the Workload API gives it, one JSON object a line, until it is denied.
 */
import { X509Certificate } from "node:crypto";
import { Client, credentials, Metadata, status } from "@grpc/grpc-js";

const socket = process.env.SPIFFE_ENDPOINT_SOCKET;
const client = new Client(socket, credentials.createInsecure(), {
  "grpc.default_authority": socket.replace("unix://", ""),
});
const metadata = new Metadata();
metadata.set("workload.spiffe.io", "true");
const say = (fields) => process.stdout.write(`${JSON.stringify(fields)}\n`);
const same = (bytes) => bytes;

/** Fields of bytes of a message: number → contents. All of this API's messages have numbers below 16. */
function fieldsOf(message) {
  const fields = {};
  for (let at = 0; at < message.length;) {
    const number = message[at++] >> 3;
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++];
      length += (byte & 0x7f) << shift;
      if (byte < 128) break;
    }
    (fields[number] ??= []).push(message.subarray(at, at + length));
    at += length;
  }
  return fields;
}
const text = (number, value) =>
  Buffer.concat([Buffer.from([number * 8 + 2, value.length]), Buffer.from(value)]);

/** DER certificates that stand one behind the other. */
function certificates(bytes) {
  const found = [];
  for (let at = 0; at < bytes.length;) {
    const length = 4 + bytes.readUInt16BE(at + 2);
    found.push(new X509Certificate(bytes.subarray(at, at + length)));
    at += length;
  }
  return found;
}

const unary = (method, request) =>
  new Promise((resolve, reject) => {
    client.makeUnaryRequest(`/SpiffeWorkloadAPI/${method}`, same, same, request, metadata, (error, answer) =>
      error === null ? resolve(answer) : reject(error),
    );
  });
const jwt = fieldsOf(fieldsOf(await unary("FetchJWTSVID", text(1, "api")))[1][0]);
const token = jwt[2][0];
const long = Buffer.concat([Buffer.from([18, (token.length & 0x7f) | 0x80, token.length >> 7]), token]);
const validated = fieldsOf(await unary("ValidateJWTSVID", Buffer.concat([text(1, "api"), long])));
const other = await unary("ValidateJWTSVID", Buffer.concat([text(1, "other"), long])).catch(
  ({ code }) => code,
);
say({
  event: "jwt",
  id: jwt[1][0].toString(),
  server: validated[1][0].toString(),
  refused: other === status.INVALID_ARGUMENT,
});

const stream = client.makeServerStreamRequest(
  "/SpiffeWorkloadAPI/FetchX509SVID",
  same,
  same,
  Buffer.alloc(0),
  metadata,
);
stream.on("data", (message) => {
  const svid = fieldsOf(fieldsOf(message)[1][0]);
  const [leaf] = certificates(svid[2][0]);
  const authorities = certificates(svid[4][0]);
  const signer = authorities.find((each) => leaf.checkIssued(each) && leaf.verify(each.publicKey));
  say({
    event: signer === undefined ? "error" : "x509",
    id: svid[1][0].toString(),
    signer: signer?.subject,
    authorities: authorities.length,
    serial: leaf.serialNumber,
  });
});
stream.on("error", ({ code, details }) => {
  say({ event: code === status.PERMISSION_DENIED ? "denied" : "error", error: details });
  client.close();
});
