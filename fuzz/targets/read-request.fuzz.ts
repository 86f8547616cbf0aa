// SPDX-License-Identifier: Apache-2.0
/** Do readers that take the first, the last or all values of a header see one and the same request? */
import { readRequest } from "../../packages/server/src/gateway/stages/1-read-request.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const DECIDING = [
  "host",
  "content-length",
  "transfer-encoding",
  "content-type",
  "content-encoding",
  "expect",
];

/** As CGI has it (RFC 3875 §4.1.18): no difference between a hyphen and an underscore. */
const cgi = (name: string): string => name.replaceAll("_", "-");

/** A method, and headers, a line each. */
function check(input: Buffer): void {
  const [method = "", ...lines] = input.toString("latin1").split("\n");
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    // The codec gives names in lower case.
    return colon < 0
      ? [line.toLowerCase(), ""]
      : [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const result = readRequest({ method, target: "/", headers, body: (async function* () {})() });
  if (!result.ok) return demand(result.reason.detail !== "", "a refusal without words");
  demandEqual(result.value.headers, headers, "the headers");
  for (const name of DECIDING) {
    const values = headers.filter(([key]) => cgi(key) === name).map(([, value]) => value);
    demand(values.length <= 1, `${name} is there ${values.length} times`);
  }
  const has = (name: string): boolean => headers.some(([key]) => cgi(key) === name);
  demand(has("host"), "no host");
  demand(!(has("content-length") && has("transfer-encoding")), "two framings");
  demand(!has("upgrade") || has("connection"), "an upgrade that is not of this connection");
  for (const [key, value] of headers) {
    if (cgi(key) === "transfer-encoding") demandEqual(value.toLowerCase(), "chunked", "the transfer coding");
    demand(!/[^\t -~\x80-\xff]/.test(value), "a control character in a value");
  }
  demand(/^[A-Z]+$/.test(method), "an odd method");
}

const NAMES = [
  "Host",
  "host",
  "Content-Length",
  "Content_Length",
  "Transfer-Encoding",
  "transfer_encoding",
  "Content-Type",
  "Expect",
  "Upgrade",
  "Connection",
  "X-A",
  "",
];
const VALUES = [
  "a",
  "a.example",
  "1",
  "0",
  "chunked",
  "Chunked",
  "gzip, chunked",
  "identity",
  "100-continue",
  "websocket",
  "a\0b",
  "\x7f",
  "\t",
  "é",
];

const target: FuzzTarget = {
  parsers: ["packages/server/src/gateway/stages/1-read-request.ts"],
  property:
    "Of every header that decides about the message there is one at most, in whatever spelling a server folds into it.",
  words: [...NAMES.map((name) => `\n${name}: `), ...VALUES, "GET\nHost: a\n"],
  make: (choose) =>
    `${choose.pick(["GET", "POST", "get", "CONNECT", "TRACE", "PUT "])}\n${choose.list(6, () => `${choose.pick(NAMES)}: ${choose.pick(VALUES)}`).join("\n")}`,
  check,
};
export default target;
