// SPDX-License-Identifier: Apache-2.0
/** How metrics are written: the text format of Prometheus 0.0.4, or OpenMetrics 1.0 for whoever asks for it. */
import type { MetricFamily, Sample } from "./metric-family.ts";

export interface Exposition {
  readonly contentType: string;
  readonly text: string;
}

export type Format = "prometheus" | "openmetrics";

/** Prometheus itself asks for both and prefers OpenMetrics where it is named. */
export const formatFor = (accept: string | undefined): Format =>
  accept?.includes("application/openmetrics-text") === true ? "openmetrics" : "prometheus";

export function exposition(families: readonly MetricFamily[], format: Format): Exposition {
  const isOpen = format === "openmetrics";
  const lines = families.filter(({ samples }) => samples.length > 0).flatMap((each) => family(each, isOpen));
  if (isOpen) lines.push("# EOF");
  return {
    contentType: isOpen
      ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
      : "text/plain; version=0.0.4; charset=utf-8",
    text: `${lines.join("\n")}\n`,
  };
}

/** OpenMetrics names a counter without `_total` and its sample with it; the older format has it in both. */
function family({ name, help, type, samples }: MetricFamily, isOpen: boolean): string[] {
  const total = type === "counter" ? "_total" : "";
  const named = isOpen ? name : name + total;
  return [
    `# HELP ${named} ${escaped(help)}`,
    `# TYPE ${named} ${type}`,
    ...samples.map((sample) => `${name}${total}${sample.suffix ?? ""}${line(sample)}`),
  ];
}

function line({ labels, value }: Sample): string {
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
  return `${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${number(value)}`;
}

const escaped = (text: string): string =>
  text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');

function number(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}
