// SPDX-License-Identifier: Apache-2.0
/** Lets remote agents in, where that is wanted: listener, own certificate, and the endpoint that gives identities. */
import { isIP } from "node:net";
import type { Config } from "../../config/config.ts";
import type { Gateway } from "../../gateway/gateway.ts";
import type { Log } from "../../kernel/log.ts";
import type { AttestDesk } from "../attest-desk.ts";
import type { IdentityDesk } from "../identity-desk.ts";
import type { OwnSvid } from "../own-svid.ts";
import { attestEndpoint } from "./attest-endpoint.ts";
import { GatewayListener } from "./gateway-listener.ts";
import { RateLimit } from "./rate-limit.ts";

export interface RemoteAgentsParts {
  readonly config: Pick<Config, "gatewayListen" | "gatewayNames">;
  readonly identity: IdentityDesk | undefined;
  readonly own: OwnSvid | undefined;
  readonly gateway: Gateway;
  readonly attestDesk: AttestDesk;
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
  const { attestDesk, config, gateway, identity, log, own } = parts;
  const { gatewayListen: where } = config;
  if (where === undefined) return undefined;
  if (identity === undefined || own === undefined)
    throw new Error("--gateway-listen needs --trust-domain NAME: remote agents come in with its identities");
  const names = namesOf(config);
  const rate = new RateLimit({ ...ATTEST_RATE, now: () => performance.now() });
  const endpoint = attestEndpoint({
    attest: (request, peer) => attestDesk.attestRemote(request, peer),
    log,
    rate,
  });
  const listener = await GatewayListener.open(
    where,
    { gateway, log, names, judge: () => identity.judge(), own: endpoint },
    await own.own(),
  );
  own.onChange((certificate) => listener.setCertificate(certificate));
  identity.issuer.onChange(() => listener.recheck());
  return {
    address: listener.address,
    get connections() {
      return listener.connections;
    },
    recheck: () => listener.recheck(),
    close: () => listener.close(),
  };
}

/** What operators say that it is called, and what its address says by itself. */
function namesOf({ gatewayListen, gatewayNames }: RemoteAgentsParts["config"]): readonly string[] {
  const host = gatewayListen?.host;
  if (host === undefined || host === "0.0.0.0" || host === "::") return gatewayNames;
  const isLoopback = host === "::1" || host.startsWith("127.");
  const own = isIP(host) === 6 ? `[${host}]` : host;
  return [...gatewayNames, own, ...(isLoopback ? ["localhost"] : [])];
}

/** Host names and addresses for the gateway's certificate. */
export const hostsOf = (config: RemoteAgentsParts["config"]): readonly string[] => [
  ...new Set(namesOf(config).map(withoutPort)),
];

const withoutPort = (name: string): string => name.replace(/:\d+$/, "").replaceAll(/^\[|\]$/g, "");
