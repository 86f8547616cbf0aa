// SPDX-License-Identifier: Apache-2.0
/** How many requests a second does wrk get through: one thread, 32 connections that stay open. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** About 1 KB, as an LLM client sends it. */
export const requestBody = JSON.stringify({
  model: "gpt-4o-mini",
  messages: [{ role: "user", content: "x".repeat(950) }],
});

/** 600 bytes, as an API answers. */
export const answerBody = JSON.stringify({
  id: "chatcmpl-1",
  usage: { prompt_tokens: 9, completion_tokens: 1 },
  x: "y".repeat(515),
});

export function writeWrkScript(folder: string): void {
  writeFileSync(
    join(folder, "post.lua"),
    `wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer placeholder"
wrk.body = [==[${requestBody}]==]
done = function(summary, latency)
  local bad = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format("RESULT %d %d %d\\n", summary.requests, summary.duration, bad))
end
`,
  );
}

export const wrkWords = (folder: string, url: string, seconds: number): string =>
  `wrk -t1 -c32 -d${seconds}s -s "${join(folder, "post.lua")}" "${url}"`;

/** Requests a second by what wrk printed; throws where any failed. */
export function wrkRate(output: string): number {
  const [, requests, microseconds, bad] = /RESULT (\d+) (\d+) (\d+)/.exec(output) ?? [];
  if (bad !== "0") throw new Error(`requests failed:\n${output}`);
  return Math.round(Number(requests) / (Number(microseconds) / 1e6));
}
