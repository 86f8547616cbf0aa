// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { startStandIns, type StandIns } from "../start-stand-ins.ts";
import { ANSWER_TEXT } from "./answer.ts";

let standIns: StandIns;
beforeAll(async () => void (standIns = await startStandIns()));
afterAll(() => standIns.close());

const options = () => ({ ca: standIns.authority.certificate, servername: "api.openai.com" });
const url = (model = "gpt-realtime", path = "/v1/realtime") =>
  `wss://127.0.0.1:${standIns.openai.port}${path}?model=${model}`;
const bearer = (key = standIns.secrets["openai-key"]!) => ({ headers: { authorization: `Bearer ${key}` } });

async function statusOf(client: WebSocket): Promise<number> {
  const [, response] = (await once(client, "unexpected-response")) as [
    unknown,
    { statusCode: number; resume(): void },
  ];
  response.resume();
  return response.statusCode;
}

describe("the Realtime stand-in", () => {
  it("answers the real SDK, with usage", async () => {
    const client = new OpenAI({
      apiKey: standIns.secrets["openai-key"]!,
      baseURL: `https://127.0.0.1:${standIns.openai.port}/v1`,
    });
    const realtime = new OpenAIRealtimeWS({ model: "gpt-realtime", options: options() }, client);
    let text = "";
    realtime.on("session.created", () => realtime.send({ type: "response.create" }));
    realtime.on("response.output_text.delta", ({ delta }) => (text += delta));
    const usage = await new Promise((resolve, reject) => {
      realtime.on("error", reject);
      realtime.on("response.done", ({ response }) => resolve(response.usage));
    });
    expect([text, usage]).toEqual([ANSWER_TEXT, { total_tokens: 12, input_tokens: 7, output_tokens: 5 }]);
    realtime.close();
    await once(realtime.socket, "close");
    expect(standIns.openai.sockets.at(-1)).toMatchObject({
      target: "/v1/realtime?model=gpt-realtime",
      extensions: "",
    });
  });

  it("takes the credential once, in the header or in a subprotocol", async () => {
    const protocols = ["realtime", `openai-insecure-api-key.${standIns.secrets["openai-key"]!}`];
    const inProtocol = new WebSocket(url(), protocols, options());
    await once(inProtocol, "open");
    inProtocol.terminate();
    expect(await statusOf(new WebSocket(url(), protocols, { ...options(), ...bearer() }))).toBe(400);
    expect(await statusOf(new WebSocket(url(), { ...options(), ...bearer("wrong") }))).toBe(401);
    expect(await statusOf(new WebSocket(url(), options()))).toBe(401);
  });

  it("is a WebSocket at its own path only, and would compress where it is asked", async () => {
    expect(await statusOf(new WebSocket(url("x", "/v1/other"), { ...options(), ...bearer() }))).toBe(404);
    const client = new WebSocket(url(), { ...options(), ...bearer(), perMessageDeflate: true });
    await once(client, "open");
    expect(client.extensions).toContain("permessage-deflate");
    client.close();
    await once(client, "close");
  });

  it("gives messages back, and reflects its key where it is asked to", async () => {
    const key = standIns.secrets["openai-key"]!;
    const client = new WebSocket(url("stand-in-echo"), { ...options(), ...bearer() });
    const heard: string[] = [];
    client.on("message", (data: Buffer) => heard.push(data.toString()));
    const [ping] = (await once(client, "ping")) as [Buffer];
    expect(ping.toString()).toBe(key);
    expect(heard.slice(1).map((text) => text.includes(key))).toEqual([true, true, true]);
    client.send("bye");
    expect(((await once(client, "close")) as [number, Buffer])[1].toString()).toBe(`bad key ${key}`);
  });
});
