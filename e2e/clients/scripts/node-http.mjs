// SPDX-License-Identifier: Apache-2.0
/** Node's own clients: `fetch` and `http`/`https`. */
import * as http from "node:http";
import * as https from "node:https";
import { messages, reportCalls } from "./report-calls.mjs";

const url = `${process.env.OPENAI_BASE_URL ?? "https://api.openai.com/v1"}/chat/completions`;
const headers = {
  authorization: `Bearer ${process.env.OPENAI_API_KEY}`,
  "content-type": "application/json",
};
const body = (stream) => JSON.stringify({ model: "gpt-4o-mini", messages, stream });

const withFetch = async (stream) => {
  const response = await fetch(url, { method: "POST", headers, body: body(stream) });
  return response.text();
};

const withRequest = (stream) =>
  new Promise((resolve, reject) => {
    const { request } = url.startsWith("https:") ? https : http;
    request(url, { method: "POST", headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve(text)).on("error", reject);
    })
      .on("error", reject)
      .end(body(stream));
  });

const textOf = (answer) => JSON.parse(answer).choices[0].message.content;
const streamedTextOf = (answer) =>
  answer
    .split("\n")
    .filter((line) => line.startsWith("data: {"))
    .map((line) => JSON.parse(line.slice(6)).choices[0]?.delta.content ?? "")
    .join("");

await reportCalls({
  "fetch plain": async () => textOf(await withFetch(false)),
  "fetch stream": async () => streamedTextOf(await withFetch(true)),
  "https plain": async () => textOf(await withRequest(false)),
  "https stream": async () => streamedTextOf(await withRequest(true)),
});
