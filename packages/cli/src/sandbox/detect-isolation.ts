// SPDX-License-Identifier: Apache-2.0
/** Can this machine, for this user, isolate an agent, and if not, what has to be done? */
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import type { IsolationMode } from "./plan.ts";
import { SandboxUnavailable, startSandboxed } from "./start-sandboxed.ts";

export interface IsolationReport {
  readonly mode: IsolationMode;
  /** What was tried in vain, in order. */
  readonly failed: readonly { readonly mode: IsolationMode; readonly reason: string }[];
  /** What makes isolation possible; present where `mode` is `none`. */
  readonly nextStep?: string;
}

/** Tries each sandbox out, by starting a program in it and reading what the kernel says about that program. */
export async function detectIsolation(): Promise<IsolationReport> {
  const failed: { mode: IsolationMode; reason: string }[] = [];
  if (process.platform !== "linux") {
    const reason = "isolation needs Linux namespaces";
    return { mode: "none", failed: [{ mode: "none", reason }], nextStep: "run the agent on Linux" };
  }
  for (const mode of ["bubblewrap", "util-linux"] as const) {
    // One after the other: the second is tried only where the first does not work.
    // eslint-disable-next-line no-await-in-loop
    const reason = await whyNot(mode);
    if (reason === undefined) return { mode, failed };
    failed.push({ mode, reason });
  }
  return { mode: "none", failed, nextStep: nextStep() };
}

/** `undefined` where the sandbox works. */
export async function whyNot(mode: "bubblewrap" | "util-linux"): Promise<string | undefined> {
  try {
    return await tryOut(mode);
  } catch (error) {
    if (error instanceof SandboxUnavailable) return error.message;
    throw error;
  }
}

async function tryOut(mode: "bubblewrap" | "util-linux"): Promise<string | undefined> {
  const probe = startSandboxed(
    {
      mode,
      hidePaths: [],
      spec: {
        env: { PATH: "/usr/local/bin:/usr/bin:/bin:/run/current-system/sw/bin" },
        cwd: "/",
        command: ["cat", "/proc/self/status"],
      },
    },
    ["ignore", "pipe", "pipe"],
  );
  const deadline = setTimeout(() => probe.child.kill("SIGKILL"), 10_000);
  const [status, complaint, { code, failure }] = await Promise.all([
    text(probe.child.stdout!),
    text(probe.child.stderr!),
    probe.exit,
  ]);
  clearTimeout(deadline);
  if (code !== 0) return failure ?? (complaint.trim().split("\n")[0] || `ended with exit code ${code}`);
  return defectOf(status);
}

/** Reads `/proc/self/status` as the sandboxed program saw it. */
export function defectOf(status: string): string | undefined {
  const value = (name: string) => new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(status)?.[1];
  if (value("NoNewPrivs") !== "1") return "new privileges stay possible inside";
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
    if (!/^0+$/.test(value(set) ?? "")) return `${set} is not empty inside`;
  }
  // The first processes of a fresh process namespace have small numbers.
  if (Number(value("Pid")) > 20) return "the process namespace is not a fresh one";
  return undefined;
}

/** Value of a kernel setting; undefined where this kernel does not have it. */
function setting(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}

function nextStep(): string {
  if (setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") === "1") {
    return "install bubblewrap with its AppArmor profile, or run `sysctl kernel.apparmor_restrict_unprivileged_userns=0` as root";
  }
  if (setting("/proc/sys/user/max_user_namespaces") === "0") {
    return "run `sysctl user.max_user_namespaces=15000` as root";
  }
  if (setting("/proc/sys/kernel/unprivileged_userns_clone") === "0") {
    return "run `sysctl kernel.unprivileged_userns_clone=1` as root";
  }
  return "install bubblewrap; inside a container, allow user namespaces and a fresh /proc, or isolate at the container's border";
}
