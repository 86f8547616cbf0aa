// SPDX-License-Identifier: Apache-2.0
/**
 * Which addresses are no ordinary public ones, and what are they for?
 *
 * After the registries of IANA: "IPv4 Special-Purpose Address Space", "IPv6 Special-Purpose Address Space" (RFC 6890,
 * RFC 8190), "IPv4 Multicast Address Space" and "IPv6 Address Space". IPv6 is the other way round: what is
 * not in 2000::/3 was never given out as global unicast and is refused without being named.
 */
import ipaddr from "ipaddr.js";

export type Address = ipaddr.IPv4 | ipaddr.IPv6;
export type Network = readonly [base: Address, bits: number];

/** Also what the registries call globally reachable in here is anycast or AS 112: no API is there. */
const SPECIAL_IPV4 = networks([
  ["0.0.0.0/8", "this network"], // RFC 791 §3.2
  ["10.0.0.0/8", "private"], // RFC 1918
  ["100.64.0.0/10", "shared by carriers"], // RFC 6598
  ["127.0.0.0/8", "loopback"], // RFC 1122 §3.2.1.3
  ["169.254.0.0/16", "link-local"], // RFC 3927
  ["172.16.0.0/12", "private"], // RFC 1918
  ["192.0.0.0/24", "protocol assignments"], // RFC 6890 §2.1; RFC 7335, 7600, 7723, 8155, 7050 in it
  ["192.0.2.0/24", "documentation"], // RFC 5737
  ["192.31.196.0/24", "AS112"], // RFC 7535
  ["192.52.193.0/24", "multicast tunnels"], // RFC 7450
  ["192.88.99.0/24", "6to4 relays"], // RFC 7526; RFC 6751 in it
  ["192.168.0.0/16", "private"], // RFC 1918
  ["192.175.48.0/24", "AS112"], // RFC 7534
  ["198.18.0.0/15", "benchmarks"], // RFC 2544
  ["198.51.100.0/24", "documentation"], // RFC 5737
  ["203.0.113.0/24", "documentation"], // RFC 5737
  ["224.0.0.0/4", "multicast"], // RFC 5771
  ["255.255.255.255/32", "broadcast"], // RFC 8190, RFC 919 §7
  ["240.0.0.0/4", "reserved"], // RFC 1112 §4
]);

const SPECIAL_IPV6 = networks([
  ["::/128", "unspecified"], // RFC 4291 §2.5.2
  ["::1/128", "loopback"], // RFC 4291 §2.5.3
  ["::/96", "IPv4-compatible"], // RFC 4291 §2.5.5.1
  ["::ffff:0:0:0/96", "IPv4-translated"], // RFC 2765 §2.1
  ["64:ff9b::/96", "NAT64"], // RFC 6052 §2.1
  ["64:ff9b:1::/48", "local NAT64"], // RFC 8215
  ["100::/64", "discard"], // RFC 6666
  ["100:0:0:1::/64", "dummy"], // RFC 9780
  ["2001::/32", "Teredo"], // RFC 4380
  ["2001::/23", "protocol assignments"], // RFC 2928; RFC 5180, 7343, 7450, 7535, 7723, 8155, 9374, 9665 in it
  ["2001:db8::/32", "documentation"], // RFC 3849
  ["2002::/16", "6to4"], // RFC 3056
  ["2620:4f:8000::/48", "AS112"], // RFC 7534
  ["3ffe::/16", "6bone"], // RFC 3701
  ["3fff::/20", "documentation"], // RFC 9637
  ["5f00::/16", "segment routing"], // RFC 9602
  ["fc00::/7", "unique local"], // RFC 4193
  ["fe80::/10", "link-local"], // RFC 4291 §2.5.6
  ["fec0::/10", "site-local"], // RFC 3879
  ["ff00::/8", "multicast"], // RFC 4291 §2.7
]);

/** RFC 4291 §2.4, and "IPv6 Global Unicast Address Space" of IANA. */
const GLOBAL_UNICAST = ipaddr.parseCIDR("2000::/3") as Network;
const NAT64 = ipaddr.parseCIDR("64:ff9b::/96") as Network;

/** Where clouds hand out credentials to whoever asks from the machine. Fixed by the clouds' documentation. */
export const METADATA_ADDRESSES: readonly Address[] = [
  "169.254.169.254", // AWS, Azure, Google Cloud, Oracle, DigitalOcean …
  "169.254.170.2", // AWS ECS task credentials
  "169.254.170.23", // AWS EKS pod identity
  "100.100.100.200", // Alibaba Cloud
  "192.0.0.192", // Oracle Cloud, classic
  "168.63.129.16", // Azure wire server; looks public
  "fd00:ec2::254", // AWS
  "fd00:ec2::23", // AWS EKS pod identity
  "fd20:ce::254", // Google Cloud
  "fe80::a9fe:a9fe", // OpenStack
  "64:ff9b::a9fe:a9fe", // 169.254.169.254 through NAT64 (RFC 6052)
  "2002:a9fe:a9fe::", // 169.254.169.254 through 6to4 (RFC 3056)
].map((text) => ipaddr.parse(text));

/**
 * An address as the system takes it, IPv4-mapped ones unwrapped (RFC 4291 §2.5.5.2); undefined for everything
 * else, short and octal spellings included.
 */
export function parseAddress(text: string): Address | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text);
  // To the library it is an IPv4-mapped one; to the system it is not (RFC 4291 §2.5.5.1).
  const [, compatible] = /^::(\d+\.\d+\.\d+\.\d+)$/.exec(text) ?? [];
  if (compatible !== undefined && ipaddr.IPv4.isValidFourPartDecimal(compatible))
    return new ipaddr.IPv6([...Array.from({ length: 12 }, () => 0), ...ipaddr.IPv4.parse(compatible).octets]);
  return text.includes(":") && ipaddr.IPv6.isValid(text) ? ipaddr.process(text) : undefined;
}

/** What an address is for that is no ordinary public one; undefined for those that are. */
export function specialPurpose(address: Address): string | undefined {
  if (METADATA_ADDRESSES.some((one) => isSame(one, address))) return "cloud metadata";
  if (address instanceof ipaddr.IPv4) return SPECIAL_IPV4.find(([net]) => contains(net, address))?.[1];
  // Such an address is a way to an IPv4 address, and counts as that (RFC 6052 §3.1).
  if (contains(NAT64, address)) {
    const purpose = specialPurpose(new ipaddr.IPv4(address.toByteArray().slice(12)));
    return purpose === undefined ? undefined : `NAT64, ${purpose}`;
  }
  if (isIsatap(address)) return "ISATAP";
  const special = SPECIAL_IPV6.find(([net]) => contains(net, address));
  if (special !== undefined) return special[1];
  // A zone says on which link: nothing public needs one (RFC 4007 §6).
  if (address.toString().includes("%")) return "scoped";
  return contains(GLOBAL_UNICAST, address) ? undefined : "reserved";
}

/** Whether an address is in a network; an IPv4 address is never in an IPv6 network. */
export function contains([base, bits]: Network, address: Address): boolean {
  return base.kind() === address.kind() && address.match([base, bits] as [ipaddr.IPv6, number]);
}

/** The last 64 bits are 0:5EFE or 200:5EFE and an IPv4 address, to which packets would go (RFC 5214 §6.1). */
function isIsatap({ parts }: ipaddr.IPv6): boolean {
  return (parts[4]! & 0xfdff) === 0 && parts[5] === 0x5efe;
}

const isSame = (one: Address, other: Address): boolean =>
  one.kind() === other.kind() && Buffer.from(one.toByteArray()).equals(Buffer.from(other.toByteArray()));

function networks(rows: readonly (readonly [cidr: string, purpose: string])[]): [Network, string][] {
  return rows.map(([cidr, purpose]) => [ipaddr.parseCIDR(cidr), purpose]);
}
