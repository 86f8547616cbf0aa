// SPDX-License-Identifier: Apache-2.0
/** One answer over a WebSocket, through what all clients of it have in common. */

const base = process.env.OPENAI_BASE_URL ?? "https://api.openai.com/v1";
export const REALTIME_URL = `${base.replace(/^http/, "ws")}/realtime?model=gpt-realtime`;
export const REQUEST = JSON.stringify({ type: "response.create" });

/** `listen` is given what takes each message's text. */
export const answerOf = (listen) =>
  new Promise((resolve, reject) => {
    let text = "";
    listen((message) => {
      const event = JSON.parse(message);
      if (event.type === "response.output_text.delta") text += event.delta;
      if (event.type === "response.done") resolve(text);
    }, reject);
  });
