// SPDX-License-Identifier: Apache-2.0
import { startAgent } from "../agent-run.ts";
import { type Command, type Invocation, listFlag, stringFlag, UsageError } from "../command.ts";
import { detectIsolation } from "../sandbox/detect-isolation.ts";
import { forwardSignals } from "../sandbox/forward-signals.ts";
import type { IsolationMode } from "../sandbox/plan.ts";

export const run: Command = {
  name: "run",
  usage: "run [--agent NAME] -- CMD …",
  summary: "run an agent, isolated, with no secret in reach; its calls go through the gateway",
  passesRest: true,
  flags: {
    agent: { type: "string", value: "NAME", help: "which Agent it is; needed where several would match" },
    hide: {
      type: "string",
      multiple: true,
      value: "PATH",
      help: "hide this file or folder too; may be repeated",
    },
    "keep-env": {
      type: "string",
      multiple: true,
      value: "NAME",
      help: "keep this variable although its name looks like a secret's; never one that holds a secret of the vault",
    },
    "no-isolate": {
      type: "boolean",
      help: "run without isolation: the agent can then reach what you can (audited)",
    },
  },
  details:
    "The exit code is the command's own. Nothing is printed unless something is wrong.\n" +
    "Example: postern run --agent support-agent -- python agent.py",
  run: async (invocation) => {
    if (invocation.words.length === 0) throw new UsageError("give the command to run: postern run -- CMD …");
    const mode = await chooseMode(invocation);
    if (mode === undefined) return 1;
    const { control, environment, flags, note, words } = invocation;
    const sandboxed = await startAgent({
      control,
      mode,
      environment,
      agent: stringFlag(flags["agent"]),
      command: words,
      keep: listFlag(flags["keep-env"]),
      hide: listFlag(flags["hide"]),
    });
    forwardSignals(sandboxed);
    const { code, failure } = await sandboxed.exit;
    if (failure !== undefined) note(failure);
    return code;
  },
};

async function chooseMode({ flags, note }: Invocation): Promise<IsolationMode | undefined> {
  if (flags["no-isolate"] === true) {
    note(
      "NOT ISOLATED: this agent can read Postern's files and go round the gateway, as you can (--no-isolate)",
    );
    return "none";
  }
  const report = await detectIsolation();
  if (report.mode !== "none") return report.mode;
  note("this machine cannot isolate the agent, so it is not started");
  for (const { mode, reason } of report.failed) note(`  ${mode}: ${reason}`);
  if (report.nextStep !== undefined) note(`next: ${report.nextStep}`);
  note("or choose to run it without isolation: --no-isolate");
  return undefined;
}
