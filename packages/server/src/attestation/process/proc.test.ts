// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { parseCgroup, parseCredentials, parseStat, readCredentials, tcpRows } from "./proc.ts";

const status = (name: string): string =>
  `Name:\t${name}\nUmask:\t0022\nState:\tR (running)\nUid:\t1000\t1001\t1002\t1003\nGid:\t2000\t2001\t2002\t2003\n`;

describe("a process that chooses its own name", () => {
  it.each(["\rUid:\t0\t0", "\rGid:\t0\t0", "\u2028Uid:\t0\t0\t0", "Uid:\t0\t0\t0", "\\nUid:\t0\t0"])(
    "is not believed to be another user: %j",
    (name) => {
      expect(parseCredentials(status(name))).toEqual({ uid: 1001, gid: 2001 });
    },
  );

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
