// SPDX-License-Identifier: Apache-2.0
import type { ConnectionOptions } from "node:tls";
import { describe, expect, test } from "vitest";
import { holdsPassword, parseDatabaseUrl } from "./connection-settings.ts";

const parse = (url: string) => parseDatabaseUrl(url, (path) => Buffer.from(`content of ${path}`));
const tls = (url: string) => parse(url).ssl as ConnectionOptions;

describe("a database URL", () => {
  test.each([
    ["mysql://u@h/d", "is not of the form"],
    ["postgres://u:hunter22@h", "names no host or no database"],
    ["postgres:///d", "names no host"],
    ["postgres://u@h/d/e", "names no host or no database"],
    ["postgres://u:hunter22@h/d?sslmode=prefer", "falls back to plain text"],
    ["postgres://u:hunter22@h/d?sslmode=allow", "falls back to plain text"],
    ["postgres://u:hunter22@h/d?sslmode=no-verify", "unknown sslmode"],
    ["postgres://u:hunter22@h/d?ssl=0", "an unknown parameter"],
    // The password is `12?hunter22`, with a question mark that nobody has encoded.
    ["postgres://u:12?hunter22@h/d", "an unknown parameter"],
    ["postgres://u:hunter22@h/d?sslmode=disable&sslrootcert=/ca.pem", "switches TLS off"],
    ["postgres://u:%ff@h/d", "broken percent-encoding"],
    ["postgres://u:hunter22@h/d?sslm\rode=disable", "a blank or a control character"],
  ])("%s is refused without its password", (url, words) => {
    const refusal = (() => {
      try {
        return parse(url).shown;
      } catch (error) {
        return (error as Error).message;
      }
    })();
    expect(refusal).toContain(words);
    expect(refusal).not.toContain("hunter22");
  });

  test("beyond this machine means TLS with a checked name unless it says otherwise", () => {
    for (const url of [
      "postgres://u@db.example/d",
      "postgres://u@10.0.0.1/d",
      "postgres://u@db.example/d?sslmode=require",
    ]) {
      const { rejectUnauthorized, checkServerIdentity } = tls(url);
      expect(rejectUnauthorized).toBe(true);
      const forOther = { subject: { CN: "localhost" }, subjectaltname: "DNS:localhost" };
      expect(checkServerIdentity!("localhost", forOther as never)).toBeInstanceOf(Error);
    }
    expect(parse("postgres://u@db.example/d?sslmode=disable").ssl).toBe(false);
  });

  test("on this machine means no TLS unless it says otherwise", () => {
    for (const host of ["localhost", "127.0.0.9", "[::1]"])
      expect(parse(`postgres://u@${host}/d`).ssl).toBe(false);
    expect(parse("postgres://u@x/d?host=/run/postgresql")).toMatchObject({
      ssl: false,
      host: "/run/postgresql",
    });
    expect(tls("postgres://u@localhost/d?sslmode=verify-full").rejectUnauthorized).toBe(true);
    expect(tls("postgres://u@localhost/d?sslrootcert=/ca.pem").ca?.toString()).toBe("content of /ca.pem");
  });

  test("verify-ca checks the chain and not the name", () => {
    const { rejectUnauthorized, checkServerIdentity, ca } = tls(
      "postgres://u@h.example/d?sslmode=verify-ca&sslrootcert=/ca.pem",
    );
    expect([rejectUnauthorized, String(ca)]).toEqual([true, "content of /ca.pem"]);
    expect(checkServerIdentity!("h.example", { subject: {} } as never)).toBeUndefined();
  });

  test("is decoded part by part, and shown without user and password", () => {
    const settings = parse("postgresql://us%40er:p%2Fw@h.example:6543/d%20b");
    expect(settings).toMatchObject({
      user: "us@er",
      password: "p/w",
      host: "h.example",
      port: 6543,
      database: "d b",
    });
    expect(settings.shown).toBe("d b at h.example:6543");
    expect([
      holdsPassword("postgres://u:p@h/d"),
      holdsPassword("postgres://u@h/d"),
      holdsPassword("env:X"),
    ]).toEqual([true, false, false]);
  });
});
