// SPDX-License-Identifier: Apache-2.0
/**
 * What does an operator write so that Postern sends the providers' real host names to the stand-ins?
 *
 * `connectTo` changes the address only: TLS still verifies the real host name, here against the test
 * authority, so that unmodified SDKs and an unmodified gateway meet offline.
 */
import { ANTHROPIC_MODELS } from "./stand-in/anthropic.ts";
import { GEMINI_MODELS } from "./stand-in/gemini.ts";
import { hostileModel, MISBEHAVIOURS } from "./stand-in/misbehaviour.ts";
import { OPENAI_MODELS } from "./stand-in/openai.ts";
import type { StandIn } from "./stand-in/tls-stand-in.ts";

export interface ResourceOptions {
  /** Agents by name; each matches a process of the present user that `postern run --agent NAME` started. */
  readonly agents?: readonly string[];
  /** Replaces the models that each policy allows; the hostile ones and the usual ones where absent. */
  readonly models?: Readonly<Record<string, readonly string[]>>;
}

/** Left out of every policy on purpose: what an agent asks for to be refused. */
export const FORBIDDEN_MODELS = {
  openai: "gpt-5",
  anthropic: "claude-opus-5-5",
  gemini: "gemini-2.5-pro",
} as const;

const MODELS: Readonly<Record<string, readonly string[]>> = {
  openai: OPENAI_MODELS,
  anthropic: ANTHROPIC_MODELS,
  gemini: GEMINI_MODELS,
};

export function standInResources(
  caCertificate: string,
  standIns: readonly StandIn[],
  options: ResourceOptions = {},
): string {
  const agents = options.agents ?? ["demo-agent"];
  return [
    "kind: TrustProvider\nmetadata: { name: local }\nspec: { kind: process }\n",
    ...agents.map(agentYaml),
    ...standIns.flatMap((standIn) => [
      serverWorkloadYaml(standIn, caCertificate),
      credentialProviderYaml(standIn),
      accessPolicyYaml(standIn, agents, options.models?.[standIn.name]),
    ]),
  ].join("---\n");
}

const agentYaml = (name: string) => `\
kind: Agent
metadata: { name: ${name} }
spec:
  trustProvider: local
  selectors: ["process:uid=${process.getuid?.() ?? 0}", "process:agent=${name}"]
  purpose: calls the stand-ins
`;

const serverWorkloadYaml = (standIn: StandIn, caCertificate: string) => `\
kind: ServerWorkload
metadata: { name: ${standIn.name} }
spec:
  profile: ${standIn.name === "git" ? "http" : standIn.name}
  hosts: ${JSON.stringify(standIn.hosts)}
${standIn.name === "git" ? "  injection: { kind: basic, username: x-access-token }\n" : ""}\
  connectTo: { address: 127.0.0.1, port: ${standIn.port} }
  allowedNetworks: [127.0.0.0/8]
  caCertificates: |
${indent(caCertificate)}
`;

const credentialProviderYaml = ({ name }: StandIn) => `\
kind: CredentialProvider
metadata: { name: ${name}-credential }
spec: { kind: vault, secret: ${secretNameOf(name)}, serverWorkloads: [${name}] }
`;

function accessPolicyYaml(
  { name }: StandIn,
  agents: readonly string[],
  models: readonly string[] | undefined,
): string {
  return `\
kind: AccessPolicy
metadata: { name: agents-may-use-${name} }
spec:
  agents: ${JSON.stringify(agents)}
  serverWorkload: ${name}
  credentialProvider: ${name}-credential
  allow: ${JSON.stringify(name === "git" ? { everything: true } : { models: models ?? allowedModels(name) })}
`;
}

function allowedModels(name: string): string[] {
  const forbidden: readonly string[] = Object.values(FORBIDDEN_MODELS);
  const usual = (MODELS[name] ?? []).filter((model) => !forbidden.includes(model));
  return [...usual, ...MISBEHAVIOURS.map(hostileModel)];
}

const secretNameOf = (standIn: string) => (standIn === "git" ? "git-password" : `${standIn}-key`);

const indent = (text: string) =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => "    " + line)
    .join("\n");
