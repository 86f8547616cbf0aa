// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import type { Server } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { Problem } from "@postern/contract";
import { Fault } from "../kernel/fault.ts";
import { silentLog, type Log } from "../kernel/log.ts";
import { ApiRefusal, createApiServer, type Route } from "./router.ts";

const routes: readonly Route[] = [
  {
    method: "GET",
    path: "/v1/things/:",
    handler: async ({ parameters, operator }) => ({ parameters, operator }),
  },
  { method: "POST", path: "/v1/things", handler: async (call) => ({ got: await call.json() }) },
  { method: "PUT", path: "/v1/raw", handler: async (call) => ({ size: (await call.body()).length }) },
  {
    method: "GET",
    path: "/v1/refusal",
    handler: () =>
      Promise.reject(
        new ApiRefusal("resource_invalid", "is wrong", [
          { file: "f", line: 1, column: 2, path: "p", message: "m" },
        ]),
      ),
  },
  {
    method: "GET",
    path: "/v1/fault",
    handler: () => Promise.reject(new Fault("audit_unavailable", "the log is full")),
  },
  { method: "GET", path: "/v1/bug", handler: () => Promise.reject(new Error("password=hunter2")) },
];

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

async function start(
  operatorOf: () => { uid: number; pid: number } | undefined = () => ({ uid: 7, pid: 70 }),
  log: Log = silentLog,
) {
  server = createApiServer(routes, operatorOf, log).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const call = async (path: string, init: RequestInit = {}) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, init);
    return {
      status: answer.status,
      type: answer.headers.get("content-type"),
      body: (await answer.json()) as Problem & Record<string, unknown>,
    };
  };
  return { call, port };
}

describe("the operator's API", () => {
  it("is for operators, whatever they ask for", async () => {
    const { call } = await start(() => undefined);
    for (const path of ["/v1/things/x", "/nowhere"])
      expect(await call(path)).toMatchObject({
        status: 403,
        type: "application/problem+json",
        body: { code: "operator_unauthorized" },
      });
  });

  it("gives a route its parameters, decoded, and who asks", async () => {
    const { call } = await start();
    expect((await call("/v1/things/a%2Fb%20c")).body).toEqual({
      parameters: ["a/b c"],
      operator: { uid: 7, pid: 70 },
    });
  });

  it.each<[string, string, RequestInit, number, string]>([
    ["an unknown place", "/v1/nothing", {}, 404, "not_found"],
    ["a place too deep", "/v1/things/a/b", {}, 404, "not_found"],
    ["an empty parameter", "/v1/things/", {}, 404, "not_found"],
    ["a broken escape", "/v1/things/%zz", {}, 400, "request_malformed"],
    ["another method", "/v1/things", { method: "DELETE" }, 405, "method_not_allowed"],
    ["a body that is no JSON", "/v1/things", { method: "POST", body: "{" }, 400, "request_malformed"],
    ["no body where JSON is needed", "/v1/things", { method: "POST" }, 400, "request_malformed"],
    ["a refusal", "/v1/refusal", {}, 422, "resource_invalid"],
    ["a fault", "/v1/fault", {}, 503, "audit_unavailable"],
  ])("answers %s with a problem", async (_name, path, init, status, code) => {
    const { call } = await start();
    expect(await call(path, init)).toMatchObject({
      status,
      type: "application/problem+json",
      body: { code, status },
    });
  });

  it("refuses a body above the limit, and takes one just below it", async () => {
    const { call } = await start();
    expect((await call("/v1/raw", { method: "PUT", body: Buffer.alloc(4_194_304) })).body).toEqual({
      size: 4_194_304,
    });
    const refused = await call("/v1/raw", { method: "PUT", body: Buffer.alloc(4_194_305) });
    expect(refused).toMatchObject({ status: 413, body: { code: "request_too_large" } });
  });

  it("keeps places with a refusal, and tells nobody the words of an unexpected error, not even the log", async () => {
    const logged: unknown[] = [];
    const { call } = await start(undefined, { write: (...entry) => void logged.push(entry) });
    expect((await call("/v1/refusal")).body.places).toEqual([
      { file: "f", line: 1, column: 2, path: "p", message: "m" },
    ]);
    const bug = await call("/v1/bug");
    expect(bug).toMatchObject({ status: 500, body: { code: "internal_error" } });
    expect(JSON.stringify(bug)).not.toContain("hunter2");
    expect(JSON.stringify(logged)).toContain("operator request failed");
    expect(JSON.stringify(logged)).not.toContain("hunter2");
  });

  it("answers a target that is no path, and goes on", async () => {
    const { call, port } = await start();
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.on("data", (bytes: Buffer) => (text += bytes.toString()));
    socket.write("GET //[ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await once(socket, "close");
    expect(text).toMatch(/^HTTP\/1\.1 400 [^]*request_malformed/);
    expect((await call("/v1/things/x")).status).toBe(200);
  });
});
