// SPDX-License-Identifier: Apache-2.0
/** How does the audit log do: entries, failures, and how long the disk takes? */
import { counter, gauge, Histogram, type MetricFamily } from "./metric-family.ts";

const SYNCS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5];

export class AuditMetrics {
  readonly #syncs = new Histogram(SYNCS);
  #appends = 0;
  #bytes = 0;
  #failures = 0;

  readonly appended = (bytes: number): void => {
    this.#appends++;
    this.#bytes += bytes;
  };

  /** An entry that was refused, a sync or a checkpoint that failed. */
  readonly failed = (): void => void this.#failures++;

  readonly synced = (milliseconds: number): void => this.#syncs.observe(milliseconds / 1000);

  /** `entries`: the size of the whole log. */
  collect(entries: number): readonly MetricFamily[] {
    return [
      counter("postern_audit_appends", "entries written since the start", this.#appends),
      counter("postern_audit_appended_bytes", "bytes of these entries", this.#bytes),
      counter("postern_audit_failures", "entries, syncs and checkpoints that failed", this.#failures),
      gauge("postern_audit_entries", "entries of the whole log", entries),
      {
        name: "postern_audit_sync_duration_seconds",
        help: "time that the disk took to make a group of entries durable",
        type: "histogram",
        samples: this.#syncs.samples({}),
      },
    ];
  }
}
