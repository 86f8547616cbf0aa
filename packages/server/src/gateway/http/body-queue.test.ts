// SPDX-License-Identifier: Apache-2.0
import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BodyQueue } from "./body-queue.ts";

const idle = { resume: () => {}, abandon: () => {} };

describe("a body that is read more slowly than it comes", () => {
  it("keeps nothing of what was read, however long it goes on", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const kept = async (): Promise<number> => {
      collect();
      // Memory outside of the heap is given back a little later.
      await setImmediate();
      collect();
      return process.memoryUsage().arrayBuffers;
    };
    const queue = new BodyQueue(idle);
    const reader = queue[Symbol.asyncIterator]();
    queue.push(Buffer.alloc(16_384));
    const before = await kept();
    for (let i = 0; i < 2000; i++) {
      queue.push(Buffer.alloc(16_384));
      // oxlint-disable-next-line no-await-in-loop -- one goes out for each that comes in, and one always waits
      await reader.next();
    }
    expect((await kept()) - before).toBeLessThan(1024 * 1024);
  });

  it("comes whole and in order, whatever waits", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 200 }), async (steps) => {
        const queue = new BodyQueue(idle);
        const reader = queue[Symbol.asyncIterator]();
        const read: number[] = [];
        let pushed = 0;
        for (const isPush of steps) {
          if (isPush) queue.push(Buffer.from([pushed++ % 256]));
          // oxlint-disable-next-line no-await-in-loop -- what is read depends on what came before
          else if (read.length < pushed) read.push((await reader.next()).value![0]!);
        }
        queue.end();
        for await (const piece of { [Symbol.asyncIterator]: () => reader }) read.push(piece[0]!);
        expect(read).toEqual(Array.from({ length: pushed }, (_, index) => index % 256));
      }),
    );
  });

  it("asks for a pause at 64 KiB, and goes on below it", async () => {
    let resumed = 0;
    const queue = new BodyQueue({ ...idle, resume: () => resumed++ });
    expect(queue.push(Buffer.alloc(65_535))).toBe(true);
    expect(queue.push(Buffer.alloc(1))).toBe(false);
    await queue[Symbol.asyncIterator]().next();
    expect(resumed).toBe(1);
  });
});
