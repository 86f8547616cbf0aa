// SPDX-License-Identifier: Apache-2.0
/** Lets remote agents in, where that is wanted: listener, own certificate, and the endpoint that gives identities. */
import { isIP } from "node:net";
import type { Config } from "../../config/config.ts";
import type { Gateway } from "../../gateway/gateway.ts";
import type { Clock } from "../../kernel/clock.ts";
import type { Log } from "../../kernel/log.ts";
import type { AttestDesk } from "../attest-desk.ts";
import type { IdentityDesk } from "../identity-desk.ts";
import { OwnSvid } from "../own-svid.ts";
import { attestEndpoint } from "./attest-endpoint.ts";
import { GatewayListener } from "./gateway-listener.ts";
import { RateLimit } from "./rate-limit.ts";

export interface RemoteAgentsParts {
  readonly config: Pick<Config, "gatewayListen" | "gatewayNames">;
  readonly identity: IdentityDesk | undefined;
  readonly gateway: Gateway;
  readonly attestDesk: AttestDesk;
  readonly clock: Clock;
  readonly log: Log;
}

export interface RemoteAgents {
  readonly address: string;
  readonly connections: number;
  /** Agents were changed. */
  recheck(): void;
  close(): void;
}

/** A burst for the jobs of one pipeline behind one address; five each second after that. */
const ATTEST_RATE = { burst: 50, perSecond: 5, mostCallers: 10_000 };

export async function openRemoteAgents(parts: RemoteAgentsParts): Promise<RemoteAgents | undefined> {
  const { attestDesk, clock, config, gateway, identity, log } = parts;
  const { gatewayListen: where, gatewayNames } = config;
  if (where === undefined) return undefined;
  if (identity === undefined)
    throw new Error("--gateway-listen needs --trust-domain NAME: remote agents come in with its identities");
  const names = [...gatewayNames, ...namesOf(where.host)];
  const { issuer, record } = identity;
  const hosts = [...new Set(names.map(withoutPort))];
  const own = await OwnSvid.open({ issuer, hosts, clock, log, record });
  const rate = new RateLimit({ ...ATTEST_RATE, now: () => performance.now() });
  const endpoint = attestEndpoint({
    attest: (request, peer) => attestDesk.attestRemote(request, peer),
    log,
    rate,
  });
  const listener = await GatewayListener.open(
    where,
    { gateway, log, names, judge: () => identity.judge(), own: endpoint },
    own.current,
  );
  own.onChange((certificate) => listener.setCertificate(certificate));
  issuer.onChange(() => listener.recheck());
  return {
    address: listener.address,
    get connections() {
      return listener.connections;
    },
    recheck: () => listener.recheck(),
    close: () => {
      own.close();
      listener.close();
    },
  };
}

/** What a listener at this address is called without anybody saying so. */
function namesOf(host: string): string[] {
  if (host === "0.0.0.0" || host === "::") return [];
  const isLoopback = host === "::1" || host.startsWith("127.");
  return [isIP(host) === 6 ? `[${host}]` : host, ...(isLoopback ? ["localhost"] : [])];
}

const withoutPort = (name: string): string => name.replace(/:\d+$/, "").replaceAll(/^\[|\]$/g, "");
