// SPDX-License-Identifier: Apache-2.0
/**
 * `node tunnel.ts GATE HOST:PORT`: listens on a port of its own, prints it, and passes each connection on through a
 * CONNECT tunnel of the gate. So a load generator that knows no proxies can load one.
 */
import { connect, createServer, type AddressInfo } from "node:net";

const [gate = "", target = ""] = process.argv.slice(2);
const { hostname, port } = new URL(gate);

const server = createServer({ noDelay: true }, (client) => {
  const tunnel = connect({ host: hostname, port: Number(port), noDelay: true });
  const end = (): void => {
    client.destroy();
    tunnel.destroy();
  };
  for (const socket of [client, tunnel]) socket.once("error", end).once("close", end);
  tunnel.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  tunnel.once("data", (answer: Buffer) => {
    if (!answer.toString("latin1").startsWith("HTTP/1.1 200")) return end();
    client.pipe(tunnel);
    tunnel.pipe(client);
  });
});
server.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port));
