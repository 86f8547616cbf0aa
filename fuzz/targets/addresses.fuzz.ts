// SPDX-License-Identifier: Apache-2.0
/** Is no address dialled that the operating system would take for one of this machine, its network or its cloud? */
import { BlockList, isIP } from "node:net";
import { isPermitted } from "../../packages/server/src/gateway/dialer.ts";
import { demand, type FuzzTarget } from "../target.ts";

/** Node's own lists, filled from IANA's registries of special-purpose addresses (RFC 6890), most important first. */
const special = new BlockList();
for (const [net, bits] of Object.entries({
  "0.0.0.0": 8,
  "10.0.0.0": 8,
  "100.64.0.0": 10,
  "127.0.0.0": 8,
  "169.254.0.0": 16,
  "172.16.0.0": 12,
  "192.168.0.0": 16,
  "224.0.0.0": 4,
  "240.0.0.0": 4,
}))
  special.addSubnet(net, bits, "ipv4");
for (const [net, bits] of Object.entries({
  "::": 96,
  "fe80::": 10,
  "fc00::": 7,
  "ff00::": 8,
  "fec0::": 10,
  "2002::": 16,
  "100::": 64,
  "2001:db8::": 32,
}))
  special.addSubnet(net, bits, "ipv6");

const isSpecial = (address: string): boolean => {
  const family = isIP(address);
  // A mapped address is checked against the rules of IPv4 by Node itself.
  return family !== 0 && special.check(address.split("%", 1)[0]!, family === 4 ? "ipv4" : "ipv6");
};

function check(input: Buffer): void {
  const address = input.toString("latin1");
  const isDialled = isPermitted(address, []);
  demand(!isDialled || isIP(address) !== 0, "what is no address may be dialled");
  demand(!isDialled || !isSpecial(address), "a special-purpose address may be dialled");
  if (/^8\.(\d|[1-9]\d|1\d\d)\.(\d|[1-9]\d)\.(\d|[1-9]\d)$/.test(address))
    demand(isDialled, "an ordinary address may not");
}

const PARTS = [
  "127",
  "0",
  "10",
  "169.254.169.254",
  "::",
  ":",
  ".",
  "ffff",
  "::ffff:",
  "64:ff9b::",
  "2002:7f00:1::",
  "fe80::1",
  "%eth0",
  "0x7f",
  "0177",
  "1",
  "255",
  "2606:4700::1111",
  "a9fe",
  "8.8.8.8",
  "[",
  "]",
];

const target: FuzzTarget = {
  parsers: ["packages/server/src/gateway/dialer.ts", "packages/server/src/guard/special-purpose-address.ts"],
  property:
    "Only what Node takes for an address, and does not find in its own list of special-purpose networks, may be dialled.",
  words: PARTS,
  make: (choose) =>
    choose.once(2)
      ? choose.list(8, () => choose.pick(PARTS)).join("")
      : choose.once(2)
        ? Array.from({ length: 4 }, () =>
            choose.pick([0, 8, 10, 127, 169, 254, 192, 168, 255, choose.below(256)]),
          ).join(".")
        : Array.from({ length: 8 }, () =>
            choose.pick([0, 0xffff, 0xfe80, 0x64, 0xff9b, 0x7f00, 1, choose.below(65_536)]).toString(16),
          ).join(":"),
  check,
};
export default target;
