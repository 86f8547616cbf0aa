// SPDX-License-Identifier: Apache-2.0
import { HttpsProxyAgent } from "https-proxy-agent";
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { reportCalls } from "./report-calls.mjs";

await reportCalls({
  WebSocket: () => {
    const agent = new HttpsProxyAgent(process.env.HTTPS_PROXY);
    const realtime = new OpenAIRealtimeWS({ model: "gpt-realtime", options: { agent } }, new OpenAI());
    realtime.on("session.created", () => realtime.send({ type: "response.create" }));
    return new Promise((resolve, reject) => {
      realtime.on("error", reject);
      realtime.on("response.output_text.done", ({ text }) => resolve(text));
    }).finally(() => realtime.close());
  },
});
