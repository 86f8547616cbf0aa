// SPDX-License-Identifier: Apache-2.0
/** The `WebSocket` that Node has itself. It cannot set headers, so the key goes as a subprotocol. */
import { answerOf, REALTIME_URL, REQUEST } from "./realtime-text.mjs";
import { reportCalls } from "./report-calls.mjs";

await reportCalls({
  WebSocket: () => {
    const protocols = ["realtime", `openai-insecure-api-key.${process.env.OPENAI_API_KEY}`];
    const socket = new WebSocket(REALTIME_URL, protocols);
    socket.addEventListener("open", () => socket.send(REQUEST));
    return answerOf((take, fail) => {
      socket.addEventListener("message", ({ data }) => take(data));
      socket.addEventListener("error", (event) => fail(event.error ?? new Error("the WebSocket failed")));
    }).finally(() => socket.close());
  },
});
