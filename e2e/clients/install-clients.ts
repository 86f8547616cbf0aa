// SPDX-License-Identifier: Apache-2.0
/** Installs the clients beside this file, from the lock file and the pinned requirements, once. */
import { execFile } from "node:child_process";
import { access, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Client } from "./clients.ts";

const run = promisify(execFile);
const HERE = fileURLToPath(new URL(".", import.meta.url));
export const PYTHON = `${HERE}.venv/bin/python`;

export async function installClients(say: (line: string) => void): Promise<void> {
  await installDebianPackages(["curl", "git"], say);
  if (!(await isInstalledAsLocked())) {
    say("installing npm packages …");
    await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: HERE });
  }
  if (!(await exists(PYTHON))) {
    say("making a Python environment …");
    await run("python3", ["-m", "venv", `${HERE}.venv`]);
  }
  await run(
    PYTHON,
    ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"],
    {
      cwd: HERE,
    },
  );
}

/** npm writes its own lock last, into the folder that it filled. */
async function isInstalledAsLocked(): Promise<boolean> {
  const wanted = JSON.parse(await readFile(`${HERE}package.json`, "utf8")) as Dependencies;
  for (const [name, version] of Object.entries(wanted.dependencies)) {
    if ((await npmVersion(name)) !== version) return false;
  }
  return true;
}

interface Dependencies {
  readonly dependencies: Readonly<Record<string, string>>;
}

async function npmVersion(name: string): Promise<string | undefined> {
  try {
    const text = await readFile(`${HERE}node_modules/${name}/package.json`, "utf8");
    return (JSON.parse(text) as { version: string }).version;
  } catch {
    return undefined;
  }
}

async function installDebianPackages(names: readonly string[], say: (line: string) => void): Promise<void> {
  const missing: string[] = [];
  for (const name of names) {
    await run(name, ["--version"]).catch(() => missing.push(name));
  }
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0)
    throw new Error(`${missing.join(" and ")} missing: install it, then run this again`);
  say(`installing ${missing.join(" ")} …`);
  await run("apt-get", ["install", "--yes", "--no-install-recommends", ...missing]);
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

/** The version that really runs. */
export async function versionOf(client: Client): Promise<string> {
  switch (client.source) {
    case "npm":
      return (await npmVersion(client.versionOf)) ?? "missing";
    case "Node.js":
      return process.versions.node;
    case "PyPI": {
      const code = `from importlib.metadata import version; print(version("${client.versionOf}"))`;
      return (await run(PYTHON, ["-c", code])).stdout.trim();
    }
    case "Debian": {
      const { stdout } = await run(client.versionOf, ["--version"]);
      return /\d+(\.\d+)+/.exec(stdout)?.[0] ?? "unknown";
    }
  }
}
