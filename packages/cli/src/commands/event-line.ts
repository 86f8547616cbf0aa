// SPDX-License-Identifier: Apache-2.0

/** The host, where no registered name says it. */
function host(
  event: Readonly<Record<string, unknown>>,
  details: Readonly<Record<string, unknown>>,
): string[] {
  const endpoint = event["dst_endpoint"] as { hostname?: string } | undefined;
  return details["server_workload"] === undefined && endpoint?.hostname !== undefined
    ? [endpoint.hostname]
    : [];
}

/** One audit event as one line for people. Control characters cannot be in it: the log replaces them. */
export function eventLine(event: Readonly<Record<string, unknown>>): string {
  const details = (event["unmapped"] ?? {}) as Readonly<Record<string, unknown>>;
  const time = typeof event["time"] === "number" ? new Date(event["time"]).toISOString() : "?";
  const id = (event["metadata"] as { uid?: string } | undefined)?.uid ?? "?";
  const words = (names: readonly string[]): string[] =>
    names.flatMap((name) => {
      const value = details[name];
      if (value === undefined || value === "" || (Array.isArray(value) && value.length === 0)) return [];
      if (Array.isArray(value)) return [value.join(",")];
      return [typeof value === "string" ? value : JSON.stringify(value)];
    });
  const dryRun = details["dry_run"] as { outcome?: string } | undefined;
  const rehearsed =
    dryRun === undefined || dryRun.outcome === details["outcome"] ? [] : [`DRY-RUN would ${dryRun.outcome}`];
  const isolated = details["isolated"] === false ? ["NOT ISOLATED"] : [];
  switch (details["kind"]) {
    case "decision":
      return [
        time,
        id,
        ...words(["outcome", "code", "agent", "server_workload"]),
        ...host(event, details),
        ...words(["operation", "model", "policies", "reasons"]),
        ...rehearsed,
        ...isolated,
      ].join("  ");
    case "outcome":
      return [
        time,
        id,
        "outcome",
        ...words(["ended", "agent", "server_workload", "usage", "decision_id"]),
      ].join("  ");
    default:
      return [
        time,
        id,
        ...words([
          "kind",
          "change",
          "outcome",
          "provider",
          "resource_kind",
          "name",
          "agent",
          "approval",
          "person",
          "run",
          "version",
          "spiffe_id",
          "reason",
          "reasons",
        ]),
        ...isolated,
      ].join("  ");
  }
}
