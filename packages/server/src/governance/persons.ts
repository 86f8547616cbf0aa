// SPDX-License-Identifier: Apache-2.0
/** Which person is it that was recognised so? */
import type { Person } from "../policy/approval-rules.ts";
import type { ResourceSet } from "../resources/resource-set.ts";

export const personsOf = (resources: ResourceSet): readonly Person[] =>
  resources
    .all("Approver")
    .map(({ metadata, spec }) => ({ name: metadata.name, identities: spec.identities }));

export const personWith = (identity: string, resources: ResourceSet): Person | undefined =>
  personsOf(resources).find(({ identities }) => identities.includes(identity));
