// SPDX-License-Identifier: Apache-2.0
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { LineWriter, writeAll } from "./line-writer.ts";

describe("lines of the log", () => {
  it("are lost, and take bounded memory, while nobody reads; then it is said how many", async () => {
    const written: string[] = [];
    const held: (() => void)[] = [];
    const lost: number[] = [];
    const writer = new LineWriter(
      (text) => new Promise((resolve) => void (written.push(text), held.push(resolve))),
      (count) => void lost.push(count),
    );
    const line = `${"x".repeat(1023)}\n`;
    for (let i = 0; i < 5000; i++) writer.line(line);
    await writer.flush(1);
    expect(written).toHaveLength(1);
    while (held.length > 0) {
      held.shift()!();
      await writer.flush(1);
    }
    const out = written.join("").length / line.length;
    expect(out).toBe(1024);
    expect(lost).toEqual([5000 - out]);
    writer.line(line);
    expect(written.join("").length / line.length).toBe(out + 1);
  });

  it("go on after a failure of the reader", async () => {
    let calls = 0;
    const writer = new LineWriter(
      () => (++calls < 3 ? Promise.reject(new Error("EPIPE")) : Promise.resolve()),
      () => {},
    );
    for (let i = 0; i < 4; i++) {
      writer.line("line\n");
      await writer.flush(1000);
    }
    expect(calls).toBe(4);
  });

  it("come in their order and whole", async () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-lines-"));
    const file = openSync(join(folder, "log"), "a");
    const writer = new LineWriter(
      (text) => writeAll(file, text),
      () => {},
    );
    const lines = Array.from({ length: 2000 }, (_, i) => `line ${i}\n`);
    for (const [i, line] of lines.entries()) {
      writer.line(line);
      if (i % 100 === 0) await writer.flush(1000);
    }
    await writer.flush(1000);
    closeSync(file);
    expect(readFileSync(join(folder, "log"), "utf8")).toBe(lines.join(""));
    rmSync(folder, { recursive: true });
  });
});
