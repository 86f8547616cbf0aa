// SPDX-License-Identifier: Apache-2.0
/**
 * Is a set of resources consistent and safe as a whole?
 *
 * Asked before anything is applied or deleted: references lead somewhere, and no combination lets a credential go
 * where nobody meant it to. Every problem has a place and says what to do.
 */
import type { Place, Resource, ResourceKind, ResourceOf } from "@postern/contract";
import { nearestName } from "../kernel/nearest-name.ts";
import { checkApproval, sharedIdentities } from "./check-approvals.ts";
import { budgetReferences, checkBudget, checkPriceLists, priceListReferences } from "./check-budget.ts";
import { checkSelectors, checkTrustProvider } from "./check-attestation.ts";
import { checkFederation } from "./check-federation.ts";
import { checkPostureSources } from "./check-posture-sources.ts";
import { checkSpiffeIds } from "./check-spiffe-ids.ts";
import { checkServerWorkload } from "./check-server-workload.ts";
import { offeredOperations, type ProfileFacts } from "./profile-facts.ts";
import { type Finding, type PlaceOf, type ResourcePath, pathText } from "./places.ts";
import type { ResourceRef, ResourceSet } from "./resource-set.ts";

export interface CheckContext {
  readonly profiles: ReadonlyMap<string, ProfileFacts>;
  /** Names of the secrets that are set; not checked where absent. */
  readonly secretNames?: ReadonlySet<string>;
  /** Of this server; absent where it issues no identities. */
  readonly trustDomain?: string | undefined;
}

/** Everything against the set `next`; empty where it may be applied. */
export function checkResources(next: ResourceSet, context: CheckContext, placeOf: PlaceOf): Place[] {
  const findings = [
    ...danglingReferences(next, context),
    ...next.all("ServerWorkload").flatMap((workload) => checkServerWorkload(workload, context)),
    ...sharedHosts(next, context.profiles),
    ...next.all("TrustProvider").flatMap((provider) => checkTrustProvider(provider, context.trustDomain)),
    ...checkFederation(next, context.trustDomain),
    ...checkPostureSources(next),
    ...next.all("Agent").flatMap((agent) => checkSelectors(agent, next)),
    ...sameSelectors(next),
    ...sharedIdentities(next),
    ...checkSpiffeIds(next, context.trustDomain),
    ...next.all("AccessPolicy").flatMap((policy) => checkPolicy(policy, next, context.profiles)),
    ...next.all("AccessPolicy").flatMap((policy) => checkApproval(policy, next, context.profiles)),
    ...next.all("Budget").flatMap((budget) => checkBudget(budget, next)),
    ...checkPriceLists(next),
  ];
  return findings.map(({ resource, path, message }) => ({ ...placeOf(resource, path), message }));
}

export interface DeletionProblem extends ResourceRef {
  readonly message: string;
}

/** What is still referred to by something that stays. Empty where all of `refs` may be deleted together. */
export function checkDeletion(current: ResourceSet, refs: readonly ResourceRef[]): DeletionProblem[] {
  const next = current.with({ remove: refs });
  return refs.flatMap(({ kind, name }) => {
    if (current.get(kind, name) === undefined) {
      const hint = didYouMean(name, namesOf(current, kind), "see `postern get`");
      return [{ kind, name, message: `no ${kind} \`${name}\`; ${hint}` }];
    }
    const referrers = [...next].flatMap((resource) =>
      referencesOf(resource)
        .filter((reference) => reference.kind === kind && reference.name === name)
        .map(({ path }) => `${resource.kind} \`${resource.metadata.name}\` (${pathText(path)})`),
    );
    if (referrers.length === 0) return [];
    const message = `${kind} \`${name}\` is still referred to by ${referrers.join(", ")}; change or delete that first`;
    return [{ kind, name, message }];
  });
}

interface Reference extends ResourceRef {
  readonly path: ResourcePath;
}

function referencesOf(resource: Resource): Reference[] {
  switch (resource.kind) {
    case "TrustProvider":
      return resource.spec.kind === "spiffe" && resource.spec.federatedTrustDomain !== undefined
        ? [
            {
              kind: "FederatedTrustDomain",
              name: resource.spec.federatedTrustDomain,
              path: ["spec", "federatedTrustDomain"],
            },
          ]
        : [];
    case "FederatedTrustDomain":
    case "ServerWorkload":
    case "AccessCondition":
    case "Approver":
    case "PostureSource":
      return [];
    case "Agent":
      return [
        { kind: "TrustProvider", name: resource.spec.trustProvider, path: ["spec", "trustProvider"] },
        ...(resource.spec.federatesWith ?? []).map(
          (name, index) =>
            ({ kind: "FederatedTrustDomain", name, path: ["spec", "federatesWith", index] }) as const,
        ),
      ];
    case "CredentialProvider":
      return resource.spec.serverWorkloads.map((name, index) => ({
        kind: "ServerWorkload",
        name,
        path: ["spec", "serverWorkloads", index],
      }));
    case "PriceList":
      return priceListReferences(resource);
    case "Budget":
      return budgetReferences(resource);
    case "AccessPolicy": {
      const { agents, approval, serverWorkload, credentialProvider, conditions = [] } = resource.spec;
      return [
        ...agents.map((name, index) => ({ kind: "Agent", name, path: ["spec", "agents", index] }) as const),
        { kind: "ServerWorkload", name: serverWorkload, path: ["spec", "serverWorkload"] },
        ...(credentialProvider === undefined
          ? []
          : [
              {
                kind: "CredentialProvider",
                name: credentialProvider,
                path: ["spec", "credentialProvider"],
              } as const,
            ]),
        ...conditions.map(
          (name, index) => ({ kind: "AccessCondition", name, path: ["spec", "conditions", index] }) as const,
        ),
        ...(approval?.unless ?? []).map(
          (name, index) =>
            ({ kind: "AccessCondition", name, path: ["spec", "approval", "unless", index] }) as const,
        ),
        ...(approval?.approvers ?? []).map(
          (name, index) =>
            ({ kind: "Approver", name, path: ["spec", "approval", "approvers", index] }) as const,
        ),
      ];
    }
  }
}

function danglingReferences(next: ResourceSet, { secretNames }: CheckContext): Finding[] {
  const findings: Finding[] = [];
  for (const resource of next) {
    for (const { kind, name, path } of referencesOf(resource)) {
      if (next.get(kind, name) !== undefined) continue;
      const hint = didYouMean(name, namesOf(next, kind), "apply it first, or in the same call");
      findings.push({ resource, path, message: `no ${kind} \`${name}\`; ${hint}` });
    }
    const secret =
      resource.kind === "CredentialProvider" || resource.kind === "PostureSource"
        ? resource.spec.secret
        : undefined;
    if (secret === undefined || secretNames === undefined || secretNames.has(secret)) continue;
    const hint = didYouMean(secret, secretNames, `set it with \`postern secret set ${secret}\``);
    findings.push({ resource, path: ["spec", "secret"], message: `no secret \`${secret}\`; ${hint}` });
  }
  return findings;
}

const namesOf = (set: ResourceSet, kind: ResourceKind): string[] =>
  set.all(kind).map(({ metadata }) => metadata.name);

function didYouMean(wrong: string, names: Iterable<string>, otherwise: string): string {
  const nearest = nearestName(wrong, names);
  return nearest === undefined ? otherwise : `did you mean \`${nearest}\`?`;
}

/** A request is matched by host and port: two owners would make the credential a matter of chance. */
function sharedHosts(next: ResourceSet, profiles: ReadonlyMap<string, ProfileFacts>): Finding[] {
  const owners = new Map<string, string>();
  return next.all("ServerWorkload").flatMap((resource) => {
    const { hosts, profile, port } = resource.spec;
    return (hosts ?? profiles.get(profile)?.hosts ?? []).flatMap((host, index) => {
      const { name } = resource.metadata;
      const owner = owners.get(`${host}:${port}`);
      owners.set(`${host}:${port}`, owner ?? name);
      if (owner === undefined || owner === name) return [];
      const path = hosts === undefined ? ["spec", "profile"] : ["spec", "hosts", index];
      const message = `${host}:${port} already belongs to ServerWorkload \`${owner}\`; use one ServerWorkload for both, or other hosts`;
      return [{ resource, path, message }];
    });
  });
}

function sameSelectors(next: ResourceSet): Finding[] {
  const owners = new Map<string, string>();
  return next.all("Agent").flatMap((resource) => {
    const { trustProvider, selectors } = resource.spec;
    const key = JSON.stringify([
      trustProvider,
      ...[...new Set(selectors)].toSorted((a, b) => (a < b ? -1 : 1)),
    ]);
    const owner = owners.get(key);
    if (owner === undefined) {
      owners.set(key, resource.metadata.name);
      return [];
    }
    const message = `the same selectors as Agent \`${owner}\`: nobody could tell them apart; add a selector to one of them`;
    return [{ resource, path: ["spec", "selectors"], message }];
  });
}

function checkPolicy(
  resource: ResourceOf<"AccessPolicy">,
  next: ResourceSet,
  profiles: ReadonlyMap<string, ProfileFacts>,
): Finding[] {
  const { spec } = resource;
  const workload = next.get("ServerWorkload", spec.serverWorkload);
  const profile = workload === undefined ? undefined : profiles.get(workload.spec.profile);
  const findings = unboundCredential(resource, next);
  // What is missing is told where it is missing.
  if (workload === undefined || profile === undefined || spec.allow === undefined) return findings;
  const offered = offeredOperations(workload, profile);
  for (const [index, name] of (spec.allow.operations ?? []).entries()) {
    if (offered.has(name)) continue;
    const hint = didYouMean(
      name,
      offered.keys(),
      `add it to spec.operations of ServerWorkload \`${workload.metadata.name}\``,
    );
    const message = `ServerWorkload \`${workload.metadata.name}\` has no operation \`${name}\`; ${hint}`;
    findings.push({ resource, path: ["spec", "allow", "operations", index], message });
  }
  const wanted = [...offered.values()].filter(({ name }) => spec.allow?.operations?.includes(name) ?? true);
  if (wanted.some(({ hasModel }) => hasModel)) return findings;
  for (const field of ["models", "modelPatterns"] as const) {
    if (spec.allow[field] === undefined) continue;
    const which =
      spec.allow.operations === undefined ? `profile \`${profile.name}\`` : "the operations listed";
    const message = `${which} can carry no model, so this would never match; remove \`${field}\`, or allow an operation with a model`;
    findings.push({ resource, path: ["spec", "allow", field], message });
  }
  return findings;
}

function unboundCredential(resource: ResourceOf<"AccessPolicy">, next: ResourceSet): Finding[] {
  const { credentialProvider, serverWorkload } = resource.spec;
  if (credentialProvider === undefined) return [];
  const provider = next.get("CredentialProvider", credentialProvider);
  if (provider === undefined || provider.spec.serverWorkloads.includes(serverWorkload)) return [];
  const message = `CredentialProvider \`${credentialProvider}\` is not bound to ServerWorkload \`${serverWorkload}\`; add it to its spec.serverWorkloads, or use another credential provider`;
  return [{ resource, path: ["spec", "credentialProvider"], message }];
}
