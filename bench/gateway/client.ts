// SPDX-License-Identifier: Apache-2.0
/**
 * What a caller sees, measured inside the run and outside of it: `node client.ts MODE BASE PATH CA`, one line of
 * JSON at the end. BASE is a URL of the gate or of the upstream, CA a file with its authority for https.
 *
 * `rate`: a thousand requests a second over 16 connections, each sent when its time has come, whether or not the
 * answers before it are there. `stream`: one answer in events after the other. `open`: an answer in events that
 * never ends, again and again; prints when one runs, and the time at which it ended.
 */
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

const [mode = "", base = "", path = "", ca = ""] = process.argv.slice(2);
const RATE = 1000;
const SECONDS = 6;
const CONNECTIONS = 16;
const STREAMS = 300;
const CUTS = 100;

const body = JSON.stringify({
  model: "gpt-4o-mini",
  stream: mode !== "rate",
  messages: [{ role: "user", content: "x".repeat(950) }],
});
const url = new URL(base);
const request = Buffer.from(
  [
    `POST ${url.pathname}${path} HTTP/1.1`,
    `Host: ${url.host}`,
    "Authorization: Bearer placeholder",
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "",
    body,
  ].join("\r\n"),
);

function open(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const secure = url.protocol === "https:";
    const port = Number(url.port);
    const socket: Socket = secure
      ? connectTls({ host: url.hostname, port, ca: readFileSync(ca), servername: "localhost" }, () =>
          resolve(socket),
        )
      : connect({ host: url.hostname, port }, () => resolve(socket));
    socket.setNoDelay(true).once("error", reject);
  });
}

/** Sends the request; gives the milliseconds until the first byte of its answer's body, and until its end. */
function call(socket: Socket): Promise<{ first: number; last: number }> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    let answer = "";
    let first: number | undefined;
    const onData = (data: Buffer): void => {
      answer += data.toString("latin1");
      const headEnd = answer.indexOf("\r\n\r\n");
      if (headEnd !== -1 && answer.length > headEnd + 4) first ??= performance.now() - started;
      if (first === undefined || !isComplete(answer, headEnd + 4)) return;
      socket.off("data", onData).off("close", onClose);
      if (answer.startsWith("HTTP/1.1 200")) resolve({ first, last: performance.now() - started });
      else reject(new Error(answer));
    };
    const onClose = (): void => reject(new Error(`closed: ${answer}`));
    socket.on("data", onData).once("close", onClose);
    socket.write(request);
  });
}

function isComplete(answer: string, bodyStart: number): boolean {
  const length = /\r\ncontent-length: (\d+)/i.exec(answer.slice(0, bodyStart))?.[1];
  return length === undefined ? answer.endsWith("0\r\n\r\n") : answer.length >= bodyStart + Number(length);
}

function quantiles(times: number[]): { p50Us: number; p99Us: number } {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (part: number): number => Math.round(sorted[Math.floor(sorted.length * part)]! * 1000);
  return { p50Us: at(0.5), p99Us: at(0.99) };
}

async function rate(): Promise<void> {
  const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, open));
  const idle = [...sockets];
  const waiting: number[] = [];
  const times: number[] = [];
  const total = RATE * SECONDS;
  let begun = 0;
  const done = Promise.withResolvers<void>();
  const serve = (socket: Socket): void => {
    const due = waiting.shift();
    if (due === undefined) return void idle.push(socket);
    call(socket).then(() => {
      // From when it was due, not from when a connection was free: waiting counts.
      times.push(performance.now() - due);
      if (times.length === total) done.resolve();
      serve(socket);
    }, done.reject);
  };
  const startedAt = performance.now();
  const tick = (): void => {
    while (begun < total && performance.now() - startedAt >= (begun * 1000) / RATE) {
      waiting.push(performance.now());
      begun++;
      const socket = idle.pop();
      if (socket !== undefined) serve(socket);
    }
    if (begun < total) setImmediate(tick);
  };
  tick();
  await done.promise;
  for (const socket of sockets) socket.destroy();
  // The first second warms up.
  console.log(JSON.stringify(quantiles(times.slice(RATE))));
}

async function stream(): Promise<void> {
  const socket = await open();
  const times: number[] = [];
  for (let round = 0; round < STREAMS; round++) {
    // One after the other: the time of each is what is measured.
    // oxlint-disable-next-line no-await-in-loop
    times.push((await call(socket)).first);
  }
  socket.destroy();
  console.log(JSON.stringify(quantiles(times.slice(50))));
}

/** One stream; resolves with the time at which it ended, or undefined where it was refused. */
async function untilEnded(round: number): Promise<number | undefined> {
  const socket = await open();
  let isOpen = false;
  socket.on("data", (data: Buffer) => {
    if (isOpen) return;
    if (!data.toString("latin1").startsWith("HTTP/1.1 200")) return void socket.destroy();
    isOpen = true;
    console.log(`open ${round}`);
  });
  socket.on("error", () => {});
  socket.write(request);
  await new Promise((resolve) => socket.once("close", resolve));
  return isOpen ? performance.timeOrigin + performance.now() : undefined;
}

async function untilCut(): Promise<void> {
  for (let round = 0; round < CUTS;) {
    // oxlint-disable-next-line no-await-in-loop
    const endedAt = await untilEnded(round);
    if (endedAt === undefined) continue;
    console.log(`ended ${round} ${endedAt}`);
    round++;
  }
}

const modes: Readonly<Record<string, () => Promise<void>>> = { rate, stream, open: untilCut };
await modes[mode]!();
