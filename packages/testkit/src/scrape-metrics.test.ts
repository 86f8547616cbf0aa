// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { Scraped } from "./scrape-metrics.ts";

const GAUGE = "# HELP g g\n# TYPE g gauge\n";
const HISTOGRAM = "# HELP h h\n# TYPE h histogram\n";

describe("the reader of metrics", () => {
  it.each([
    ["no end of the last line", `${GAUGE}g 1`],
    ["a sample of no family", "g 1\n"],
    ["a sample of another family", `${GAUGE}other 1\n`],
    ["a family that comes twice", GAUGE + GAUGE],
    ["a type that is none", "# TYPE g number\ng 1\n"],
    ["a sample that comes twice", `${GAUGE}g{a="b"} 1\ng{a="b"} 2\n`],
    ["a value that is no number", `${GAUGE}g one\n`],
    ["a label without quotes", `${GAUGE}g{a=b} 1\n`],
    ["a label's value that is not escaped", `${GAUGE}g{a="x"y"} 1\n`],
    ["a comma with nothing behind it", `${GAUGE}g{a="b",} 1\n`],
    ["a label that comes twice", `${GAUGE}g{a="b",a="c"} 1\n`],
    ["an empty line", `${GAUGE}\ng 1\n`],
    ["buckets that fall", `${HISTOGRAM}h_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n`],
    ["a count of its own", `${HISTOGRAM}h_bucket{le="+Inf"} 1\nh_sum 1\nh_count 2\n`],
  ])("refuses %s", (_what, text) => {
    expect(() => new Scraped(text)).toThrow();
  });

  it("reads values and labels", () => {
    const scraped = new Scraped(`${GAUGE}g{a="x\\\\\\"\\n,}",b=""} -1.5e+3\ng NaN\n`);
    expect(scraped.samples).toEqual([
      { name: "g", labels: { a: 'x\\"\n,}', b: "" }, value: -1500 },
      { name: "g", labels: {}, value: Number.NaN },
    ]);
    expect(scraped.value("g", { b: "" })).toBe(-1500);
    expect(scraped.value("g", { b: "other" })).toBeUndefined();
  });
});
