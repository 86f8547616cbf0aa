// SPDX-License-Identifier: Apache-2.0
/** How does a process of this machine run? From /proc and the control groups; what cannot be read is absent. */
import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { CAPABILITIES } from "../../policy/conditions/runtime.ts";
import type { RuntimeFacts } from "../../policy/conditions/facts.ts";

/** Where the kernel shows processes and control groups. */
export interface KernelViews {
  readonly proc: string;
  readonly cgroups: string;
}

const HERE: KernelViews = { proc: "/proc", cgroups: "/sys/fs/cgroup" };

const STATUS = ["capabilities", "noNewPrivileges", "seccomp"] as const;
const EVERYTHING = [
  ...STATUS,
  ...(["readOnlyRoot", "sharedNamespaces", "maxMemoryBytes", "maxProcesses"] as const),
];

/** Each file takes its time, so that only those are read that tell what is asked for. */
export function runtimeOf(
  pid: number,
  asked: readonly (keyof RuntimeFacts)[] = EVERYTHING,
  views: KernelViews = HERE,
): RuntimeFacts {
  const read = (name: string): string =>
    attempt(() => readFileSync(join(views.proc, String(pid), name), "latin1")) ?? "";
  const limits = (): ControlGroups => new ControlGroups(read("cgroup"), views.cgroups);
  const isAsked = (...names: readonly (keyof RuntimeFacts)[]): boolean =>
    names.some((name) => asked.includes(name));
  const facts: { [K in keyof RuntimeFacts]: RuntimeFacts[K] | undefined } = {
    ...(isAsked(...STATUS) ? statusFacts(read("status")) : {}),
    ...(isAsked("readOnlyRoot") ? { readOnlyRoot: isRootReadOnly(read("mountinfo")) } : {}),
    ...(isAsked("sharedNamespaces") ? { sharedNamespaces: sharedNamespaces(pid, views) } : {}),
    ...(isAsked("maxMemoryBytes")
      ? { maxMemoryBytes: limits().least("memory", "memory.max", "memory.limit_in_bytes") }
      : {}),
    ...(isAsked("maxProcesses") ? { maxProcesses: limits().least("pids", "pids.max", "pids.max") } : {}),
  };
  const known = Object.entries(facts).filter(([, value]) => value !== undefined);
  return Object.fromEntries(known);
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** The process chooses its name in the first line; the kernel escapes line feeds in it, and nothing else. */
function statusFacts(text: string): {
  capabilities: readonly string[] | undefined;
  noNewPrivileges: boolean | undefined;
  seccomp: boolean | undefined;
} {
  const lines = text.split("\n");
  const after = (name: string): string | undefined =>
    lines.find((line) => line.startsWith(`${name}:\t`))?.slice(name.length + 2);
  const sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"].map(after);
  const filter = after("Seccomp");
  const promise = after("NoNewPrivs");
  return {
    capabilities: sets.every((set) => set !== undefined && /^[0-9a-f]{16}$/.test(set))
      ? namesOf(sets.reduce((all, set) => all | BigInt(`0x${set}`), 0n))
      : undefined,
    noNewPrivileges: promise === undefined ? undefined : promise === "1",
    // 1 is strict mode, 2 a filter.
    seccomp: filter === undefined ? undefined : filter === "1" || filter === "2",
  };
}

/** One that this list does not know has a number for a name: it is in no list of those that may be. */
function namesOf(set: bigint): string[] {
  const names: string[] = [];
  for (let bit = 0; bit < 64; bit++)
    if ((set & (1n << BigInt(bit))) !== 0n) names.push(CAPABILITIES[bit] ?? `CAP_${bit}`);
  return names;
}

/** The mount that was put on `/` last is the one that is seen (proc_pid_mountinfo(5)). */
function isRootReadOnly(mounts: string): boolean | undefined {
  const root = mounts
    .split("\n")
    .map((line) => line.split(" "))
    .findLast(([, , , , place]) => place === "/");
  if (root === undefined) return undefined;
  const own = root[5]!.split(",");
  const ofFileSystem = root.at(-1)!.split(",");
  return own.includes("ro") || ofFileSystem.includes("ro");
}

const NAMESPACES = {
  ...{ network: "net", pid: "pid", mount: "mnt", user: "user", ipc: "ipc", uts: "uts" },
};

function sharedNamespaces(pid: number, { proc }: KernelViews): string[] | undefined {
  const shared: string[] = [];
  for (const [name, file] of Object.entries(NAMESPACES)) {
    const [its, ours] = [String(pid), "self"].map((who) =>
      attempt(() => readlinkSync(join(proc, who, "ns", file))),
    );
    if (its === undefined || ours === undefined) return undefined;
    if (its === ours) shared.push(name);
  }
  return shared;
}

/** Limits of a group hold for all groups below it. */
class ControlGroups {
  readonly #lines: readonly string[];
  readonly #root: string;

  constructor(text: string, root: string) {
    [this.#lines, this.#root] = [text.split("\n"), root];
  }

  /** The least limit on the way up; Infinity where there is none, undefined where nobody tells. */
  least(controller: string, unified: string, older: string): number | undefined {
    const own = this.#lines.find((line) => new RegExp(`^\\d+:([^:]*,)?${controller}(,[^:]*)?:/`).test(line));
    if (own !== undefined) return limitOf(join(this.#root, controller), pathOf(own), older);
    const line = this.#lines.find((each) => each.startsWith("0::/"));
    return line === undefined ? undefined : limitOf(this.#root, pathOf(line), unified);
  }
}

const pathOf = (line: string): string => line.slice(line.indexOf(":/") + 1);

function limitOf(root: string, path: string, file: string): number | undefined {
  const steps = path.split("/").filter((step) => step !== "");
  // Outside of what this server sees.
  if (steps.includes("..")) return undefined;
  let least: number | undefined;
  for (let depth = steps.length; depth >= 0; depth--) {
    const text = attempt(() => readFileSync(join(root, ...steps.slice(0, depth), file), "latin1").trim());
    if (text === undefined) {
      // A group without the file is limited by those above it, as the root is by none.
      if (existsSync(join(root, ...steps.slice(0, depth)))) continue;
      return undefined;
    }
    const value = text === "max" ? Infinity : Number(text);
    if (Number.isNaN(value)) return undefined;
    // Version 1 says "no limit" as the largest number of pages.
    least = Math.min(least ?? Infinity, value > 2 ** 62 ? Infinity : value);
  }
  return least ?? Infinity;
}
