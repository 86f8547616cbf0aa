// SPDX-License-Identifier: Apache-2.0
/** Which addresses may an upstream have? Special-purpose ones only where a network is listed, metadata never by accident. */
import ipaddr from "ipaddr.js";

/** Where clouds hand out credentials to whoever asks from the machine. Fixed by the clouds' documentation. */
const METADATA_ADDRESSES = [
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

type Network = [ipaddr.IPv4 | ipaddr.IPv6, number];

/** Why `cidr` may not stand in `allowedNetworks`, or undefined. */
export function networkProblem(cidr: string): string | undefined {
  const network = ipaddr.parseCIDR(cidr);
  const [address, prefix] = network;
  // Addresses are compared after unwrapping, so a mapped network would never match.
  if (address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress())
    return "is an IPv4-mapped network; write it as IPv4";
  if (prefix === (address.kind() === "ipv4" ? 32 : 128)) return undefined;
  const metadata = METADATA_ADDRESSES.find((one) => contains(network, one));
  return metadata === undefined
    ? undefined
    : `holds the metadata address ${metadata.toString()}, where clouds hand out credentials; list narrower networks without it`;
}

/** Why one may not connect to `address`, or undefined. */
export function addressProblem(address: string, allowedNetworks: readonly string[]): string | undefined {
  const plain = ipaddr.process(address);
  const range = plain.range();
  const isMetadata = METADATA_ADDRESSES.some((one) => one.toString() === plain.toString());
  if (range === "unicast" && !isMetadata) return undefined;
  if (allowedNetworks.some((cidr) => contains(ipaddr.parseCIDR(cidr), plain))) return undefined;
  const exact = `${plain.toString()}/${plain.kind() === "ipv4" ? 32 : 128}`;
  return `${address} is a special-purpose address (${isMetadata ? "cloud metadata" : range}); if it is meant, add \`${exact}\` to allowedNetworks`;
}

function contains([base, prefix]: Network, address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  return base.kind() === address.kind() && address.match([base, prefix] as [ipaddr.IPv6, number]);
}
