// SPDX-License-Identifier: Apache-2.0
/**
 * Runs in the agent's place, inside the isolation, and tells what it sees. It does not know the secret that it
 * looks for: whether it is in what was seen is decided outside.
 */
import { accessSync, constants, lstatSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { dirname } from "node:path";

/** What the probe is asked; one JSON text as its argument. */
export interface ProbeOrders {
  /** On the gate, whose address the launcher puts in POSTERN_GATE. */
  readonly path: string;
  readonly placeholder: string;
  /** Ports on the host's loopback that it must not reach. */
  readonly directPort: number;
  readonly dataFolder: string;
  readonly candidates: readonly string[];
  /** Files of Postern itself, which the agent must not be able to change. */
  readonly programFiles: readonly string[];
}

export interface ProbeReport {
  readonly call:
    | { readonly status: number; readonly headers: string; readonly body: string }
    | { readonly failed: string };
  readonly environments: readonly string[];
  readonly commandLines: readonly string[];
  readonly processes: number;
  readonly status: string;
  readonly direct: "refused" | "connected";
  readonly dataFolder: readonly string[];
  readonly reachable: readonly string[];
  readonly writable: readonly string[];
  /** Folders above the data folder and the program that could be renamed (and were renamed back). */
  readonly renamed: readonly string[];
}

if (process.argv[2] !== undefined && import.meta.main) {
  const orders = JSON.parse(process.argv[2]) as ProbeOrders;
  process.stdout.write(JSON.stringify(await probe(orders)));
}

async function probe(orders: ProbeOrders): Promise<ProbeReport> {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return {
    call: await call(process.env["POSTERN_GATE"] + orders.path, orders.placeholder),
    environments: pids.map((pid) => readOrEmpty(`/proc/${pid}/environ`)),
    commandLines: pids.map((pid) => readOrEmpty(`/proc/${pid}/cmdline`)),
    processes: pids.length,
    status: readOrEmpty("/proc/self/status"),
    direct: await direct(orders.directPort),
    dataFolder: listing(orders.dataFolder),
    reachable: orders.candidates.filter((path) => isReachable(path)),
    writable: orders.programFiles.filter((path) => can(path, constants.W_OK)),
    renamed: foldersAbove([orders.dataFolder, ...orders.programFiles]).filter((path) => canRename(path)),
  };
}

function call(url: string, placeholder: string): Promise<ProbeReport["call"]> {
  return new Promise((resolve) => {
    const outgoing = request(url, { headers: { authorization: `Bearer ${placeholder}` } }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.on("end", () =>
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.rawHeaders.join("\n"),
          body: Buffer.concat(chunks).toString("latin1"),
        }),
      );
    });
    outgoing.on("error", (error) => resolve({ failed: error.message }));
    outgoing.end();
  });
}

function direct(port: number): Promise<"refused" | "connected"> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.setTimeout(2000, () => socket.destroy());
    socket.once("connect", () => {
      resolve("connected");
      socket.destroy();
    });
    socket.once("close", () => resolve("refused"));
    socket.on("error", () => {});
  });
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

function listing(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true }).map(String);
  } catch {
    return [];
  }
}

/** There, not emptied by a hiding mount, and readable (a socket: writable). */
function isReachable(path: string): boolean {
  try {
    const stats = lstatSync(path);
    if (stats.isDirectory()) return can(path, constants.R_OK) && readdirSync(path).length > 0;
    if (stats.isSocket()) return can(path, constants.W_OK);
    return can(path, constants.R_OK) && readFileSync(path).length > 0;
  } catch {
    return false;
  }
}

function foldersAbove(paths: readonly string[]): string[] {
  const found = new Set<string>();
  for (const path of paths)
    for (let folder = dirname(path); dirname(folder) !== folder; folder = dirname(folder)) found.add(folder);
  return [...found];
}

function canRename(folder: string): boolean {
  const other = `${folder}.postern-doctor`;
  try {
    renameSync(folder, other);
  } catch {
    return false;
  }
  renameSync(other, folder);
  return true;
}

function can(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}
