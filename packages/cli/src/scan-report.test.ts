// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { readScan, type ScanFormat } from "./scan-report.ts";

const read = (format: ScanFormat, report: unknown) => readScan(JSON.stringify(report), format, "scan.json");
const none = Object.fromEntries(
  ["critical", "high", "medium", "low", "negligible", "unknown"].map((name) => [
    `vulnerabilities.${name}`,
    0,
  ]),
);
const trivy = (more: object) => ({
  ...{ SchemaVersion: 2, CreatedAt: "2026-11-21T08:00:00.123456789+01:00", ArtifactName: "app:1" },
  ...more,
});

describe("a report that says nothing of vulnerabilities is refused", () => {
  it.each<[string, ScanFormat, unknown, RegExp]>([
    ["of Trivy without packages", "trivy", trivy({}), /--scanners vuln/],
    ["of Trivy on secrets only", "trivy", trivy({ Results: [{ Class: "secret" }] }), /--scanners vuln/],
    ["of another version of Trivy", "trivy", { SchemaVersion: 1 }, /SchemaVersion 2/],
    ["of Grype without matches", "grype", { descriptor: { name: "grype" } }, /Grype/],
    ["of somebody else", "grype", { matches: [] }, /Grype/],
    [
      "that is an SBOM alone",
      "cyclonedx",
      { bomFormat: "CycloneDX", components: [] },
      /no `vulnerabilities`/,
    ],
    ["that is no object", "cyclonedx", [1], /no CycloneDX/],
  ])("one %s", (_, format, report, message) => {
    expect(() => read(format, report)).toThrow(message);
  });

  it("one that was cut off", () => {
    const whole = JSON.stringify(trivy({ Results: [{ Class: "os-pkgs" }] }));
    expect(() => readScan(whole.slice(0, -3), "trivy", "scan.json")).toThrow(/no JSON/);
  });
});

describe("what was found is counted by the worst", () => {
  it("in Trivy's words, each vulnerability once, whatever number of packages has it", () => {
    const found = [
      { VulnerabilityID: "CVE-1", PkgName: "a", Severity: "CRITICAL" },
      { VulnerabilityID: "CVE-1", PkgName: "b", Severity: "CRITICAL" },
      { VulnerabilityID: "CVE-2", Severity: "HIGH" },
      { VulnerabilityID: "CVE-3", Severity: "odd" },
    ];
    const results = [{ Class: "os-pkgs" }, { Class: "lang-pkgs", Vulnerabilities: found }];
    expect(read("trivy", trivy({ Results: results }))).toEqual({
      facts: {
        ...none,
        ...{ "vulnerabilities.critical": 1, "vulnerabilities.high": 1, "vulnerabilities.unknown": 1 },
      },
      observedAt: "2026-11-21T07:00:00.123Z",
    });
  });

  it("in Grype's words", () => {
    const matches = [
      { vulnerability: { id: "CVE-1", severity: "Medium" } },
      { vulnerability: { id: "CVE-2", severity: "Negligible" } },
      { vulnerability: {} },
    ];
    const report = { matches, descriptor: { name: "grype", timestamp: "2026-11-21T07:00:00Z" } };
    expect(read("grype", report).facts).toEqual({
      ...none,
      ...{ "vulnerabilities.medium": 1, "vulnerabilities.negligible": 1, "vulnerabilities.unknown": 1 },
    });
  });

  it("in CycloneDX's words, without what is said to do no harm", () => {
    const vulnerabilities = [
      { id: "CVE-1", ratings: [{ severity: "low" }, { severity: "high" }] },
      { id: "CVE-2", ratings: [{ severity: "critical" }], analysis: { state: "not_affected" } },
      { id: "CVE-3", ratings: [{ severity: "critical" }], analysis: { state: "exploitable" } },
      { id: "CVE-4" },
    ];
    expect(read("cyclonedx", { bomFormat: "CycloneDX", vulnerabilities })).toEqual({
      facts: {
        ...none,
        ...{ "vulnerabilities.critical": 1, "vulnerabilities.high": 1, "vulnerabilities.unknown": 1 },
      },
      observedAt: undefined,
    });
  });
});
