// SPDX-License-Identifier: Apache-2.0
import canonicalize from "canonicalize";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeEvent } from "./encode-event.ts";
import type { AuditEvent, EventValue } from "./event-frame.ts";
import { decisionEvent, outcomeEvent } from "./events.ts";

const anyText = fc.string({ unit: "binary", maxLength: 40 });
const anyTexts = fc.array(anyText, { maxLength: 4 });
const id = "01890000-0000-7000-8000-000000000001";

const decisions = fc
  .record(
    {
      agent: anyText,
      run: anyText,
      isolated: fc.boolean(),
      process: fc.record(
        { pid: fc.nat(), path: anyText, sha256: anyText },
        { requiredKeys: ["pid", "path"] },
      ),
      serverWorkload: anyText,
      operation: anyText,
      model: anyText,
      method: anyText,
      host: anyText,
      path: anyText,
      code: anyText,
      detail: anyText,
      credentialProvider: anyText,
      policyDigest: anyText,
      mode: anyText,
    },
    { requiredKeys: [] },
  )
  .chain((known) =>
    fc.record({
      id: fc.constant(id),
      time: fc.nat(),
      outcome: fc.constantFrom("allow", "deny"),
      selectors: anyTexts,
      reasons: anyTexts,
      policies: anyTexts,
      known: fc.constant(known),
    }),
  )
  .map(({ known, ...rest }) => decisionEvent({ ...rest, ...known }));

const outcomes = fc
  .record({
    usage: fc.dictionary(anyText, fc.double(), { maxKeys: 5 }),
    status: fc.nat(599),
    durationMs: fc.double(),
    agent: anyText,
    code: fc.option(anyText, { nil: undefined }),
  })
  .map((known) =>
    outcomeEvent({
      id,
      time: 1,
      decisionId: id,
      bytesIn: 1,
      bytesOut: 2,
      scrubbed: 0,
      ended: "complete",
      ...known,
    }),
  );

describe("an event as bytes", () => {
  it("is canonical JSON as another implementation writes it, whatever the event holds", () => {
    fc.assert(
      fc.property(fc.oneof(decisions, outcomes), (event) => {
        const encoded = encodeEvent(event);
        expect(encoded.ok && encoded.value.toString()).toBe(canonicalize(event));
      }),
    );
  });

  it("is that for members in any order too", () => {
    const member: fc.Arbitrary<EventValue> = fc.letrec<{ value: EventValue }>((tie) => ({
      value: fc.oneof(
        fc.integer(),
        anyText.map((text) => text.toWellFormed()),
        fc.boolean(),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(fc.string({ maxLength: 3 }), tie("value"), { maxKeys: 4, noNullPrototype: true }),
      ),
    })).value;
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ maxLength: 4 }), member, { noNullPrototype: true }),
        (members) => {
          const event = members as unknown as AuditEvent;
          const encoded = encodeEvent(event);
          expect(encoded.ok && encoded.value.toString()).toBe(canonicalize(event));
        },
      ),
    );
  });

  it("of a request is written without sorting: the builders keep the order", () => {
    fc.assert(
      fc.property(decisions, (event) => {
        expect(JSON.stringify(event)).toBe(canonicalize(event));
      }),
    );
    const event = outcomeEvent({
      id,
      time: 1,
      decisionId: id,
      bytesIn: 1,
      bytesOut: 2,
      durationMs: 3,
      scrubbed: 0,
      ended: "cut",
    });
    expect(JSON.stringify(event)).toBe(canonicalize(event));
  });

  it("is refused where a number has no form, and where it does not fit an entry", () => {
    expect(encodeEvent({ time: Number.NaN } as unknown as AuditEvent).ok).toBe(false);
    expect(encodeEvent({ text: "x".repeat(70_000) } as unknown as AuditEvent).ok).toBe(false);
  });
});
