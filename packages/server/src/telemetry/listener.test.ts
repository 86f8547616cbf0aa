// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, describe, expect, it } from "vitest";
import { listen, type Shown, type TelemetryListener } from "./listener.ts";
import { gauge } from "./metric-family.ts";

let listener: TelemetryListener | undefined;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await listener?.close();
  listener = undefined;
});

async function start(shown: Partial<Shown> = {}, longest?: number): Promise<{ host: string; port: number }> {
  const all: Shown = {
    metrics: async () => [gauge("g", "g", 1)],
    readiness: async () => ({ ready: true, checks: [{ name: "audit_log", ok: true }] }),
    ...shown,
  };
  listener = await listen({ host: "127.0.0.1", port: 0 }, all, longest);
  const [host = "", port] = listener.address.split(":");
  return { host, port: Number(port) };
}

type Where = { readonly host: string; readonly port: number } | { readonly socketPath: string };

function ask(where: Where, path: string, method = "GET", headers = {}) {
  return new Promise<{ status: number; type: string | undefined; body: string }>((resolve, reject) => {
    request({ ...where, path, method, headers, agent: false }, (response) => {
      text(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, type: response.headers["content-type"], body }),
        reject,
      );
    })
      .on("error", reject)
      .end();
  });
}

function raw(where: { host: string; port: number }, bytes: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(where);
    sockets.push(socket);
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.on("error", () => {});
      socket.write(bytes);
      resolve(socket);
    });
  });
}

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once("close", () => resolve());
    socket.resume();
  });

describe("the listener for metrics", () => {
  it("ends connections that never finish their request", async () => {
    const where = await start({}, 300);
    const slow = await Promise.all(
      ["", "GET /metr", "GET /metrics HTTP/1.1\r\nHost: x\r\nX-A: "].map((bytes) => raw(where, bytes)),
    );
    await Promise.all(slow.map(closed));
    expect((await ask(where, "/healthz")).status).toBe(200);
  });

  it("ends connections that do not read their answer", async () => {
    const many = Array.from({ length: 60_000 }, (_, i) => gauge(`g${i}`, "a help text of some length", i));
    const where = await start({ metrics: async () => many }, 300);
    const socket = await raw(where, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3));
    socket.pause();
    // An empty line is no request, and on an ended connection it is answered with a reset, also where nobody reads.
    const isEnded = (): boolean => {
      if (!socket.destroyed) socket.write("\r\n");
      return socket.destroyed;
    };
    await expect.poll(isEnded, { interval: 20, timeout: 20_000 }).toBe(true);
    expect((await ask(where, "/healthz")).status).toBe(200);
  });

  it("takes a bounded number of connections", async () => {
    const where = await start();
    const all = await Promise.all(Array.from({ length: 100 }, () => raw(where, "GET /healthz HTTP/1.1\r\n")));
    let ended = 0;
    for (const socket of all) socket.once("close", () => ended++).resume();
    await expect.poll(() => ended, { interval: 5, timeout: 20_000 }).toBe(36);
  });

  it("computes metrics once for all that scrape at the same time", async () => {
    let computed = 0;
    const metrics = async () => {
      computed++;
      return [gauge("g", "g", computed)];
    };
    const where = await start({ metrics });
    const answers = await Promise.all(Array.from({ length: 40 }, () => ask(where, "/metrics")));
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    expect(computed).toBeLessThan(5);
  });

  it.each([
    ["POST", "/metrics", 405],
    ["DELETE", "/healthz", 405],
    ["GET", "/", 404],
    ["GET", "/metrics/", 404],
    ["GET", "/../metrics", 404],
    ["GET", "//x/metrics", 404],
    ["GET", "/v1/status", 404],
  ])("answers %s %s with %d, and nothing else", async (method, path, status) => {
    const where = await start();
    const answer = await ask(where, path, method);
    expect(answer.status).toBe(status);
    expect(answer.body).not.toContain("# TYPE");
  });

  it("is alive although everything else fails, and says nothing of the failure", async () => {
    const failing = () => Promise.reject(new Error("canary"));
    const where = await start({ metrics: failing, readiness: failing });
    expect(await ask(where, "/healthz")).toMatchObject({ status: 200, body: '{"alive":true}\n' });
    await expect(ask(where, "/metrics")).rejects.toThrow("socket hang up");
    await expect(ask(where, "/readyz")).rejects.toThrow("socket hang up");
    expect((await ask(where, "/healthz")).status).toBe(200);
  });

  it("says 503 and why while it is not ready", async () => {
    const checks = [
      { name: "audit_log", ok: false, reason: "it cannot be written" },
      { name: "vault", ok: true },
    ];
    let ready = false;
    const where = await start({ readiness: async () => ({ ready, checks }) });
    const answer = await ask(where, "/readyz");
    expect(answer).toMatchObject({ status: 503, type: "application/json" });
    expect(JSON.parse(answer.body)).toEqual({ ready: false, checks });
    ready = true;
    expect((await ask(where, "/readyz?verbose")).status).toBe(200);
  });

  it("gives both formats", async () => {
    const where = await start();
    expect((await ask(where, "/metrics")).type).toContain("text/plain; version=0.0.4");
    const open = await ask(where, "/metrics", "GET", { accept: "application/openmetrics-text" });
    expect(open.type).toContain("application/openmetrics-text; version=1.0.0");
    expect(open.body.endsWith("# EOF\n")).toBe(true);
    expect((await ask(where, "/metrics", "HEAD")).body).toBe("");
  });

  it("listens on a Unix socket, in place of one that was left behind, and never in place of a file", async () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-listen-"));
    try {
      const path = join(folder, "metrics.sock");
      const shown: Shown = { metrics: async () => [], readiness: async () => ({ ready: true, checks: [] }) };
      listener = await listen({ path }, shown);
      expect(listener.address).toBe(`unix:${path}`);
      expect((await ask({ socketPath: path }, "/readyz")).status).toBe(200);
      await listener.close();
      const file = join(folder, "file");
      writeFileSync(file, "mine");
      await expect(listen({ path: file }, shown)).rejects.toMatchObject({ code: "EADDRINUSE" });
      listener = undefined;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
