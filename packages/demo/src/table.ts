// SPDX-License-Identifier: Apache-2.0
/** How are the checks shown in the end, and where does the reader go next? */
import type { Check } from "./stage.ts";

export function tableOf(checks: readonly Check[]): string {
  const width = Math.max(0, ...checks.map(({ name }) => name.length));
  return checks
    .map(({ name, ok, detail }) => `${ok ? "ok  " : "FAIL"}  ${name.padEnd(width)}  ${detail}`)
    .join("\n");
}

export const WHERE_NEXT = [
  "Where to go next:",
  "  ./postern up                         start it for real; then, in another terminal:",
  "  ./postern secret set openai-key      put a key in the vault, from standard input",
  "  ./postern apply -f examples/local.yaml -f examples/openai.yaml",
  "  ./postern run -- your-agent          run an agent without keys",
].join("\n");
