// SPDX-License-Identifier: Apache-2.0
/** Requests that are over, for tests of this folder. */
import type { EndedDecision, EndedOutcome, EndedTiming } from "./exchange.ts";

export const END = Date.UTC(2026, 0, 2, 3, 4, 5);

export const aDecision = (more: Partial<EndedDecision> = {}): EndedDecision => ({
  run: "r1",
  outcome: "allow",
  method: "POST",
  host: "api.openai.com",
  serverWorkload: "openai",
  operation: "chat.completions",
  model: "gpt-4o-mini",
  ...more,
});

export const anOutcome = (more: Partial<EndedOutcome> = {}): EndedOutcome => ({
  decisionId: "0190b0b0-0000-7000-8000-000000000001",
  time: END,
  agent: "demo-agent",
  serverWorkload: "openai",
  status: 200,
  bytesIn: 200,
  bytesOut: 100,
  durationMs: 40,
  usage: { inputTokens: 12, outputTokens: 34 },
  scrubbed: 0,
  ended: "complete",
  ...more,
});

/** 40 ms in all: 4 to connect, 20 of waiting for the upstream, 4 of our own before the answer. */
export const timing: EndedTiming = {
  begun: 1000,
  decided: 1001,
  connecting: 1002,
  connected: 1006,
  sent: 1007,
  answered: 1027,
  answering: 1028,
  ended: 1040,
};

/** Without what only an answered request has. */
export function aRefusal(code: string, more: Partial<EndedOutcome> = {}): EndedOutcome {
  const { status: _status, usage: _usage, ...rest } = anOutcome();
  return { ...rest, code, ended: "refused", bytesIn: 0, bytesOut: 0, ...more };
}
