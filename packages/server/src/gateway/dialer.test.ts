// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { dial, isPermitted } from "./dialer.ts";

describe("address guard", () => {
  it.each([
    ...["127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"],
    ...[
      "0.0.0.0",
      "224.0.0.1",
      "255.255.255.255",
      "192.0.2.1",
      "198.18.0.1",
      "::",
      "::1",
      "fe80::1",
      "fd00:ec2::254",
    ],
    ...[
      "::ffff:127.0.0.1",
      "::ffff:169.254.169.254",
      "64:ff9b::a9fe:a9fe",
      "2002:7f00:1::",
      "2001::1",
      "ff02::1",
    ],
    ...["not an address", "", "127.0.0.1:80", "2130706433x"],
  ])("refuses %s", (address) => {
    expect(isPermitted(address, [])).toBe(false);
  });

  it.each(["8.8.8.8", "1.1.1.1", "2606:4700::1111"])("permits %s", (address) => {
    expect(isPermitted(address, [])).toBe(true);
  });

  it("permits a listed network and nothing beside it", () => {
    expect(isPermitted("127.0.0.1", ["127.0.0.0/8"])).toBe(true);
    expect(isPermitted("::ffff:127.0.0.1", ["127.0.0.0/8"])).toBe(true);
    expect(isPermitted("10.0.0.1", ["127.0.0.0/8", "fd00::/8"])).toBe(false);
  });

  it.each(["127.0.0.1", "0x7f.1", "2130706433", "localhost"])(
    "does not dial %s, however it is written",
    async (host) => {
      const result = await dial({ host, port: 1, allowedNetworks: [] }, new AbortController().signal);
      expect(result).toMatchObject({ ok: false });
      if (!result.ok)
        expect(["destination_prohibited", "upstream_unreachable"]).toContain(result.reason.code);
    },
  );
});
