// SPDX-License-Identifier: Apache-2.0
/** What can be asked about the processes of this machine, besides the caller's own facts? */
import { livesIn } from "./membership.ts";
import { closeDescriptor, isAlive, openProcess } from "./native.ts";
import { readCgroupText, readNamespace } from "./proc.ts";

export interface ProcessView {
  /** `/proc/PID/cgroup`; undefined where it cannot be read. */
  cgroups(pid: number): string | undefined;
  /** Undefined where it cannot be read. */
  pidNamespace(pid: number | "self"): string | undefined;
  livesIn(pid: number, pidNamespace: string): boolean;
  /** A handle that stays with this process; undefined where there is none. */
  hold(pid: number): { isAlive(): boolean; release(): void } | undefined;
}

export const processView: ProcessView = {
  cgroups: readCgroupText,
  pidNamespace: (pid) => readNamespace(pid, "pid"),
  livesIn,
  hold(pid) {
    const handle = openProcess(pid);
    if (handle === undefined) return undefined;
    return { isAlive: () => isAlive(handle), release: () => closeDescriptor(handle) };
  },
};
