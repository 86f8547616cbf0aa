// SPDX-License-Identifier: Apache-2.0
import { HttpsProxyAgent } from "https-proxy-agent";
import { WebSocket } from "ws";
import { answerOf, REALTIME_URL, REQUEST } from "./realtime-text.mjs";
import { reportCalls } from "./report-calls.mjs";

const options = {
  headers: { authorization: `Bearer ${process.env.OPENAI_API_KEY}` },
  ...(REALTIME_URL.startsWith("wss:") ? { agent: new HttpsProxyAgent(process.env.HTTPS_PROXY) } : {}),
};

await reportCalls({
  WebSocket: () => {
    const socket = new WebSocket(REALTIME_URL, options);
    socket.on("open", () => socket.send(REQUEST));
    return answerOf((take, fail) => {
      socket.addEventListener("message", ({ data }) => take(data));
      socket.on("error", fail);
    }).finally(() => socket.close());
  },
});
