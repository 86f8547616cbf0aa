// SPDX-License-Identifier: Apache-2.0
/** What a metric is: a name, a help text and samples, and the histogram that counts into fixed buckets. */

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  /** Of a histogram: `_bucket`, `_sum` or `_count`. */
  readonly suffix?: string;
  readonly labels: Labels;
  readonly value: number;
}

export interface MetricFamily {
  /** Without the `_total` of counters. */
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly samples: readonly Sample[];
}

/** Gives its metrics when asked; a scrape is the only time at which anything is computed. */
export type MetricSource = () => readonly MetricFamily[];

export class Histogram {
  readonly #bounds: readonly number[];
  /** One more than bounds, for what is above all of them. */
  readonly #counts: Float64Array;
  #sum = 0;

  /** `bounds` rise; each is the highest value of its bucket. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    let bucket = 0;
    while (bucket < this.#bounds.length && value > this.#bounds[bucket]!) bucket++;
    this.#counts[bucket]!++;
    this.#sum += value;
  }

  samples(labels: Labels): Sample[] {
    const samples: Sample[] = [];
    let count = 0;
    for (const [bucket, more] of this.#counts.entries()) {
      count += more;
      const le = bucket < this.#bounds.length ? decimal(this.#bounds[bucket]!) : "+Inf";
      samples.push({ suffix: "_bucket", labels: { ...labels, le }, value: count });
    }
    samples.push({ suffix: "_sum", labels, value: this.#sum }, { suffix: "_count", labels, value: count });
    return samples;
  }
}

/** OpenMetrics 1.0, "Considerations: Canonical Numbers": a bound always has a point or an exponent. */
const decimal = (bound: number): string => (Number.isInteger(bound) ? bound.toFixed(1) : String(bound));

export const gauge = (name: string, help: string, value: number, labels: Labels = {}): MetricFamily => ({
  ...{ name, help, type: "gauge" },
  samples: [{ labels, value }],
});

export const counter = (name: string, help: string, value: number): MetricFamily => ({
  ...{ name, help, type: "counter" },
  samples: [{ labels: {}, value }],
});
