// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { RuntimeFacts } from "../../policy/conditions/facts.ts";
import { runtimeOf } from "./runtime-of.ts";

const folders: string[] = [];
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

/** A process 7 as the kernel would show it. */
function shown(files: Record<string, string>): RuntimeFacts {
  const folder = mkdtempSync(join(tmpdir(), "postern-runtime-"));
  folders.push(folder);
  for (const who of ["7", "self"])
    for (const name of ["net", "pid", "mnt", "user", "ipc", "uts"]) {
      mkdirSync(join(folder, "proc", who, "ns"), { recursive: true });
      symlinkSync(`${name}:[${name === "net" ? who : 1}]`, join(folder, "proc", who, "ns", name));
    }
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder, name.startsWith("cg/") ? name : `proc/7/${name}`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  return runtimeOf(7, undefined, { proc: join(folder, "proc"), cgroups: join(folder, "cg") });
}

const STATUS = [
  "Name:\tnode",
  "CapInh:\t0000000000000000",
  "CapPrm:\t0000000000000400",
  "CapEff:\t0000000000000000",
  "CapBnd:\t000001ffffffffff",
  "CapAmb:\t0000000000000000",
  "NoNewPrivs:\t1",
  "Seccomp:\t2",
  "",
];
const status = (...changed: string[]): string =>
  STATUS.map((line) => changed.find((other) => other.split(":")[0] === line.split(":")[0]) ?? line).join(
    "\n",
  );

describe("what the kernel shows of a process", () => {
  it("is read: what it could take up counts as what it has, what bounds it does not", () => {
    expect(shown({ status: status() })).toEqual({
      capabilities: ["CAP_NET_BIND_SERVICE"],
      noNewPrivileges: true,
      seccomp: true,
      sharedNamespaces: ["pid", "mount", "user", "ipc", "uts"],
    });
    expect(shown({ status: status("CapAmb:\t8000000000000001") }).capabilities).toEqual([
      ...["CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_63"],
    ]);
    expect(shown({ status: status("Seccomp:\t0", "NoNewPrivs:\t0") })).toMatchObject({
      noNewPrivileges: false,
      seccomp: false,
    });
  });

  it("is not what the process writes into its name", () => {
    const name = "Name:\tx\\nSeccomp:\t2\rNoNewPrivs:\t1\rCapPrm:\t0000000000000000";
    const seen = shown({ status: status(name, "Seccomp:\t0", "NoNewPrivs:\t0") });
    expect(seen).toMatchObject({ seccomp: false, noNewPrivileges: false });
    expect(seen.capabilities).toEqual(["CAP_NET_BIND_SERVICE"]);
  });

  it("is absent where it is not told", () => {
    expect(shown({})).toEqual({ sharedNamespaces: ["pid", "mount", "user", "ipc", "uts"] });
    expect(runtimeOf(7, undefined, { proc: "/nowhere", cgroups: "/nowhere" })).toEqual({});
    expect(shown({ status: status("CapEff:\t1") }).capabilities).toBeUndefined();
  });

  it.each([
    ["36 35 8:1 / / ro,relatime - ext4 /dev/sda ro\n", true],
    ["36 35 8:1 / / ro,relatime shared:1 master:2 - ext4 /dev/sda rw\n", true],
    ["36 35 8:1 / / rw,relatime - ext4 /dev/sda ro,errors=remount-ro\n", true],
    ["36 35 8:1 / / rw,relatime - ext4 /dev/sda rw\n", false],
    ["36 35 8:1 / / ro - ext4 /dev/sda ro\n37 36 0:5 / / rw - tmpfs none rw\n", false],
    ["36 35 8:1 / /ro rw - ext4 /dev/ro rw\n37 36 0:5 / / rw - tmpfs ro rw\n", false],
    ["36 35 8:1 / /proc ro - proc proc ro\n", undefined],
  ])("of its root: %j", (mountinfo, readOnlyRoot) => {
    expect(shown({ mountinfo }).readOnlyRoot).toBe(readOnlyRoot);
  });

  it.each<[string, Record<string, string>, Partial<RuntimeFacts>]>([
    [
      "the least on the way up",
      {
        cgroup: "0::/a/b\n",
        "cg/a/b/memory.max": "max\n",
        "cg/a/memory.max": "1000\n",
        "cg/a/b/pids.max": "5\n",
      },
      { maxMemoryBytes: 1000, maxProcesses: 5 },
    ],
    [
      "none",
      { cgroup: "0::/a\n", "cg/a/memory.max": "max\n" },
      { maxMemoryBytes: Infinity, maxProcesses: Infinity },
    ],
    [
      "of version 1",
      {
        cgroup: "4:cpu,memory:/m\n3:pids:/p\n0::/\n",
        "cg/memory/m/memory.limit_in_bytes": "2000\n",
        "cg/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "cg/pids/p/pids.max": "max\n",
      },
      { maxMemoryBytes: 2000, maxProcesses: Infinity },
    ],
  ])("of its control groups: %s", (_name, files, seen) => {
    expect(shown(files)).toMatchObject(seen);
  });

  it.each([
    ["a group that this server does not see", { cgroup: "0::/../x\n", "cg/memory.max": "5" }],
    ["a group that is not there", { cgroup: "0::/x\n", "cg/y/memory.max": "5" }],
    ["a limit that is no number", { cgroup: "0::/x\n", "cg/x/memory.max": "five" }],
    ["no group", { cgroup: "1:name=systemd:/x\n" }],
  ])("has no limit where there is %s", (_name, files) => {
    expect(shown(files as unknown as Record<string, string>).maxMemoryBytes).toBeUndefined();
  });

  it("of a real process changes with it", async () => {
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
    try {
      await new Promise((resolve) => child.once("spawn", resolve));
      expect(runtimeOf(child.pid!)).toMatchObject({ noNewPrivileges: false });
      expect(runtimeOf(child.pid!).sharedNamespaces).toContain("network");
    } finally {
      child.kill();
    }
  });
});
