// SPDX-License-Identifier: Apache-2.0
/** Does the meter count the same however an answer is cut into pieces? */
import { UsageMeter } from "../../packages/server/src/gateway/usage-meter.ts";
import { loadProfiles } from "../../packages/server/src/profiles/profile.ts";
import { Choices } from "../choices.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const profiles = [...loadProfiles().values()].filter(({ usage }) => Object.keys(usage).length > 0);
/** Stands for more bytes than an event may have. */
const LONG = "<long>";
const TYPES = ["text/event-stream", "application/json", "application/x+json; charset=utf-8", "text/plain"];

/** The first three bytes choose profile, type and cuts. */
function check(input: Buffer): void {
  const choose = new Choices(input.subarray(0, 3));
  const profile = choose.pick(profiles);
  const type = choose.pick(TYPES);
  const seed = choose.below(256);
  const text = input.subarray(3).toString("latin1").replaceAll(LONG, "x".repeat(270_000)).slice(0, 1_200_000);
  const whole = measured([Buffer.from(text, "latin1")]);
  demandEqual(measured(cut(Buffer.from(text, "latin1"), seed)), whole, "cut into pieces");
  for (const count of Object.values(whole ?? {}))
    demand(Number.isSafeInteger(count) && count >= 0, `a count of ${count}`);
  if (type.startsWith("text/plain")) demandEqual(whole, undefined, "a type that reports nothing");

  function measured(pieces: readonly Buffer[]): Readonly<Record<string, number>> | undefined {
    const meter = new UsageMeter(profile, type);
    for (const piece of pieces) meter.feed(piece);
    return meter.finish();
  }
}

function cut(bytes: Buffer, seed: number): Buffer[] {
  const pieces: Buffer[] = [];
  const step = bytes.length > 50_000 ? 65_536 : 1 + (seed % 40);
  for (let at = 0, end = 0; at < bytes.length; at = end) {
    // Long lines are cut where they could be taken for new ones.
    const field = seed % 2 === 0 ? bytes.indexOf("data:", at + 1) : -1;
    end = field < 0 ? at + step : Math.min(field, at + step);
    pieces.push(bytes.subarray(at, end));
  }
  return pieces;
}

const LINES = [
  'data: {"usage":{"prompt_tokens":1,"completion_tokens":2}}\n',
  'data:{"message":{"usage":{"input_tokens":5,"output_tokens":1}}}\r\n',
  'data: {"type":"message_delta","usage":{"output_tokens":9}}\n',
  'data: {"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4}}\n\n',
  ...["event: message_delta\n", "data: [DONE]\n", ": ping\n", "\n", "data: {\n", LONG, "{", "}", '"usage":'],
  '{"usage":{"prompt_tokens":1e400,"completion_tokens":-1}}',
  '[{"usageMetadata":{"promptTokenCount":1}},{"usageMetadata":{"promptTokenCount":2}}]',
];

const target: FuzzTarget = {
  parsers: ["packages/server/src/gateway/usage-meter.ts"],
  property: "Every split gives the same counters; counters are whole, safe and not negative.",
  words: LINES,
  make: (choose) =>
    `${choose.bytes(3).toString("latin1").padEnd(3)}${choose.list(8, () => choose.pick(LINES)).join("")}`,
  slowest: 1000,
  check,
};
export default target;
