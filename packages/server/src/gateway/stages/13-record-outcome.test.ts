// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { AuditSink, DecisionRecord, ExchangeObserver, ExchangeTiming, OutcomeRecord } from "../ports.ts";
import { streamOf, textOf } from "../request.fixture.ts";
import { Outcome } from "./13-record-outcome.ts";
import { refusal } from "./refusal.ts";

const clock = { now: () => 1_700_000_000_000 };
const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const decision: DecisionRecord = {
  id: "decision",
  time: clock.now(),
  outcome: "allow",
  reasons: [],
  policies: ["p"],
  run: "run",
  isolated: true,
  policyDigest: "digest",
};

interface Heard {
  readonly decision: DecisionRecord | undefined;
  readonly outcome: OutcomeRecord;
  readonly timing: ExchangeTiming;
  readonly traceparent: string | undefined;
}

function listening(followsTraces = true): { heard: Heard[]; observer: ExchangeObserver } {
  const heard: Heard[] = [];
  const observer: ExchangeObserver = {
    followsTraces,
    ended: (known, outcome, timing, traceparent) =>
      void heard.push({ decision: known, outcome, timing, traceparent }),
  };
  return { heard, observer };
}

function auditTo(kept: OutcomeRecord[]): AuditSink {
  return { decision: () => ({ durable: Promise.resolve() }), outcome: (record) => void kept.push(record) };
}

describe("the end of a request", () => {
  it("is recorded although the observer throws", () => {
    const kept: OutcomeRecord[] = [];
    const observer: ExchangeObserver = {
      followsTraces: true,
      ended: () => {
        throw new Error("the observer is broken");
      },
    };
    const outcome = new Outcome("decision", clock, auditTo(kept), observer);
    outcome.decided(decision, [["traceparent", PARENT]]);
    outcome.refused(refusal("access_denied", "no policy"));
    outcome.record("agent", "openai");
    expect(kept).toMatchObject([{ code: "access_denied", ended: "refused", agent: "agent" }]);
  });

  it("is heard of although the audit log cannot take it", () => {
    const { heard, observer } = listening();
    const audit: AuditSink = {
      decision: () => ({ durable: Promise.resolve() }),
      outcome: () => {
        throw new Error("disk full");
      },
    };
    const outcome = new Outcome("decision", clock, audit, observer);
    outcome.refused(refusal("audit_unavailable", "not written"));
    outcome.record(undefined, undefined);
    expect(heard).toMatchObject([{ decision: undefined, outcome: { code: "audit_unavailable" } }]);
  });

  it("takes a parent of traces only where there is one, and only for an observer that wants it", () => {
    const parentOf = (followsTraces: boolean, headers: [string, string][]): string | undefined => {
      const { heard, observer } = listening(followsTraces);
      const outcome = new Outcome("decision", clock, auditTo([]), observer);
      outcome.decided(decision, headers);
      outcome.record(undefined, undefined);
      return heard[0]?.traceparent;
    };
    expect(parentOf(true, [["traceparent", PARENT]])).toBe(PARENT);
    expect(parentOf(false, [["traceparent", PARENT]])).toBeUndefined();
    expect(
      parentOf(true, [
        ["traceparent", PARENT],
        ["traceparent", PARENT],
      ]),
    ).toBeUndefined();
    expect(parentOf(true, [])).toBeUndefined();
  });

  it("says how far the request got, in the order of time", async () => {
    const { heard, observer } = listening();
    const outcome = new Outcome("decision", clock, auditTo([]), observer);
    outcome.decided(decision);
    outcome.reached("connecting");
    outcome.reached("connected");
    const body = outcome.counted(streamOf("four")) as AsyncIterable<Buffer>;
    expect(await textOf(body)).toBe("four");
    outcome.brokeOff("upstream_failed");
    outcome.record("agent", "openai");
    const { timing, outcome: record } = heard[0]!;
    expect(Object.keys(timing).toSorted()).toEqual(
      ["begun", "connected", "connecting", "decided", "ended", "sent"].toSorted(),
    );
    const order = ["begun", "decided", "connecting", "connected", "sent", "ended"] as const;
    const times = order.map((point) => timing[point]!);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(record).toMatchObject({ bytesOut: 4, ended: "upstream_failed" });
  });
});
