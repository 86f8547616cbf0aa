// SPDX-License-Identifier: Apache-2.0
/**
 * A workload: asks the Workload API for its identity, says what it gets, one JSON object a line, until it is denied. With
 * `GATEWAY` it calls an API through the gateway there with what it gets.
 *
 * Plain HTTP/2, so that `npm test` needs no package and no network; stock clients are in `clients/identity/`.
 */
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";

/** Every field of bytes of a message with numbers below 16, in order. */
function fieldsOf(message: Buffer): Buffer[] {
  const fields: Buffer[] = [];
  for (let at = 1; at < message.length; at++) {
    let length = 0;
    for (let shift = 0, byte = 0x80; (byte & 0x80) !== 0; shift += 7) {
      byte = message[at++]!;
      length += (byte & 0x7f) << shift;
    }
    fields.push(message.subarray(at, at + length));
    at += length;
  }
  return fields;
}

// Whoever listened has heard enough.
process.stdout.on("error", () => process.exit());
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
const pem = (der: Buffer): string =>
  `-----BEGIN CERTIFICATE-----\n${der.toString("base64")}\n-----END CERTIFICATE-----\n`;

const keyPem = (der: Buffer): string => pem(der).replaceAll("CERTIFICATE", "PRIVATE KEY");

function callApi(gateway: string, identity: { cert: string; key: string; ca: string }): void {
  const headers = { "content-type": "application/json", authorization: "Bearer placeholder" };
  const options = { method: "POST", headers, servername: "localhost", ...identity };
  const asked = httpsRequest(`${gateway}/openai/v1/chat/completions`, options, (answer) => {
    answer.resume();
    say({ called: answer.statusCode, audit: answer.headers["postern-audit-id"] });
  });
  asked.on("error", (error) => say({ called: error.message }));
  asked.end(JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }] }));
}

function call(method: string, request: Buffer, take: (message: Buffer) => void): void {
  const socket = process.env["SPIFFE_ENDPOINT_SOCKET"]?.replace("unix://", "") ?? "";
  const client = connectHttp2("http://localhost", { createConnection: () => connect(socket) });
  const stream = client.request({
    ":method": "POST",
    ":path": `/SpiffeWorkloadAPI/${method}`,
    "content-type": "application/grpc",
    te: "trailers",
    "workload.spiffe.io": "true",
  });
  let bytes: Buffer = Buffer.alloc(0);
  const end = (headers: Record<string, unknown>): void => {
    if (headers["grpc-status"] !== undefined) say({ method, status: headers["grpc-status"] });
  };
  stream.on("response", end);
  stream.on("trailers", end);
  stream.on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) {
      const length = 5 + bytes.readUInt32BE(1);
      take(bytes.subarray(5, length));
      bytes = bytes.subarray(length);
    }
  });
  stream.on("close", () => client.close());
  const header = Buffer.alloc(5);
  header.writeUInt32BE(request.length, 1);
  stream.end(Buffer.concat([header, request]));
}

call("FetchX509SVID", Buffer.alloc(0), (message) => {
  const [id, certificate, key, bundle] = fieldsOf(fieldsOf(message)[0]!);
  say({ id: id!.toString(), certificate: pem(certificate!) });
  const gateway = process.env["GATEWAY"];
  if (gateway !== undefined)
    callApi(gateway, { cert: pem(certificate!), key: keyPem(key!), ca: pem(bundle!) });
});
call("FetchJWTSVID", Buffer.from("\n\u0003api"), (message) => {
  const [, token] = fieldsOf(fieldsOf(message)[0]!);
  say({ token: token!.toString() });
});
call("FetchWITSVID", Buffer.alloc(0), (message) => {
  const [, wit, key] = fieldsOf(fieldsOf(message)[0]!);
  say({ wit: wit!.toString(), key: key!.toString() });
});
