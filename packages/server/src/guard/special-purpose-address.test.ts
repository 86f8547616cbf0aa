// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import ipaddr from "ipaddr.js";
import { describe, expect, it } from "vitest";
import { parseAddress, specialPurpose } from "./special-purpose-address.ts";

/** IANA, "IPv4 Special-Purpose Address Space" and "IPv4 Multicast Address Space": every row. */
const IPV4_REGISTRY = [
  ["0.0.0.0/8", "RFC 791 §3.2"],
  ["0.0.0.0/32", "RFC 1122 §3.2.1.3"],
  ["10.0.0.0/8", "RFC 1918"],
  ["100.64.0.0/10", "RFC 6598"],
  ["127.0.0.0/8", "RFC 1122 §3.2.1.3"],
  ["169.254.0.0/16", "RFC 3927"],
  ["172.16.0.0/12", "RFC 1918"],
  ["192.0.0.0/24", "RFC 6890 §2.1"],
  ["192.0.0.0/29", "RFC 7335"],
  ["192.0.0.8/32", "RFC 7600"],
  ["192.0.0.9/32", "RFC 7723"],
  ["192.0.0.10/32", "RFC 8155"],
  ["192.0.0.170/32", "RFC 8880, RFC 7050 §2.2"],
  ["192.0.0.171/32", "RFC 8880, RFC 7050 §2.2"],
  ["192.0.2.0/24", "RFC 5737"],
  ["192.31.196.0/24", "RFC 7535"],
  ["192.52.193.0/24", "RFC 7450"],
  ["192.88.99.0/24", "RFC 7526"],
  ["192.88.99.2/32", "RFC 6751"],
  ["192.168.0.0/16", "RFC 1918"],
  ["192.175.48.0/24", "RFC 7534"],
  ["198.18.0.0/15", "RFC 2544"],
  ["198.51.100.0/24", "RFC 5737"],
  ["203.0.113.0/24", "RFC 5737"],
  ["224.0.0.0/4", "RFC 5771"],
  ["240.0.0.0/4", "RFC 1112 §4"],
  ["255.255.255.255/32", "RFC 8190"],
] as const;

/** IANA, "IPv6 Special-Purpose Address Space", and what "IPv6 Address Space" has beside 2000::/3: every row. */
const IPV6_REGISTRY = [
  ["::1/128", "RFC 4291"],
  ["::/128", "RFC 4291"],
  ["::/96", "RFC 4291 §2.5.5.1, IPv4-compatible"],
  ["::/8", "RFC 4291, reserved"],
  ["64:ff9b:1::/48", "RFC 8215"],
  ["100::/64", "RFC 6666"],
  ["100:0:0:1::/64", "RFC 9780"],
  ["100::/8", "RFC 4291, reserved"],
  ["200::/7", "RFC 4048, reserved"],
  ["400::/6", "RFC 4291, reserved"],
  ["800::/5", "RFC 4291, reserved"],
  ["1000::/4", "RFC 4291, reserved"],
  ["2001::/23", "RFC 2928"],
  ["2001::/32", "RFC 4380"],
  ["2001:1::1/128", "RFC 7723"],
  ["2001:1::2/128", "RFC 8155"],
  ["2001:1::3/128", "RFC 9665"],
  ["2001:2::/48", "RFC 5180"],
  ["2001:3::/32", "RFC 7450"],
  ["2001:4:112::/48", "RFC 7535"],
  ["2001:10::/28", "RFC 4843"],
  ["2001:20::/28", "RFC 7343"],
  ["2001:30::/28", "RFC 9374"],
  ["2001:db8::/32", "RFC 3849"],
  ["2002::/16", "RFC 3056"],
  ["2620:4f:8000::/48", "RFC 7534"],
  ["3ffe::/16", "RFC 3701"],
  ["3fff::/20", "RFC 9637"],
  ["4000::/3", "RFC 4291, reserved"],
  ["5f00::/16", "RFC 9602"],
  ["6000::/3", "RFC 4291, reserved"],
  ["8000::/3", "RFC 4291, reserved"],
  ["a000::/3", "RFC 4291, reserved"],
  ["c000::/3", "RFC 4291, reserved"],
  ["e000::/4", "RFC 4291, reserved"],
  ["f000::/5", "RFC 4291, reserved"],
  ["f800::/6", "RFC 4291, reserved"],
  ["fc00::/7", "RFC 4193"],
  ["fe00::/9", "RFC 4291, reserved"],
  ["fe80::/10", "RFC 4291"],
  ["fec0::/10", "RFC 3879"],
  ["ff00::/8", "RFC 4291"],
] as const;

const purposeOf = (text: string): string | undefined => {
  const address = parseAddress(text);
  return address === undefined ? "no address" : specialPurpose(address);
};

/** First, last and some addresses between. */
function insideOf(cidr: string): string[] {
  const [base, bits] = ipaddr.parseCIDR(cidr);
  const first = base.toByteArray();
  const mixed = (tail: number): string =>
    ipaddr
      .fromByteArray(
        first.map((byte, index) => {
          const fixed = Math.min(8, Math.max(0, bits - index * 8));
          return byte | (tail & (0xff >> fixed));
        }),
      )
      .toString();
  return [mixed(0), mixed(0xff), mixed(0x5a), mixed(1)];
}

describe("every row of the registries is special", () => {
  it.each([...IPV4_REGISTRY, ...IPV6_REGISTRY])("%s (%s)", (cidr) => {
    for (const address of insideOf(cidr)) expect([address, purposeOf(address)]).not.toContain(undefined);
  });

  it("no address outside of 2000::/3 is ordinary, except NAT64 of an ordinary IPv4 address", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        fc.pre(bytes[0]! >> 5 !== 1);
        const address = ipaddr.fromByteArray([...bytes]).toString();
        if (address.startsWith("64:ff9b::")) return;
        expect(purposeOf(address)).toBeDefined();
      }),
      { numRuns: 2000 },
    );
  });
});

describe("an IPv4 address inside of an IPv6 address", () => {
  /** Every way in which 32 bits travel in 128, with a private address in it. */
  const embedding = (a: number, b: number): string[] => {
    const [hi, lo] = [a.toString(16), b.toString(16)];
    const inverted = `${(a ^ 0xffff).toString(16)}:${(b ^ 0xffff).toString(16)}`;
    return [
      `::ffff:${hi}:${lo}`, // mapped, RFC 4291 §2.5.5.2
      `::${hi}:${lo}`, // compatible, RFC 4291 §2.5.5.1
      `::ffff:0:${hi}:${lo}`, // translated, RFC 2765
      `64:ff9b::${hi}:${lo}`, // NAT64, RFC 6052
      `64:ff9b:1::${hi}:${lo}`, // local NAT64, RFC 8215
      `64:ff9b:1:${hi}:0:${lo}::`,
      `2002:${hi}:${lo}::1`, // 6to4, RFC 3056
      `2001:0:${hi}:${lo}::`, // Teredo server, RFC 4380
      `2001:0:4136:e378:8000:63bf:${inverted}`, // Teredo client
      `2606:4700::5efe:${hi}:${lo}`, // ISATAP, RFC 5214
      `2606:4700::200:5efe:${hi}:${lo}`,
      `fe80::5efe:${hi}:${lo}`,
    ];
  };

  it.each([
    ["127.0.0.1", 0x7f00, 1],
    ["10.0.0.1", 0x0a00, 1],
    ["169.254.169.254", 0xa9fe, 0xa9fe],
    ["192.168.1.1", 0xc0a8, 0x0101],
    ["100.64.0.1", 0x6440, 1],
    ["0.0.0.0", 0, 0],
    ["168.63.129.16", 0xa83f, 0x8110],
  ])("%s is special in all of them", (_name, a, b) => {
    for (const address of embedding(a, b)) expect([address, purposeOf(address)]).not.toContain(undefined);
  });

  it.each(["::ffff:8.8.8.8", "::FFFF:808:808", "64:ff9b::8.8.8.8", "64:ff9b::808:808"])(
    "that is public makes %s ordinary",
    (address) => {
      expect(purposeOf(address)).toBeUndefined();
    },
  );
});

describe("what is no plain address", () => {
  it.each([
    ...["", "0x7f.1", "127.1", "2130706433", "0177.0.0.1", "8.8.2056", "08.8.8.8", "8.8.8.8.", "8.8.8.8 "],
    ...["[::1]", "1::2::3", "::1%", "８.8.8.8", "%38.8.8.8", "8.8.8.8:53", "8.8.8.8/32", "example.com"],
  ])("is none: %j", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  it.each(["::8.8.8.8", "::808:808", "::1.1.1.1"])(
    "is IPv4-compatible in either spelling, and not mapped: %s",
    (text) => {
      expect(purposeOf(text)).toBe("IPv4-compatible");
    },
  );

  it("has a zone, which nothing public needs", () => {
    expect(purposeOf("fe80::1%eth0")).toBe("link-local");
    expect(purposeOf("2606:4700::1111%eth0")).toBe("scoped");
  });
});

describe("ordinary are", () => {
  it.each([
    ...["8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "128.0.0.0"],
    ...["169.253.255.255", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0"],
    ...["192.88.98.255", "198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.17"],
    ...["2606:4700::1111", "2001:4860:4860::8888", "2001:200::1", "2a00:1450::", "2001:db7:ffff::"],
    ...["2001:db9::", "2003::1", "2620:4f:7fff::1", "2620:4f:8001::", "2606:4700::1:5efe:7f00:1"],
  ])("%s", (address) => {
    expect(purposeOf(address)).toBeUndefined();
  });
});
