// SPDX-License-Identifier: Apache-2.0
/** All commands, in the order in which a newcomer meets them. */
import type { Command } from "./command.ts";
import { agentCommands } from "./commands/agents.ts";
import { approvalCommands } from "./commands/approvals.ts";
import { authorityCommands } from "./commands/authorities.ts";
import { attest, joinToken } from "./commands/attest.ts";
import { auditCommands } from "./commands/audit.ts";
import { budgetCommands } from "./commands/budgets.ts";
import { demo } from "./commands/demo.ts";
import { backupCommands } from "./commands/backup.ts";
import { doctor } from "./commands/doctor.ts";
import { grantCommands } from "./commands/grants.ts";
import { resourceCommands } from "./commands/resources.ts";
import { learn } from "./commands/learn.ts";
import { policyCommands } from "./commands/policy.ts";
import { postureCommands } from "./commands/posture.ts";
import { priceCommands } from "./commands/prices.ts";
import { review } from "./commands/review.ts";
import { run } from "./commands/run.ts";
import { secretCommands } from "./commands/secrets.ts";
import { simulate } from "./commands/simulate.ts";
import { status, up } from "./commands/up.ts";
import { vaultCommands } from "./commands/vault.ts";
import { why } from "./commands/why.ts";

export const commands: readonly Command[] = [
  demo,
  up,
  run,
  ...secretCommands,
  ...resourceCommands,
  why,
  simulate,
  learn,
  review,
  ...policyCommands,
  ...approvalCommands,
  ...grantCommands,
  ...budgetCommands,
  ...priceCommands,
  ...postureCommands,
  attest,
  joinToken,
  ...agentCommands,
  ...auditCommands,
  ...authorityCommands,
  ...vaultCommands,
  ...backupCommands,
  doctor,
  status,
];
