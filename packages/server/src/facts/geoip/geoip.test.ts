// SPDX-License-Identifier: Apache-2.0
import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outsideData } from "@postern/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GeoipFile } from "./geoip-file.ts";
import { MmdbReader } from "./mmdb-reader.ts";

const folder = outsideData("geoip", "https://github.com/maxmind/MaxMind-DB, folder test-data");
const file = (name: string): string => join(folder ?? "", name);

describe.skipIf(folder === undefined)("MaxMind's test databases", () => {
  it.each([
    ["81.2.69.142", { country: "GB", continent: "EU" }],
    ["::ffff:81.2.69.142", { country: "GB", continent: "EU" }],
    ["2.125.160.216", { country: "GB", continent: "EU" }],
    ["67.43.156.1", { country: "BT", continent: "AS" }],
    ["2001:218::1", { country: "JP", continent: "AS" }],
    ["216.160.83.56", { country: "US", continent: "NA" }],
  ])("say where %s is", (address, expected) => {
    for (const name of ["GeoIP2-Country-Test.mmdb", "GeoIP2-City-Test.mmdb"])
      expect(new GeoipFile(file(name), []).locate(address)).toEqual(expected);
  });

  it.each(["127.0.0.1", "::1", "8.8.8.8", "fe80::1", "nowhere", "", "81.2.69", "0x51.2.69.142"])(
    "know nothing of %j",
    (address) => {
      expect(new GeoipFile(file("GeoIP2-Country-Test.mmdb"), []).locate(address)).toBeUndefined();
    },
  );

  it("of other kinds have no countries", () => {
    expect(new GeoipFile(file("GeoLite2-ASN-Test.mmdb"), []).locate("1.128.0.0")).toEqual({});
  });

  it("that are broken anywhere give an answer or an error, and end", () => {
    const whole = readFileSync(file("GeoIP2-Country-Test.mmdb"));
    const change = fc.tuple(fc.nat(whole.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 40 }), fc.nat(whole.length), (changes, cut) => {
        const bytes = Buffer.from(cut % 4 === 0 ? whole.subarray(0, cut) : whole);
        for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
        try {
          const reader = new MmdbReader(bytes);
          for (const address of ["81.2.69.142", "2001:218::1", "255.255.255.255"]) reader.get(address);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("are read anew when they change, and unknown while they are missing or broken", async () => {
    const scratch = mkdtempSync(join(tmpdir(), "postern-geoip-"));
    const path = join(scratch, "geoip.mmdb");
    const next = (place: string): void => {
      copyFileSync(place, `${path}.new`);
      renameSync(`${path}.new`, path);
    };
    next(file("GeoIP2-Country-Test.mmdb"));
    const source = new GeoipFile(path, []);
    let told = 0;
    source.watch({ changed: () => void told++ });
    try {
      expect(source.locate("81.2.69.142")?.country).toBe("GB");
      rmSync(path);
      await expect.poll(() => source.locate("81.2.69.142"), { timeout: 10_000 }).toBeUndefined();
      expect(source.problem).toMatchObject({ code: "ENOENT" });
      next(file("GeoIP2-City-Test.mmdb"));
      await expect.poll(() => source.locate("81.2.69.142")?.country, { timeout: 10_000 }).toBe("GB");
      expect(source.problem).toBeUndefined();
      truncateSync(path, 5000);
      await expect.poll(() => source.locate("81.2.69.142"), { timeout: 10_000 }).toBeUndefined();
      expect(told).toBeGreaterThanOrEqual(3);
    } finally {
      source.close();
      rmSync(scratch, { recursive: true });
    }
  });
});

it("a file that is none is said so, and nothing is known", () => {
  const scratch = mkdtempSync(join(tmpdir(), "postern-geoip-"));
  writeFileSync(join(scratch, "x"), "no database");
  const source = new GeoipFile(join(scratch, "x"), []);
  expect(source.problem?.message).toBe("it is no file of MaxMind's format");
  expect(source.locate("81.2.69.142")).toBeUndefined();
  rmSync(scratch, { recursive: true });
});
