// SPDX-License-Identifier: Apache-2.0
/** A server that lets remote agents in, with agents that come by join token. */
import type { IssuedIdentity } from "@postern/contract";
import { type Postern, type StandIns, startPostern } from "@postern/testkit";
import { GatewayClient, gatewayPort } from "./gateway-client.ts";

const agentYaml = (name: string, trustDomain: string) => `
kind: Agent
metadata: { name: ${name} }
spec: { trustProvider: by-hand, selectors: [join-token:name=${name}], spiffeId: spiffe://${trustDomain}/agents/${name} }
---`;

export interface Place {
  readonly postern: Postern;
  readonly client: GatewayClient;
  identityOf(name: string, want?: object): Promise<IssuedIdentity>;
  /** What the log has of the decision with this id. */
  decisionOf(id: string): Promise<Record<string, unknown>>;
}

export interface PlaceOptions {
  readonly standIns: StandIns;
  readonly agents: readonly string[];
  readonly trustDomain?: string;
  readonly args?: readonly string[];
}

export async function startPlace(options: PlaceOptions): Promise<Place> {
  const { agents, args = [], standIns, trustDomain = "corp" } = options;
  const flags = ["--trust-domain", trustDomain, "--gateway-listen", "127.0.0.1:0", ...args];
  const postern = await startPostern({ args: flags });
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  const resources = standIns.resources({ agents: [...agents] }).split(/^---\n/m);
  const others = resources.filter((text) => !text.startsWith("kind: Agent\n")).join("---\n");
  await postern.apply(
    `${others}---\nkind: TrustProvider\nmetadata: { name: by-hand }\nspec: { kind: join-token }\n---${agents
      .map((name) => agentYaml(name, trustDomain))
      .join("")}`,
  );
  const port = await gatewayPort(postern);
  const evidence = async (name: string) =>
    (await postern.postern(["join", "token", name, "--provider", "by-hand"])).stdout.trim();
  const { authorities } = await new GatewayClient(port).identityFor("by-hand", await evidence(agents[0]!));
  const client = new GatewayClient(port, authorities);
  return {
    ...{ postern, client },
    identityOf: async (name, want) => client.identityFor("by-hand", await evidence(name), want),
    decisionOf: async (id) => {
      const { stdout } = await postern.postern(["why", id, "--json"]);
      return (JSON.parse(stdout) as { decision: { unmapped: Record<string, unknown> } }).decision.unmapped;
    },
  };
}
