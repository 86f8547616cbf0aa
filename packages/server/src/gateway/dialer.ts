// SPDX-License-Identifier: Apache-2.0
/**
 * The one place that opens connections to upstreams: resolves, checks the address after DNS, verifies TLS.
 *
 * Nothing may be sent to a special-purpose address (loopback, private, link-local, metadata …) unless the
 * server workload lists its network. The check is made on the very address that is dialled.
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import ipaddr from "ipaddr.js";
import type { ProblemCode } from "@postern/contract";
import { type Result, ok, refuse } from "../kernel/result.ts";

export interface Destination {
  readonly host: string;
  readonly port: number;
  readonly connectTo?: { readonly address: string; readonly port: number } | undefined;
  readonly allowedNetworks: readonly string[];
  readonly caCertificates?: string | undefined;
}

export interface DialRefusal {
  readonly code: Extract<ProblemCode, "destination_prohibited" | "upstream_unreachable" | "upstream_timeout">;
  readonly detail: string;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** An open TLS connection whose certificate names the host, or why not. */
export async function dial(
  destination: Destination,
  signal: AbortSignal,
): Promise<Result<TLSSocket, DialRefusal>> {
  const addresses = await resolveAddresses(destination, signal);
  if (!addresses.ok) return addresses;
  const permitted = addresses.value.filter((address) => isPermitted(address, destination.allowedNetworks));
  if (permitted.length === 0) {
    const detail = `${destination.host} is at a special-purpose address that its server workload does not allow`;
    return refuse({ code: "destination_prohibited", detail });
  }
  let last: Result<TLSSocket, DialRefusal> | undefined;
  for (const address of permitted.slice(0, 4)) {
    last = await openTls(destination, address, signal);
    if (last.ok || signal.aborted) return last;
  }
  return last!;
}

async function resolveAddresses(
  destination: Destination,
  signal: AbortSignal,
): Promise<Result<string[], DialRefusal>> {
  if (destination.connectTo !== undefined) return ok([destination.connectTo.address]);
  if (isIP(destination.host) !== 0) return ok([destination.host]);
  try {
    const found = await inTime(lookup(destination.host, { all: true, order: "verbatim" }), signal);
    if (found !== undefined) return ok(found.map(({ address }) => address));
    return refuse({ code: "upstream_timeout", detail: `${destination.host} was not resolved in time` });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown";
    return refuse({ code: "upstream_unreachable", detail: `cannot resolve ${destination.host} (${code})` });
  }
}

/** Undefined where it takes longer than connecting may, or the agent has gone; the system resolver cannot be stopped. */
async function inTime<T>(answer: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  const over = Promise.withResolvers<undefined>();
  const end = (): void => over.resolve(undefined);
  const timer = setTimeout(end, CONNECT_TIMEOUT_MS);
  signal.addEventListener("abort", end, { once: true });
  try {
    return await Promise.race([answer, over.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
    answer.catch(() => {});
  }
}

/** Whether an address may be dialled: ordinary unicast, or in a network that was listed. */
export function isPermitted(address: string, allowedNetworks: readonly string[]): boolean {
  if (!ipaddr.isValid(address)) return false;
  // process() unwraps IPv4-mapped IPv6, so that ::ffff:127.0.0.1 is what it is.
  const parsed = ipaddr.process(address);
  if (parsed.range() === "unicast") return true;
  return allowedNetworks.some((network) => {
    const [base, bits] = ipaddr.parseCIDR(network);
    return base.kind() === parsed.kind() && parsed.match(base, bits);
  });
}

function openTls(
  destination: Destination,
  address: string,
  signal: AbortSignal,
): Promise<Result<TLSSocket, DialRefusal>> {
  return new Promise((resolve) => {
    const socket = tlsConnect({
      host: address,
      port: destination.connectTo?.port ?? destination.port,
      servername: destination.host,
      ALPNProtocols: ["http/1.1"],
      minVersion: "TLSv1.2",
      rejectUnauthorized: true,
      ...(destination.caCertificates === undefined ? {} : { ca: destination.caCertificates }),
    });
    const fail = (code: DialRefusal["code"], detail: string): void => {
      settle();
      socket.destroy();
      resolve(refuse({ code, detail }));
    };
    const onError = (error: NodeJS.ErrnoException): void =>
      fail("upstream_unreachable", `cannot connect to ${destination.host}: ${error.code ?? "failed"}`);
    const onAbort = (): void => fail("upstream_unreachable", "the agent went away");
    const timer = setTimeout(
      () => fail("upstream_timeout", `${destination.host} did not connect in ${CONNECT_TIMEOUT_MS} ms`),
      CONNECT_TIMEOUT_MS,
    );
    const settle = (): void => {
      clearTimeout(timer);
      socket.off("error", onError);
      signal.removeEventListener("abort", onAbort);
      socket.on("error", () => {}); // later errors reach the request through the client
    };
    socket.once("error", onError);
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("secureConnect", () => {
      if (!socket.authorized)
        return fail("upstream_unreachable", `${destination.host} failed TLS verification`);
      if (!isPermitted(socket.remoteAddress ?? "", destination.allowedNetworks))
        return fail("destination_prohibited", `${destination.host} connected to a prohibited address`);
      settle();
      socket.setNoDelay(true);
      resolve(ok(socket));
    });
  });
}
