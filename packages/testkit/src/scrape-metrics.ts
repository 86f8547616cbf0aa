// SPDX-License-Identifier: Apache-2.0
/** Reads metrics in the text format of Prometheus 0.0.4 and refuses whatever the format does not allow. */

export interface ScrapedSample {
  /** With `_bucket`, `_sum` or `_count` where it is part of a histogram. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const DECLARATION = new RegExp(`^# (HELP|TYPE) (${NAME}) (.*)$`);
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (NaN|[+-]Inf|-?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?)$`);
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(?:,(?=.)|$)/y;

export class Scraped {
  readonly samples: readonly ScrapedSample[];

  /** @throws where the text is not in the format */
  constructor(text: string) {
    if (!text.endsWith("\n")) throw new Error("the last line has no end");
    this.samples = readSamples(text.slice(0, -1).split("\n"));
    this.#checkHistograms();
  }

  /** The sum over all samples that have these labels; undefined where there is none. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const found = this.of(name).filter((sample) =>
      Object.entries(labels).every(([key, wanted]) => sample.labels[key] === wanted),
    );
    return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0);
  }

  of(name: string): readonly ScrapedSample[] {
    return this.samples.filter((sample) => sample.name === name);
  }

  #checkHistograms(): void {
    const counts = new Map(
      this.samples.map(({ name, labels, value }) => [name + JSON.stringify(labels), value]),
    );
    const last = new Map<string, number>();
    for (const { name, labels, value } of this.samples.filter((sample) => sample.name.endsWith("_bucket"))) {
      const { le, ...rest } = labels;
      const series = name + JSON.stringify(rest);
      if (value < (last.get(series) ?? 0)) throw new Error(`${series} falls at ${le}`);
      last.set(series, value);
      const count = counts.get(name.replace(/_bucket$/, "_count") + JSON.stringify(rest));
      if (le === "+Inf" && count !== value) throw new Error(`${series} counts ${count} and ${value}`);
    }
  }
}

function readSamples(lines: readonly string[]): ScrapedSample[] {
  const samples: ScrapedSample[] = [];
  const seen = new Set<string>();
  let family = { name: "", type: "" };
  for (const line of lines) {
    const [, what, declared, words] = DECLARATION.exec(line) ?? [];
    if (what !== undefined) {
      const key = `${what} ${declared}`;
      if (seen.has(key) || (what === "TYPE" && !/^(counter|gauge|histogram)$/.test(words!)))
        throw new Error(`declared twice, or of no type: ${line}`);
      seen.add(key);
      if (what === "TYPE") family = { name: declared!, type: words! };
      continue;
    }
    const [, name = "", labels = "", value] = SAMPLE.exec(line) ?? [];
    const suffix = name.slice(family.name.length);
    const isOwn = name.startsWith(family.name) && family.name !== "";
    if (!isOwn || !(family.type === "histogram" ? /^_(bucket|sum|count)$/ : /^$/).test(suffix))
      throw new Error(`not a sample of the family ${family.name}: ${line}`);
    if (seen.has(`${name}{${labels}}`)) throw new Error(`twice: ${line}`);
    seen.add(`${name}{${labels}}`);
    samples.push({ name, labels: readLabels(labels), value: Number(value!.replace("Inf", "Infinity")) });
  }
  return samples;
}

function readLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  for (let at = 0; at < text.length; at = LABEL.lastIndex) {
    const [, name, value] = LABEL.exec(text) ?? [];
    if (name === undefined || Object.hasOwn(labels, name)) throw new Error(`no labels: ${text}`);
    labels[name] = value!.replaceAll(/\\(.)/g, (_, each: string) => (each === "n" ? "\n" : each));
  }
  return labels;
}
