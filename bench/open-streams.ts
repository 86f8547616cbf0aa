// SPDX-License-Identifier: Apache-2.0
/** Many clients of the Workload API in one process: says when all have got an answer, again and again. */
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";

const [socket = "", count = "0"] = process.argv.slice(2);
const wanted = Number(count);
/** Streams that have had so many answers. */
const answered: number[] = [];
let opened = 0;

function open(): void {
  const session = connectHttp2("http://localhost", { createConnection: () => connect(socket) });
  const stream = session.request({
    ":method": "POST",
    ":path": "/SpiffeWorkloadAPI/FetchX509SVID",
    "content-type": "application/grpc",
    te: "trailers",
    "workload.spiffe.io": "true",
  });
  let bytes: Buffer = Buffer.alloc(0);
  let answers = 0;
  stream.on("data", (chunk: Buffer) => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) {
      bytes = bytes.subarray(5 + bytes.readUInt32BE(1));
      const nth = answers++;
      answered[nth] = (answered[nth] ?? 0) + 1;
      if (nth === 0 && opened < wanted) next();
      if (answered[nth] === wanted) process.send?.({ answers: nth + 1 });
    }
  });
  stream.end(Buffer.alloc(5));
}

function next(): void {
  opened++;
  open();
}

/** So many at a time are on their way. */
for (let index = 0; index < Math.min(32, wanted); index++) next();
