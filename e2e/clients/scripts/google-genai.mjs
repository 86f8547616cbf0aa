// SPDX-License-Identifier: Apache-2.0
import { GoogleGenAI } from "@google/genai";
import { joined, QUESTION, reportCalls } from "./report-calls.mjs";

const client = new GoogleGenAI({});
const request = { model: "gemini-2.5-flash", contents: QUESTION };

await reportCalls({
  plain: async () => (await client.models.generateContent(request)).text,
  stream: async () => joined(await client.models.generateContentStream(request), (chunk) => chunk.text),
});
