// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { queryParameter } from "./query-model.ts";

describe("the model in a query", () => {
  it.each([
    ["?model=a&model=b"],
    ["?model=a&model=a"],
    ["?model=a&MODEL=b"],
    ["?Model=a"],
    ["?model=a&m%6Fdel=b"],
    ["?m%6Fdel=a"],
    ["?model=a&+model=b"],
    ["?model=a&model%20=b"],
    ["?model=a&model[]=b"],
    ["?model=a&model%5B0%5D=b"],
    ["?model=a&model"],
    ["?model"],
    ["?x=1;model=b&model=a"],
    ["?x=1;model=b"],
    ["?model=a;b=c"],
    ["?model=a;model=b"],
    // A broken escape beside it, which lenient servers read over.
    ["?model%5B%=a"],
    ["?m%6Fdel[%FF]=a"],
    ["?%EF%BB%BFmodel=a"],
  ])("is refused where it could be read in two ways: %s", (query) => {
    expect(queryParameter(query, "model")).toEqual({ ok: false, reason: "duplicate_field" });
  });

  it.each([["?model=%"], ["?model=%zz"], ["?model=%ff"], ["?model=%C0%AF"]])(
    "is refused where it is no text: %s",
    (query) => {
      expect(queryParameter(query, "model")).toEqual({ ok: false, reason: "broken_encoding" });
    },
  );

  it.each([
    ["", undefined],
    ["?x=1", undefined],
    ["?models=a&my-model=b&x=model", undefined],
    ["?%ff=model", undefined],
    ["?model=", ""],
    ["?model=gpt-realtime", "gpt-realtime"],
    ["?intent=x&model=gpt%2Drealtime&y", "gpt-realtime"],
    ["?model=a+b%2Bc=d", "a b+c=d"],
  ])("is read once and decoded in %j", (query, model) => {
    expect(queryParameter(query, "model")).toEqual({ ok: true, value: model });
  });
});
