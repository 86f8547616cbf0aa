// SPDX-License-Identifier: Apache-2.0
/**
 * The one place that opens connections to upstreams: resolves, checks the address after DNS, verifies TLS.
 *
 * Nothing may be sent to a special-purpose address (loopback, private, link-local, metadata …) unless the
 * server workload lists its network. The check is made on the very address that is dialled.
 */
import { isIP } from "node:net";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import type { ProblemCode } from "@postern/contract";
import { type Result, ok, refuse } from "../kernel/result.ts";
import { addressProblem } from "../resources/networks.ts";
import { type Resolver, systemResolver } from "./resolve-host.ts";
import { type HandshakeIdentity, ofTheWeb } from "./upstream-identity.ts";

export interface Destination {
  readonly host: string;
  readonly port: number;
  readonly connectTo?: { readonly address: string; readonly port: number } | undefined;
  readonly allowedNetworks: readonly string[];
  readonly caCertificates?: string | undefined;
  readonly clientIdentity?: "svid" | undefined;
  readonly serverSpiffeId?: string | undefined;
}

export interface DialRefusal {
  readonly code: Extract<ProblemCode, "destination_prohibited" | "upstream_unreachable" | "upstream_timeout">;
  readonly detail: string;
}

/** What dialling needs from outside. */
export interface Dialling {
  readonly resolve: Resolver;
  /** For the name, the connection and TLS together, in milliseconds. */
  readonly patience: number;
}

const SYSTEM: Dialling = { resolve: systemResolver, patience: 10_000 };
const MOST_ATTEMPTS = 4;

/** An open TLS connection whose certificate names the host, or proves what `identity` asks for, or why not. */
export async function dial(
  destination: Destination,
  signal: AbortSignal,
  { resolve, patience }: Dialling = SYSTEM,
  identity: HandshakeIdentity = ofTheWeb(destination.host),
): Promise<Result<TLSSocket, DialRefusal>> {
  const end = performance.now() + patience;
  const addresses = await resolveAddresses(destination, signal, resolve, patience);
  if (!addresses.ok) return addresses;
  const permitted = addresses.value.filter((address) => isPermitted(address, destination.allowedNetworks));
  if (permitted.length === 0) {
    const detail = `${destination.host} is at a special-purpose address that its server workload does not allow`;
    return refuse({ code: "destination_prohibited", detail });
  }
  const tried = permitted.slice(0, MOST_ATTEMPTS);
  let last: Result<TLSSocket, DialRefusal> | undefined;
  for (const [index, address] of tried.entries()) {
    // One that does not answer leaves an equal part of the time to those after it.
    const part = Math.max(0, end - performance.now()) / (tried.length - index);
    // oxlint-disable-next-line no-await-in-loop
    last = await openTls(destination, address, signal, part, identity);
    if (last.ok || signal.aborted) return last;
  }
  return last!;
}

async function resolveAddresses(
  { host, connectTo }: Destination,
  signal: AbortSignal,
  resolve: Resolver,
  patience: number,
): Promise<Result<readonly string[], DialRefusal>> {
  if (connectTo !== undefined) return ok([connectTo.address]);
  if (isIP(host) !== 0) return ok([host]);
  try {
    const found = await inTime(resolve(host), signal, patience);
    if (found === undefined)
      return refuse({ code: "upstream_timeout", detail: `${host} was not resolved in time` });
    return found.length > 0
      ? ok(found)
      : refuse({ code: "upstream_unreachable", detail: `${host} has no address` });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown";
    return refuse({ code: "upstream_unreachable", detail: `cannot resolve ${host} (${code})` });
  }
}

/** Undefined where it takes longer than connecting may, or the agent has gone; the system resolver cannot be stopped. */
async function inTime<T>(answer: Promise<T>, signal: AbortSignal, patience: number): Promise<T | undefined> {
  const over = Promise.withResolvers<undefined>();
  const end = (): void => over.resolve(undefined);
  const timer = setTimeout(end, patience);
  if (signal.aborted) end();
  signal.addEventListener("abort", end, { once: true });
  try {
    return await Promise.race([answer, over.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
    answer.catch(() => {});
  }
}

/** Whether an address may be dialled: an ordinary public one, or in a network that was listed. */
export function isPermitted(address: string, allowedNetworks: readonly string[]): boolean {
  // A zone (RFC 4007 §11) belongs to addresses of one link, and two parsers end the address at different places.
  return (
    isIP(address) !== 0 && !address.includes("%") && addressProblem(address, allowedNetworks) === undefined
  );
}

const GONE = "the agent went away";

function openTls(
  destination: Destination,
  address: string,
  signal: AbortSignal,
  patience: number,
  identity: HandshakeIdentity,
): Promise<Result<TLSSocket, DialRefusal>> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(refuse({ code: "upstream_unreachable", detail: GONE }));
    const socket = tlsConnect({
      host: address,
      port: destination.connectTo?.port ?? destination.port,
      servername: destination.host,
      ALPNProtocols: ["http/1.1"],
      minVersion: "TLSv1.2",
      ...identity.options,
      ...(destination.caCertificates === undefined ? {} : { ca: destination.caCertificates }),
    });
    const fail = (code: DialRefusal["code"], detail: string): void => {
      settle();
      socket.destroy();
      resolve(refuse({ code, detail }));
    };
    const onError = (error: NodeJS.ErrnoException): void =>
      fail("upstream_unreachable", `cannot connect to ${destination.host}: ${error.code ?? "failed"}`);
    const onAbort = (): void => fail("upstream_unreachable", GONE);
    const timer = setTimeout(
      () => fail("upstream_timeout", `${destination.host} did not connect in time`),
      patience,
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
      const problem = identity.problemOf(socket);
      if (problem !== undefined) return fail("upstream_unreachable", problem);
      if (!isPermitted(socket.remoteAddress ?? "", destination.allowedNetworks))
        return fail("destination_prohibited", `${destination.host} connected to a prohibited address`);
      settle();
      socket.setNoDelay(true);
      resolve(ok(socket));
    });
  });
}
