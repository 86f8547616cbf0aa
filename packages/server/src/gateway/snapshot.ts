// SPDX-License-Identifier: Apache-2.0
/** Compiles the published state into what the gateway reads on each request. */
import type { ResourceOf } from "@postern/contract";
import { CompiledBudgets } from "../budget/compile-budgets.ts";
import type { CompiledPolicies } from "../policy/compile.ts";
import { decide } from "../policy/decide.ts";
import { approvalRulesOf } from "../policy/approval-rules.ts";
import type { Profile } from "../profiles/profile.ts";
import type { ResourceSet } from "../resources/resource-set.ts";
import type { GatewayAgent, GatewayWorkload, Snapshot } from "./ports.ts";

export interface SnapshotSource {
  readonly epoch: number;
  readonly resources: ResourceSet;
  readonly policies: CompiledPolicies;
  readonly cut: ReadonlySet<string>;
}

/** `previous` lends the workloads that have not changed, so that their idle connections go on. */
export function buildSnapshot(
  source: SnapshotSource,
  profiles: ReadonlyMap<string, Profile>,
  previous?: Snapshot,
): Snapshot {
  const serverWorkloads = new Map<string, GatewayWorkload>();
  const byAuthority = new Map<string, GatewayWorkload>();
  for (const resource of source.resources.all("ServerWorkload")) {
    const workload = unchanged(previous, gatewayWorkload(resource, profiles));
    serverWorkloads.set(workload.name, workload);
    for (const host of workload.hosts) byAuthority.set(`${host}:${workload.port}`, workload);
  }
  const agents = new Map(
    source.resources
      .all("Agent")
      .map((resource) => [resource.metadata.name, gatewayAgent(resource, source.cut)]),
  );
  return {
    epoch: source.epoch,
    agents,
    serverWorkloads,
    byAuthority,
    policyDigest: source.policies.digest,
    approvalRules: approvalRulesOf(source.resources),
    ...budgetsOf(source.resources),
    decide: (request) => decide(source.policies, request),
    ...(source.policies.dryRunSliceOf === undefined
      ? {}
      : {
          dryRunConditionsOf: (agent: string, workload: string) =>
            source.policies.dryRunSliceOf?.(agent, workload)?.conditions,
        }),
    conditionsOf: (agent, workload) => source.policies.sliceOf(agent, workload)?.conditions ?? [],
  };
}

/** Where there are none, a request costs nothing more. */
function budgetsOf(resources: ResourceSet): { readonly budgets?: CompiledBudgets } {
  const budgets = resources.all("Budget");
  return budgets.length === 0
    ? {}
    : { budgets: new CompiledBudgets(budgets, resources.all("Agent"), resources.all("PriceList")) };
}

function gatewayAgent({ metadata, spec }: ResourceOf<"Agent">, cut: ReadonlySet<string>): GatewayAgent {
  return {
    name: metadata.name,
    isCut: cut.has(metadata.name),
    ...(spec.expiresAt === undefined ? {} : { expiresAt: Date.parse(spec.expiresAt) }),
  };
}

function gatewayWorkload(
  { metadata, spec }: ResourceOf<"ServerWorkload">,
  profiles: ReadonlyMap<string, Profile>,
): GatewayWorkload {
  const profile = profiles.get(spec.profile);
  if (profile === undefined) throw new Error(`ServerWorkload ${metadata.name} has an unknown profile`);
  const own = (spec.operations ?? []).map((operation) => ({
    ...operation,
    ...(operation.path.includes("{model}") ? { model: { path: "model" } } : {}),
  }));
  return {
    name: metadata.name,
    profile,
    hosts: spec.hosts ?? profile.hosts,
    port: spec.port,
    injections:
      spec.injection === undefined
        ? profile.injections
        : [
            {
              injection: spec.injection,
              append: {},
              whenPathStartsWith: undefined,
              whenSecretStartsWith: undefined,
            },
          ],
    operations: [...own, ...profile.operations],
    allowedNetworks: spec.allowedNetworks ?? [],
    ...(spec.connectTo === undefined ? {} : { connectTo: spec.connectTo }),
    ...(spec.caCertificates === undefined ? {} : { caCertificates: spec.caCertificates }),
    ...(spec.clientIdentity === undefined ? {} : { clientIdentity: spec.clientIdentity }),
    ...(spec.serverSpiffeId === undefined ? {} : { serverSpiffeId: spec.serverSpiffeId }),
  };
}

function unchanged(previous: Snapshot | undefined, workload: GatewayWorkload): GatewayWorkload {
  const known = previous?.serverWorkloads.get(workload.name);
  return known !== undefined && JSON.stringify(known) === JSON.stringify(workload) ? known : workload;
}
