// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { jsonLog } from "../kernel/log.ts";
import { aDecision, anOutcome, aRefusal } from "./exchange.fixture.ts";
import { RequestLog } from "./request-log.ts";

describe("the log of requests", () => {
  it("has refused requests at info, others at debug, with the audit id and nothing that the agent wrote", () => {
    const lines: string[] = [];
    const log = jsonLog(
      (line) => void lines.push(line),
      () => 0,
      "debug",
    );
    const requests = new RequestLog(log);
    const made = { method: "CANARY", host: "canary.example", model: "canary" };
    requests.ended(aDecision(made), aRefusal("access_denied"));
    requests.ended(aDecision(made), anOutcome());
    requests.ended(undefined, anOutcome({ ended: "client_aborted" }));
    const auditId = "0190b0b0-0000-7000-8000-000000000001";
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { level: "info", message: "request refused", auditId, agent: "demo-agent", code: "access_denied" },
      { level: "debug", message: "request passed", auditId, operation: "chat.completions", status: 200 },
      { level: "debug", message: "request passed", ended: "client_aborted" },
    ]);
    expect(lines.join("")).not.toMatch(/canary|withheld/i);
  });
});
