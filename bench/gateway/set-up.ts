// SPDX-License-Identifier: Apache-2.0
/** Resources of the benchmark. */
import type { Postern } from "@postern/testkit";
import { PORTS } from "./nginx.ts";

/** What an operator would have said: one agent that may call both upstreams. */
export async function setUp(postern: Postern, caCertificate: string, eventPort: number): Promise<void> {
  await postern.setSecret("openai-key", "sk-proj-benchmark-0123456789abcdef");
  const documents = [
    { kind: "TrustProvider", metadata: { name: "local" }, spec: { kind: "process" } },
    {
      kind: "Agent",
      metadata: { name: "bench" },
      spec: { trustProvider: "local", selectors: ["process:agent=bench"] },
    },
    {
      kind: "ServerWorkload",
      metadata: { name: "openai" },
      spec: {
        profile: "openai",
        connectTo: { address: "127.0.0.1", port: PORTS.upstream },
        allowedNetworks: ["127.0.0.0/8"],
        caCertificates: caCertificate,
      },
    },
    {
      kind: "ServerWorkload",
      metadata: { name: "events" },
      spec: {
        profile: "openai",
        hosts: ["events.example"],
        connectTo: { address: "127.0.0.1", port: eventPort },
        allowedNetworks: ["127.0.0.0/8"],
        caCertificates: caCertificate,
      },
    },
    {
      kind: "CredentialProvider",
      metadata: { name: "openai-key" },
      spec: { kind: "vault", secret: "openai-key", serverWorkloads: ["openai", "events"] },
    },
    {
      kind: "AccessPolicy",
      metadata: { name: "bench" },
      spec: {
        agents: ["bench"],
        serverWorkload: "openai",
        credentialProvider: "openai-key",
        allow: { models: ["gpt-4o-mini"], operations: ["chat.completions"] },
      },
    },
    {
      kind: "AccessPolicy",
      metadata: { name: "events" },
      spec: {
        agents: ["bench"],
        serverWorkload: "events",
        credentialProvider: "openai-key",
        allow: { models: ["gpt-4o-mini"], operations: ["chat.completions", "responses"] },
      },
    },
  ];
  await postern.apply(documents.map((document) => JSON.stringify(document)).join("\n---\n"));
}
