// SPDX-License-Identifier: Apache-2.0
import { Scraped } from "@postern/testkit";
import { describe, expect, it } from "vitest";
import { exposition, formatFor } from "./exposition.ts";
import { counter, gauge, Histogram, type MetricFamily } from "./metric-family.ts";

const histogramOf = (...values: number[]): MetricFamily => {
  const histogram = new Histogram([0.5, 1, 10]);
  for (const value of values) histogram.observe(value);
  return { name: "h_seconds", help: "h", type: "histogram", samples: histogram.samples({ agent: "a" }) };
};

describe("metrics as text", () => {
  it("cannot be broken out of by a label's value or a help text", () => {
    const value = 'a"} 1\nevil_total{x="\\';
    const { text } = exposition([gauge("g", "help\nevil 1\\", 1, { name: value })], "prometheus");
    expect(text.trimEnd().split("\n")).toHaveLength(3);
    const scraped = new Scraped(text);
    expect(scraped.samples).toEqual([{ name: "g", labels: { name: value }, value: 1 }]);
  });

  it("is read as it was meant", () => {
    const families = [counter("c", "c", 3), gauge("g", "g", -1.5), histogramOf(0.5, 0.6, 100)];
    const scraped = new Scraped(exposition(families, "prometheus").text);
    expect(scraped.value("c_total")).toBe(3);
    expect(scraped.value("g")).toBe(-1.5);
    const buckets = scraped.of("h_seconds_bucket").map(({ labels, value }) => [labels["le"], value]);
    expect(buckets).toEqual([
      ["0.5", 1],
      ["1.0", 2],
      ["10.0", 2],
      ["+Inf", 3],
    ]);
    expect(scraped.value("h_seconds_sum", { agent: "a" })).toBe(101.1);
    expect(scraped.value("h_seconds_count")).toBe(3);
  });

  it("is OpenMetrics where that is asked for: counters lose `_total` in their name, and the end is marked", () => {
    expect(formatFor(undefined)).toBe("prometheus");
    expect(formatFor("*/*")).toBe("prometheus");
    const asked = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3";
    expect(exposition([counter("c", "c", 3)], formatFor(asked))).toEqual({
      contentType: "application/openmetrics-text; version=1.0.0; charset=utf-8",
      text: "# HELP c c\n# TYPE c counter\nc_total 3\n# EOF\n",
    });
    expect(exposition([counter("c", "c", 3)], "prometheus").text).toBe(
      "# HELP c_total c\n# TYPE c_total counter\nc_total 3\n",
    );
  });

  it("writes what is no finite number in words, and leaves out families without samples", () => {
    const empty: MetricFamily = { name: "e", help: "e", type: "gauge", samples: [] };
    const families = [
      empty,
      ...[Number.NaN, Infinity, -Infinity].map((value, i) => gauge(`g${i}`, "g", value)),
    ];
    const lines = exposition(families, "prometheus").text.split("\n");
    expect(lines.filter((line) => !line.startsWith("#"))).toEqual(["g0 NaN", "g1 +Inf", "g2 -Inf", ""]);
  });
});
