// SPDX-License-Identifier: Apache-2.0
/** Can the parsers of the Prometheus project read what the server says after all those calls? */
import { fileURLToPath } from "node:url";
import { startProgram, type Postern } from "@postern/testkit";
import { PYTHON } from "./install-clients.ts";

export const WATCHED = ["--metrics-listen", "127.0.0.1:0", "--log-level", "info"];

const ACCEPT = { prometheus: "text/plain", openmetrics: "application/openmetrics-text" };

/** What is wrong with the metrics; undefined where nothing is. */
export async function metricsProblem(postern: Postern): Promise<string | undefined> {
  const line = await postern.server.line((each) => each.includes("metrics are served"));
  const { address } = JSON.parse(line) as { address: string };
  const texts: Record<string, string> = {};
  for (const [format, accept] of Object.entries(ACCEPT))
    texts[format] = await (await fetch(`http://${address}/metrics`, { headers: { accept } })).text();
  const script = fileURLToPath(new URL("scripts/read_metrics.py", import.meta.url));
  const { code, stdout, stderr } = await startProgram(PYTHON, ["-B", script], {
    input: JSON.stringify(texts),
  }).ended;
  if (code !== 0) return stderr.trim().slice(-300);
  const families = JSON.parse(stdout) as Record<string, number>;
  const isWhole = Object.values(families).every((count) => count > 20);
  return isWhole ? undefined : `too few families: ${stdout}`;
}
