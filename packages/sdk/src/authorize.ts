// SPDX-License-Identifier: Apache-2.0
/** Which SPIFFE IDs does somebody want to talk to? That an ID is proved is another question: see `peer.ts`. */
import { parseSpiffeId, type SpiffeId, trustDomainProblem } from "@postern/identity/spiffe-id";
import { SpiffeError } from "./spiffe-error.ts";

/** Whether the owner of a proved ID is admitted. */
export type Authorize = (id: SpiffeId) => boolean;

const invalid = (message: string): SpiffeError => new SpiffeError("argument_invalid", message);

/** One of these IDs, to the letter. */
export function anyOf(...ids: readonly string[]): Authorize {
  if (ids.length === 0) throw invalid("no SPIFFE ID is given: an empty list would admit nobody");
  for (const text of ids) {
    const id = parseSpiffeId(text);
    if (!id.ok) throw invalid(id.reason);
    if (id.value.path === "")
      throw invalid(`${text} names a trust domain: use memberOf for all of its workloads`);
  }
  const admitted = new Set(ids);
  return ({ uri }) => admitted.has(uri);
}

export const exactId = (id: string): Authorize => anyOf(id);

/** Every workload of this trust domain, such as `corp`. */
export function memberOf(trustDomain: string): Authorize {
  const problem = trustDomainProblem(trustDomain);
  if (problem !== undefined) throw invalid(problem);
  return (id) => id.trustDomain === trustDomain;
}

/** Everybody who proves any ID of a trust domain that is believed: for those who decide later. */
export const anyId: Authorize = () => true;
