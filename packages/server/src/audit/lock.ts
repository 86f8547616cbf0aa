// SPDX-License-Identifier: Apache-2.0
/** Is another process writing this log? A lock file names the process by id and start time. */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { Fault } from "../kernel/fault.ts";

interface Holder {
  readonly pid: number;
  /** What no later process with the same id shares; empty where the system does not tell. */
  readonly started: string;
}

/** Takes the lock of the folder or throws; a lock whose process is gone is taken over. Returns the release. */
export function takeLock(folder: string): () => void {
  const path = join(folder, "lock");
  const own = JSON.stringify({ pid: process.pid, started: startOf(process.pid), lock: randomUUID() });
  for (let attempt = 0; attempt < 3; attempt++) {
    if (linkNew(path, own)) {
      return () => {
        if (readOrEmpty(path) === own) rmSync(path, { force: true });
      };
    }
    const found = readOrEmpty(path);
    const holder = parseHolder(found);
    if (holder !== undefined && isAlive(holder)) {
      throw new Fault(
        "audit_unavailable",
        `the audit log is open in process ${holder.pid}; stop that server first (lock file: ${path})`,
      );
    }
    setAside(path, found);
  }
  throw new Fault("audit_unavailable", `the lock of the audit log keeps changing hands: ${path}`);
}

/** Creates the lock with its content in one step; false where there is one. */
function linkNew(path: string, content: string): boolean {
  const temporary = `${path}.${randomUUID()}`;
  writeFileSync(temporary, content, { flag: "wx", mode: 0o600 });
  try {
    linkSync(temporary, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Removes the stale lock; if another process has replaced it meanwhile, gives that one back. */
function setAside(path: string, stale: string): void {
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  if (readOrEmpty(aside) !== stale) linkSync(aside, path);
  rmSync(aside, { force: true });
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function parseHolder(content: string): Holder | undefined {
  try {
    const { pid, started } = JSON.parse(content) as Partial<Holder>;
    return Number.isSafeInteger(pid) && typeof started === "string" ? { pid: pid!, started } : undefined;
  } catch {
    return undefined;
  }
}

function isAlive({ pid, started }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it lives and belongs to somebody else.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  return startOf(pid) === started;
}

/** Boot and tick at which the process started, as Linux tells it. Elsewhere the id alone has to do. */
function startOf(pid: number): string {
  const stat = readOrEmpty(`/proc/${pid}/stat`);
  if (stat === "") return "";
  // Field 22 of proc(5); field 2 is the program's name in parentheses and may hold anything.
  const ticks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  return `${readOrEmpty("/proc/sys/kernel/random/boot_id").trim()}:${ticks}`;
}
