// SPDX-License-Identifier: Apache-2.0
/** An honest agent that tells, as JSON, what it can see of the world. Argument: a folder that should be hidden. */
import { accessSync, constants, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { createSocket } from "node:dgram";

const [, , folder = "/nonexistent", hostPort = "1", abstractName = "none"] = process.argv;

function attempt<T>(action: () => T): T | string {
  try {
    return action();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

const tcp = (host: string, port: number) =>
  new Promise<string>((resolve) => {
    const socket = connect({ host, port, timeout: 2000 }, () => resolve("connected"));
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on("timeout", () => resolve("timeout"));
  });

const abstract = (name: string) =>
  new Promise<string>((resolve) => {
    const socket = connect({ path: "\0" + name }, () => resolve("connected"));
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });

const udp = (host: string) =>
  new Promise<string>((resolve) => {
    const socket = createSocket("udp4");
    socket.send("x", 53, host, (error: NodeJS.ErrnoException | null) => resolve(error?.code ?? "sent"));
  });

function writableKernelFiles(folderName: string, depth: number): string[] {
  const found: string[] = [];
  for (const entry of attempt(() =>
    readdirSync(folderName, { withFileTypes: true }),
  ) as import("node:fs").Dirent[]) {
    if (typeof entry === "string" || entry.isSymbolicLink()) continue;
    const path = `${folderName}/${entry.name}`;
    if (/^\/proc\/(\d+|self|thread-self)$/.test(path)) continue;
    if (entry.isDirectory()) {
      if (depth > 0) found.push(...writableKernelFiles(path, depth - 1));
    } else if (attempt(() => accessSync(path, constants.W_OK)) === undefined) found.push(path);
  }
  return found;
}

const status = readFileSync("/proc/self/status", "latin1");
process.stdout.write(
  JSON.stringify({
    env: process.env,
    cwd: process.cwd(),
    uid: process.getuid!(),
    gid: process.getgid!(),
    umask: process.umask(),
    pid: process.pid,
    status: Object.fromEntries(
      [...status.matchAll(/^(\w+):\s*(.*)$/gm)].map(([, name, value]) => [name, value]),
    ),
    processes: readdirSync("/proc").filter((name) => /^\d+$/.test(name)),
    hidden: attempt(() => readdirSync(folder, { recursive: true })),
    throughFirst: attempt(() => readdirSync(`/proc/1/root${folder}`, { recursive: true })),
    writeHidden: attempt(() => writeFileSync(`${folder}/planted`, "x")) ?? "written",
    devices: readdirSync("/dev"),
    openNull: attempt(() => writeFileSync("/dev/null", "x")) ?? "written",
    ownTerminal: attempt(() => readlinkSync("/dev/ptmx")),
    writableKernelFiles: [...writableKernelFiles("/proc", 5), ...writableKernelFiles("/sys", 3)],
    network: {
      hostLoopback: await tcp("127.0.0.1", Number(hostPort)),
      internet: await tcp("192.0.2.1", 80),
      udp: await udp("192.0.2.1"),
      abstract: await abstract(abstractName),
    },
    interfaces: readFileSync("/proc/net/dev", "latin1")
      .match(/^\s*\w+(?=:)/gm)
      ?.map((name) => name.trim()),
  }) + "\n",
);
process.exit(0);
