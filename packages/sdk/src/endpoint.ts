// SPDX-License-Identifier: Apache-2.0
/** Where is the Workload API? (SPIFFE Workload Endpoint §4) */
import { isIPv4, isIPv6 } from "node:net";
import { SpiffeError } from "./spiffe-error.ts";

export type Endpoint =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/** A path without an authority in front, without query and fragment. */
const UNIX = /^unix:(?:\/\/(?=\/)|(?!\/\/))(\/[^?#]*)$/;
/** An address and a port, and nothing else: no name that somebody else may answer for. */
const TCP = /^tcp:\/\/(?:([0-9.]+)|\[([0-9a-fA-F:.]+)\]):([0-9]{1,5})$/;

/** `given`, else `SPIFFE_ENDPOINT_SOCKET`. */
export function findEndpoint(given?: string): Endpoint {
  const text = given ?? process.env["SPIFFE_ENDPOINT_SOCKET"];
  if (text === undefined || text === "")
    throw new SpiffeError("endpoint_invalid", "no Workload API is named: set SPIFFE_ENDPOINT_SOCKET");
  return parseEndpoint(text);
}

export function parseEndpoint(text: string): Endpoint {
  const path = UNIX.exec(text)?.[1];
  if (path !== undefined) return { kind: "unix", path: decodePath(path) };
  const [, v4, v6, digits] = TCP.exec(text) ?? [];
  const host = v4 ?? v6;
  const port = Number(digits);
  if (host !== undefined && (isIPv4(host) || isIPv6(host)) && port > 0 && port < 65_536)
    return { kind: "tcp", host, port };
  throw new SpiffeError(
    "endpoint_invalid",
    "a Workload API endpoint is unix:///absolute/path or tcp://IP:PORT, without anything else",
  );
}

function decodePath(path: string): string {
  try {
    const decoded = decodeURIComponent(path);
    if (!decoded.includes("\0") && decoded !== "/") return decoded;
  } catch {
    // Falls through: not percent-encoding.
  }
  throw new SpiffeError("endpoint_invalid", "the path of the Workload API endpoint is no path");
}
