// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseCgroup, parseStat, readCredentials, readStat, tcpRows } from "./proc.ts";

describe("a process that chooses its own name", () => {
  it.runIf(process.platform === "linux")("is not believed by what the kernel really prints", async () => {
    const rename = `require("node:fs").writeFileSync("/proc/self/comm", "\\rUid:\\t77\\t77"); console.log("named")`;
    const child = spawn(process.execPath, ["-e", `${rename}; setInterval(() => {}, 1000)`]);
    try {
      await once(child.stdout, "data");
      expect(readCredentials(child.pid!)).toEqual({ uid: process.geteuid!(), gid: process.getegid!() });
    } finally {
      child.kill();
    }
  });

  it.each(["a) R 1 (b", ") Z 1 1", "\n1 (x) R 1", ")"])("keeps its parent and start time: %j", (name) => {
    const stat = `77 (${name}) S 12 77 77 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 9999 1 2\n`;
    expect(parseStat(stat)).toEqual({ parent: 12, startTime: 9999n, session: 77 });
  });
});

describe("the user of a process", () => {
  const isRoot = process.platform === "linux" && process.geteuid!() === 0;
  const prctl = process.arch === "arm64" ? 167 : 157;

  it.runIf(isRoot).each([
    ["where it hides its memory", `syscall(${prctl}, 4, 0, 0, 0, 0);`, { uid: 65_534, gid: 65_533 }],
    ["where it is another one than started it", "$) = 65533; $> = 65534;", {}],
  ])("is the effective one, also %s", async (_, code, account) => {
    const child = spawn("perl", ["-e", `${code} $| = 1; print "ready\\n"; sleep 60;`], account);
    try {
      await once(child.stdout, "data");
      // Its files belong to root then: the folder alone says whose it is.
      expect(statSync(`/proc/${child.pid!}/environ`).uid).toBe(0);
      expect(readCredentials(child.pid!)).toEqual({ uid: 65_534, gid: 65_533 });
    } finally {
      child.kill();
    }
  });
});

describe("a name that is no text", () => {
  it.runIf(process.platform === "linux").each([
    ["the beginning of a character at its end", [0xe2, 0x82]],
    ["a bracket and the beginning of a character", [0x29, 0xf0]],
    ["a byte that begins nothing", [0xff]],
  ])("hides neither the user, nor the parent, with %s", async (_, bytes) => {
    const rename = `require("node:fs").writeFileSync("/proc/self/comm", Buffer.from([${bytes.join()}])); console.log("named")`;
    const child = spawn(process.execPath, ["-e", `${rename}; setInterval(() => {}, 1000)`]);
    try {
      await once(child.stdout, "data");
      expect(readCredentials(child.pid!)).toEqual({ uid: process.geteuid!(), gid: process.getegid!() });
      expect(readStat(child.pid!)?.parent).toBe(process.pid);
    } finally {
      child.kill();
    }
  });
});

describe("a control group that was named to deceive", () => {
  it.each(["/a\r0::/forged", "/a\u20280::/forged", "/a:0::/forged", "/0::/x"])(
    "stays one path: %j",
    (path) => {
      expect(parseCgroup(`0::${path}\n`)).toBe(path);
      expect(parseCgroup(`12:cpuset:${path}\n1:name=systemd:/real\n0::/unified\n`)).toBe("/unified");
      expect(parseCgroup(`12:cpuset:${path}\n1:name=systemd:/real\n`)).toBe("/real");
    },
  );
});

describe("tables of sockets", () => {
  it("give no row for lines that are none", () => {
    expect([...tcpRows("header\n\n  0: 0100007F:0050\nx\n")]).toEqual([]);
    expect([...tcpRows("")]).toEqual([]);
  });
});
