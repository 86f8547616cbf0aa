// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { parseBudgetUrl } from "./connection-settings.ts";

const parse = (url: string) => parseBudgetUrl(url, (path) => Buffer.from(`content of ${path}`));

describe("a budget URL", () => {
  test.each([
    ["http://h", "is not of the form"],
    ["redis:///0", "names no host"],
    ["rediss://u:hunter22@h/name", "names a database that is no number"],
    ["redis://u:hunter22@cache.example/0", "plain text beyond this machine"],
    ["redis://u:hunter22@10.0.0.1/0", "plain text beyond this machine"],
    ["redis://u:hunter22@127.0.0.1.example/0", "plain text beyond this machine"],
    ["redis://u:hunter22@h/0?tls=no", "has a `tls` that is not `off`"],
    ["rediss://u:hunter22@h/0?tls=off", "one of them is wrong"],
    ["redis://u:hunter22@h/0?tls=off&cacert=/ca.pem", "although redis:// is plain text"],
    ["rediss://u:hunter22@h/0?cert=/c.pem", "needs cert and key together"],
    ["rediss://u:hunter22@h/0?insecure=1", "an unknown parameter"],
    // The password is `12?hunter22`, with a question mark that nobody has encoded.
    ["rediss://u:12?hunter22@h/0", "an unknown parameter"],
    ["rediss://u:12#hunter22@h/0", "#"],
    ["rediss://u:%ff@h/0", "broken percent-encoding"],
    ["rediss://u:hunter22@h/\t0", "a blank or a control character"],
  ])("%s is refused without its password", (url, words) => {
    let refusal = "nothing";
    try {
      parse(url);
    } catch (error) {
      refusal = (error as Error).message;
    }
    expect(refusal).toContain(words);
    expect(refusal).not.toContain("hunter22");
  });

  test("with rediss means TLS with a checked name, by the operator's authority where there is one", () => {
    const { tls, shown, database, port } = parse("rediss://u:p%40ss@cache.example/7?cacert=/ca.pem");
    expect([shown, database, port]).toEqual(["cache.example:6379", 7, 6379]);
    expect(tls).toMatchObject({
      ...{ rejectUnauthorized: true, servername: "cache.example", minVersion: "TLSv1.2" },
      ca: Buffer.from("content of /ca.pem"),
    });
    expect(tls).not.toHaveProperty("checkServerIdentity");
    expect(parse("rediss://10.0.0.1").tls).not.toHaveProperty("servername");
  });

  test("is plain text on this machine, or where that is asked for", () => {
    for (const url of ["redis://localhost", "redis://127.0.0.9:7", "redis://[::1]", "redis://h?tls=off"])
      expect(parse(url).tls).toBeUndefined();
  });

  test("holds user and password decoded", () => {
    expect(parse("redis://u%3A:p%40%2F@localhost")).toMatchObject({ user: "u:", password: "p@/" });
    expect(parse("redis://:p@localhost")).toMatchObject({ user: undefined, password: "p" });
  });
});
