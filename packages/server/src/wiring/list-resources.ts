// SPDX-License-Identifier: Apache-2.0
/** What operators see of each resource: as it was applied, with its version, and an agent's state and runs. */
import type { ResourcesResponse } from "@postern/contract";
import type { ControlPlane } from "../governance/control-plane.ts";
import type { RunDesk } from "./open-run.ts";

export function listResources(plane: ControlPlane, desk: RunDesk): ResourcesResponse["resources"] {
  return plane.stored.map(({ resource, version, updatedAt }) => ({
    resource,
    version,
    updatedAt: new Date(updatedAt).toISOString(),
    ...(resource.kind === "Agent" ? agentExtras(resource.metadata.name, plane, desk) : {}),
  }));
}

function agentExtras(name: string, plane: ControlPlane, desk: RunDesk) {
  const known = plane.agentStates.find(({ agent }) => agent === name);
  const state =
    known === undefined
      ? { state: "active" as const }
      : {
          state: known.state,
          changedAt: new Date(known.changedAt).toISOString(),
          ...(known.reason === "" ? {} : { reason: known.reason }),
        };
  // A run without a named agent could be any of them: it is shown with each.
  return { state, runs: desk.open.filter(({ agent }) => agent === undefined || agent === name) };
}
