// SPDX-License-Identifier: Apache-2.0
/** Which addresses may an upstream have? Special-purpose ones only where a network is listed, metadata never by accident. */
import ipaddr from "ipaddr.js";
import {
  contains,
  METADATA_ADDRESSES,
  parseAddress,
  specialPurpose,
} from "../guard/special-purpose-address.ts";

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

/** Why one may not connect to `address`, or undefined. The same question is asked again of every address that is dialled. */
export function addressProblem(address: string, allowedNetworks: readonly string[]): string | undefined {
  const plain = parseAddress(address);
  if (plain === undefined) return `${address} is no plain IP address`;
  const purpose = specialPurpose(plain);
  if (purpose === undefined) return undefined;
  if (allowedNetworks.some((cidr) => contains(ipaddr.parseCIDR(cidr), plain))) return undefined;
  const exact = `${plain.toString()}/${plain.kind() === "ipv4" ? 32 : 128}`;
  return `${address} is a special-purpose address (${purpose}); if it is meant, add \`${exact}\` to allowedNetworks`;
}
