// SPDX-License-Identifier: Apache-2.0
/**
 * What did a scanner find? How many vulnerabilities of each severity, and when it looked.
 *
 * Trivy's JSON (schema version 2), Grype's JSON, and CycloneDX 1.4 and later with `vulnerabilities`. A report that does
 * not say that it looked for vulnerabilities is refused: an empty list of nobody is no good news.
 */
import { FilesError } from "./command.ts";

export const SCAN_FORMATS = ["trivy", "grype", "cyclonedx"] as const;
export type ScanFormat = (typeof SCAN_FORMATS)[number];

export interface ScanFindings {
  readonly facts: Readonly<Record<string, number>>;
  /** As the report says it; absent where it does not. */
  readonly observedAt: string | undefined;
}

/** Worst first. */
const SEVERITIES = ["critical", "high", "medium", "low", "negligible", "unknown"] as const;
const ALSO_NEGLIGIBLE: ReadonlySet<string> = new Set(["info", "none"]);

type Json = Readonly<Record<string, unknown>>;

/** One vulnerability of one package. */
interface Finding {
  readonly id: string;
  readonly severity: unknown;
}

interface Read {
  readonly findings: readonly Finding[];
  readonly time: unknown;
}

/** Throws a `FilesError` that says what is wrong with the report. */
export function readScan(text: string, format: ScanFormat, file: string): ScanFindings {
  const wrong = (message: string): FilesError =>
    new FilesError(`${file} is of no use as a report of ${format}: ${message}`, []);
  let report: unknown;
  try {
    report = JSON.parse(text);
  } catch (error) {
    throw wrong(`it is no JSON: ${(error as Error).message}`);
  }
  const read = READERS[format](objectOf(report));
  if (typeof read === "string") throw wrong(read);
  const counted = new Map(SEVERITIES.map((severity) => [severity, new Set<string>()]));
  for (const { id, severity } of read.findings) counted.get(severityOf(severity))!.add(id);
  const milliseconds = typeof read.time === "string" ? Date.parse(read.time) : Number.NaN;
  return {
    facts: Object.fromEntries(
      [...counted].map(([severity, ids]) => [`vulnerabilities.${severity}`, ids.size]),
    ),
    observedAt: Number.isNaN(milliseconds) ? undefined : new Date(milliseconds).toISOString(),
  };
}

function severityOf(text: unknown): (typeof SEVERITIES)[number] {
  const word = typeof text === "string" ? text.toLowerCase() : "";
  if (ALSO_NEGLIGIBLE.has(word)) return "negligible";
  return SEVERITIES.find((severity) => severity === word) ?? "unknown";
}

/** What was found, or why the report is of no use. */
const READERS: Readonly<Record<ScanFormat, (report: Json) => Read | string>> = {
  trivy(report) {
    if (report["SchemaVersion"] !== 2)
      return "it is no report of Trivy with SchemaVersion 2: `trivy … --format json`";
    const results = objectsOf(report["Results"]);
    // Trivy names each set of packages that it looked at, whether it found anything there or not.
    const scanned = results.filter(({ Class }) => Class === "os-pkgs" || Class === "lang-pkgs");
    if (scanned.length === 0)
      return "Trivy looked at no packages there: scan for vulnerabilities (`--scanners vuln`)";
    const findings = scanned
      .flatMap(({ Vulnerabilities }) => objectsOf(Vulnerabilities))
      .map(({ Severity, VulnerabilityID }) => finding(VulnerabilityID, Severity));
    return { findings, time: report["CreatedAt"] };
  },
  grype(report) {
    const descriptor = objectOf(report["descriptor"]);
    if (descriptor["name"] !== "grype" || !Array.isArray(report["matches"]))
      return "it is no report of Grype: `grype … --output json`";
    const findings = objectsOf(report["matches"])
      .map(({ vulnerability }) => objectOf(vulnerability))
      .map(({ id, severity }) => finding(id, severity));
    return { findings, time: descriptor["timestamp"] };
  },
  cyclonedx(report) {
    if (report["bomFormat"] !== "CycloneDX") return "it is no CycloneDX document in JSON";
    if (!Array.isArray(report["vulnerabilities"]))
      return "it lists what is there, not what is wrong with it: it has no `vulnerabilities`";
    const findings = objectsOf(report["vulnerabilities"])
      .filter(({ analysis }) => !HARMLESS.has(String(objectOf(analysis)["state"])))
      .map(({ id, ratings }) => finding(id, worstOf(objectsOf(ratings).map(({ severity }) => severity))));
    return { findings, time: objectOf(report["metadata"])["timestamp"] };
  },
};

/** Impact analysis states of CycloneDX under which it does not count. */
const HARMLESS: ReadonlySet<string> = new Set([
  "resolved",
  "resolved_with_pedigree",
  "false_positive",
  "not_affected",
]);

const worstOf = (severities: readonly unknown[]): unknown => {
  const known = severities.map(severityOf);
  return SEVERITIES.find((severity) => known.includes(severity));
};

const finding = (id: unknown, severity: unknown): Finding => ({
  id: typeof id === "string" ? id : JSON.stringify(id ?? null),
  severity,
});

const objectOf = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
const objectsOf = (value: unknown): readonly Json[] => (Array.isArray(value) ? value.map(objectOf) : []);
