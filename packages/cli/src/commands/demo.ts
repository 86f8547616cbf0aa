// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Command } from "../command.ts";

export const demo: Command = {
  name: "demo",
  usage: "demo",
  summary: "everything, offline, in one go: three real SDKs, attacks that fail, a verified log",
  flags: {},
  details: "Uses its own temporary data folder and stand-in servers on loopback; leaves nothing behind.",
  run: ({ json }) =>
    new Promise((resolve) => {
      const program = fileURLToPath(import.meta.resolve("@postern/demo"));
      const child = spawn(
        process.execPath,
        ["--disable-warning=ExperimentalWarning", program, ...(json ? ["--json"] : [])],
        { stdio: "inherit" },
      );
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
        process.on(signal, () => child.kill(signal));
      child.once("exit", (code) => resolve(code ?? 1));
    }),
};
