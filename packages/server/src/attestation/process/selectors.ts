// SPDX-License-Identifier: Apache-2.0
/** Which selectors do the facts about a process amount to? */
import { ok, type Result } from "../../kernel/result.ts";
import type { ProcessFacts, RunFacts } from "./identify-caller.ts";

export const SHA256_SELECTOR = "process:sha256=";

/**
 * Everything that may be asked of this process, except its hash.
 *
 * `process:path` stands only where the path leads to the running file in the server's own view: inside a sandbox a
 * process may mount its own file over any path.
 */
export function selectorsOf(process: Omit<ProcessFacts, "sha256">, run: RunFacts | undefined): Set<string> {
  const selectors = new Set([`process:uid=${process.uid}`, `process:gid=${process.gid}`]);
  // Of a process outside of runs nobody has said anything.
  if (run !== undefined) selectors.add(`process:run=${run.id}`).add(`process:isolated=${run.isolated}`);
  if (process.pathVerified && !process.deleted) selectors.add(`process:path=${process.path}`);
  if (process.cgroup !== undefined) selectors.add(`process:cgroup=${process.cgroup}`);
  if (run?.agent !== undefined) selectors.add(`process:agent=${run.agent}`);
  return selectors;
}

/** The same with `process:sha256`, which reads the whole executable the first time. */
export async function selectorsWithHashOf(
  process: ProcessFacts,
  run: RunFacts | undefined,
): Promise<Result<Set<string>, string>> {
  const selectors = selectorsOf(process, run);
  const hash = await process.sha256();
  return hash.ok ? ok(selectors.add(SHA256_SELECTOR + hash.value)) : hash;
}
