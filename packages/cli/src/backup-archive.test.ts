// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { restoreInto } from "./backup-archive.ts";

const folder = mkdtempSync(join(tmpdir(), "postern-backup-"));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A header of POSIX.1-1988 ustar, the content, and zeros up to the next block. */
function entry(name: string, content: string): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write(`${content.length.toString(8).padStart(11, "0")}\0`, 124);
  header.fill(" ", 148, 156);
  header.write("0ustar\x0000", 156, "latin1");
  header.fill(0, 157, 257);
  header.write("ustar\x0000", 257, "latin1");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([header, Buffer.from(content), Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

describe("a file that is no backup", () => {
  it.each([
    ...["null", "[]", "1", '"x"', "{}", "{", '{"format":1}', '{"format":1,"files":null}'],
    ...[
      '{"format":1,"files":{"ca.pem":null}}',
      '{"format":1,"files":{"ca.pem":{"size":1}}}',
      '{"format":1,"files":[]}',
    ],
  ])("is refused in words, and leaves nothing behind: the manifest %s", async (manifest) => {
    const inside = mkdtempSync(`${folder}-`);
    try {
      const file = join(inside, "backup.tar");
      writeFileSync(
        file,
        Buffer.concat([entry("ca.pem", "x"), entry("manifest.json", manifest), Buffer.alloc(1024)]),
      );
      await expect(restoreInto(file, join(inside, "new"))).rejects.toThrow(
        "is not a whole backup of postern",
      );
      expect(readdirSync(inside)).toEqual(["backup.tar"]);
    } finally {
      rmSync(inside, { recursive: true });
    }
  });
});
