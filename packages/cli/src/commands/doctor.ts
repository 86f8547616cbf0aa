// SPDX-License-Identifier: Apache-2.0
import type { Command } from "../command.ts";

export const doctor: Command = {
  name: "doctor",
  usage: "doctor",
  summary: "prove that the agent cannot read the secret while its call succeeds; say what else it could reach",
  flags: {},
  run: async () => 1,
};
