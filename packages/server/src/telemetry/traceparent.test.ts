// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseTraceparent } from "./traceparent.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";

describe("traceparent", () => {
  it.each([
    "",
    "00",
    `00-${TRACE}-${SPAN}`,
    `00-${TRACE}-${SPAN}-1`,
    `00-${TRACE}-${SPAN}-01-more`,
    `00-${TRACE}-${SPAN}-01 `,
    ` 00-${TRACE}-${SPAN}-01`,
    `00-${TRACE}-${SPAN}-01\n`,
    `ff-${TRACE}-${SPAN}-01`,
    `0-${TRACE}-${SPAN}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${"0".repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${"0".repeat(16)}-01`,
    `00-${TRACE.slice(1)}g-${SPAN}-01`,
    `01-${TRACE}-${SPAN}-01${"-x".repeat(200)}`,
    `01-${TRACE}-${SPAN}-01.x`,
  ])("is not taken from %j", (value) => {
    expect(parseTraceparent(value)).toBeUndefined();
  });

  it("is taken from the form of the standard, and from a later version that says more", () => {
    const parent = { traceId: TRACE, spanId: SPAN, flags: 1 };
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-01`)).toEqual(parent);
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-00`)).toEqual({ ...parent, flags: 0 });
    expect(parseTraceparent(`cc-${TRACE}-${SPAN}-01`)).toEqual(parent);
    expect(parseTraceparent(`cc-${TRACE}-${SPAN}-01-what-the-future-brings`)).toEqual(parent);
  });

  it("never yields anything but lower-case hex", () => {
    const almost = fc.stringMatching(/^[0-9a-f]{2}-[0-9a-fA-Fg]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}.?$/);
    fc.assert(
      fc.property(fc.oneof(fc.string(), almost), (value) => {
        const parent = parseTraceparent(value);
        expect(parent === undefined || /^[0-9a-f]{48}$/.test(parent.traceId + parent.spanId)).toBe(true);
      }),
    );
  });
});
