// SPDX-License-Identifier: Apache-2.0
/**
 * Started as an agent inside `postern run`: opens very many connections and misuses each in the same way.
 *
 * `node hostile-agent.ts KIND COUNT` says five times a second how many connections were opened and closed, and how
 * many answers came, until it is stopped.
 */
import { connect, type Socket } from "node:net";

const OPENAI = "api.openai.com";
const [kind = "idle", count = "1"] = process.argv.slice(2);
const gate = new URL(process.env["POSTERN_GATE"]!);
const connectLine = `CONNECT ${OPENAI}:443 HTTP/1.1\r\nHost: ${OPENAI}:443\r\n\r\n`;
const head = (line: string, ...more: string[]): string =>
  [line, `Host: ${gate.host}`, "Content-Type: application/json", ...more, "", ""].join("\r\n");
const chat = (model: string): string => {
  const body = JSON.stringify({ model, messages: [], stream: true });
  return head("POST /openai/v1/chat/completions HTTP/1.1", `Content-Length: ${body.length}`) + body;
};

/** What each connection sends at once, and after it what it does. */
const KINDS: Readonly<Record<string, { say: string; next?: (socket: Socket) => void }>> = {
  idle: { say: "", next: (socket) => socket.resume() },
  /** A tunnel in which no TLS comes. */
  tunnel: { say: connectLine, next: (socket) => socket.resume() },
  /** TLS that stops after the beginning of its first record (RFC 8446 §5.1). */
  handshake: {
    say: connectLine,
    next: (socket) =>
      socket.once("data", () => socket.write(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]))),
  },
  headers: { say: head("GET /openai/v1/models HTTP/1.1").slice(0, -2), next: (socket) => drip(socket, "x") },
  body: {
    say: head("POST /openai/v1/chat/completions HTTP/1.1", "Content-Length: 100000"),
    next: (socket) => drip(socket, " "),
  },
  stream: { say: chat("stand-in-endless"), next: (socket) => socket.resume() },
  /** An answer that never ends and of which nothing is read. */
  unread: { say: head("GET /flood/endless HTTP/1.1"), next: (socket) => socket.pause() },
  /** The same, a byte a second. */
  sipping: { say: head("GET /flood/endless HTTP/1.1"), next: sip },
  /** Says that it has nothing more to say, and goes on listening. */
  halfclosed: { say: chat("stand-in-endless"), next: (socket) => socket.end() },
  flood: { say: head("GET /openai/v1/models HTTP/1.1"), next: again },
};

let opened = 0;
let closed = 0;
let answers = 0;
const plan = KINDS[kind]!;
// Faster, and the kernel's queue of new connections overflows: those wait in it unseen.
let left = Number(count);
const opening = setInterval(() => {
  for (let i = 0; i < 50 && left > 0; i++, left--) open();
  if (left === 0) clearInterval(opening);
}, 10);
setInterval(() => process.stdout.write(`${JSON.stringify({ opened, closed, answers })}\n`), 200);

function open(): void {
  const socket = connect({ port: Number(gate.port), host: gate.hostname, allowHalfOpen: true });
  socket.on("error", () => {});
  socket.on("connect", () => {
    opened++;
    if (plan.say !== "") socket.write(plan.say);
    plan.next?.(socket);
  });
  socket.on("end", () => socket.destroy());
  socket.on("close", () => closed++);
}

function drip(socket: Socket, byte: string): void {
  const timer = setInterval(() => socket.write(byte), 1000);
  socket.resume().once("close", () => clearInterval(timer));
}

function sip(socket: Socket): void {
  socket.pause();
  const timer = setInterval(() => socket.read(1), 1000);
  socket.once("close", () => clearInterval(timer));
}

/** One request after the other, as fast as answers come. */
function again(socket: Socket): void {
  let text = "";
  socket.setEncoding("latin1").on("data", (piece: string) => {
    text += piece;
    for (let end = text.indexOf("\r\n\r\n"); end !== -1; end = text.indexOf("\r\n\r\n")) {
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (text.length < end + 4 + length) return;
      text = text.slice(end + 4 + length);
      answers++;
      socket.write(plan.say);
    }
  });
}
