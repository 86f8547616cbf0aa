// SPDX-License-Identifier: Apache-2.0
/** `postern run` reduced to its sandbox, for tests that need it as a process of its own: one plan, as JSON. */
import { forwardSignals } from "./forward-signals.ts";
import type { SandboxPlan } from "./plan.ts";
import { startSandboxed } from "./start-sandboxed.ts";

const sandboxed = startSandboxed(JSON.parse(process.argv[2]!) as SandboxPlan);
forwardSignals(sandboxed);
const { code, failure } = await sandboxed.exit;
if (failure !== undefined) process.stderr.write(`postern: ${failure}\n`);
process.exitCode = code;
