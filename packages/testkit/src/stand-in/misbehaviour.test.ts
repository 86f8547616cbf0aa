// SPDX-License-Identifier: Apache-2.0
import { request as httpsRequest } from "node:https";
import { gunzipSync } from "node:zlib";
import type { IncomingHttpHeaders } from "node:http";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createTestAuthority } from "../test-authority.ts";
import { startOpenAiStandIn } from "./openai.ts";
import type { StandIn } from "./tls-stand-in.ts";

const KEY = "sk-proj-known-to-this-test";
let standIn: StandIn;
let ca: string;

beforeAll(async () => {
  const authority = await createTestAuthority();
  ca = authority.certificate;
  standIn = await startOpenAiStandIn({
    authority,
    key: KEY,
    redirectTo: "https://other.example/",
    endlessInterval: 5,
  });
});
afterAll(() => standIn.close());
afterEach(() => standIn.setMisbehaviour(undefined));

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  chunks: Buffer[];
  body: Buffer;
  error: string | undefined;
}

const call = (path: string, model?: string, key = KEY) =>
  new Promise<Answer>((resolve, reject) => {
    const headers = { authorization: `Bearer ${key}` };
    const request = httpsRequest({
      port: standIn.port,
      host: "127.0.0.1",
      ca,
      path,
      method: "POST",
      headers,
      agent: false,
    });
    request.on("error", reject).on("response", (response) => {
      const chunks: Buffer[] = [];
      let error: string | undefined;
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", (cause: NodeJS.ErrnoException) => void (error = cause.code));
      response.on("close", () =>
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          chunks,
          body: Buffer.concat(chunks),
          error,
        }),
      );
    });
    request.end(JSON.stringify({ model }));
  });

describe("misbehaviour", () => {
  it("needs the right key all the same", async () => {
    const { status, body } = await call("/stand-in/echo", undefined, "sk-someone-else-entirely");
    expect(status).toBe(401);
    expect(body.toString()).not.toContain("sk-someone-else-entirely");
  });

  it("reflects the key raw and in base64, in the body and in headers", async () => {
    for (const answer of [
      await call("/v1/chat/completions", "stand-in-echo"),
      await call("/any/stand-in/echo"),
    ]) {
      expect(answer.body.toString()).toContain(`Bearer ${KEY}`);
      expect(answer.body.toString()).toContain(Buffer.from(`Bearer ${KEY}`).toString("base64"));
      expect(answer.headers["x-echo-raw"]).toBe(KEY);
      expect(answer.headers["x-echo-base64"]).toBe(Buffer.from(KEY).toString("base64"));
    }
  });

  it("splits a reflection so that no chunk holds the key", async () => {
    const { body, chunks } = await call("/v1/chat/completions", "stand-in-echo-split");
    expect(body.toString()).toContain(KEY);
    expect(chunks.length).toBeGreaterThan(20);
    expect(chunks.some((chunk) => chunk.includes(KEY))).toBe(false);
  });

  it("reflects in a stream, in an error and in a compressed body", async () => {
    expect((await call("/v1/x", "stand-in-echo-stream")).body.toString()).toContain(KEY);
    expect(await call("/v1/x", "stand-in-echo-error")).toMatchObject({ status: 400 });
    const zipped = await call("/v1/x", "stand-in-echo-gzip");
    expect(zipped.body.includes(KEY)).toBe(false);
    expect(gunzipSync(zipped.body).toString()).toContain(KEY);
  });

  it("redirects to another host", async () => {
    expect(await call("/v1/x", "stand-in-redirect")).toMatchObject({
      status: 307,
      headers: { location: "https://other.example/" },
    });
  });

  it.each(["reset", "half-close"] as const)("breaks off in the middle of the answer: %s", async (kind) => {
    const { body, error } = await call(`/stand-in/${kind}`);
    expect(error).toBe("ECONNRESET");
    expect(body.length).toBeLessThan(1000);
  });

  it("does so for every request where a test says so", async () => {
    standIn.setMisbehaviour("error-500");
    expect((await call("/v1/models")).status).toBe(500);
    standIn.setMisbehaviour(undefined);
    expect((await call("/v1/models", "gpt-4o")).status).toBe(404);
  });
});
