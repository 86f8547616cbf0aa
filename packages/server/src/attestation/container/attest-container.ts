// SPDX-License-Identifier: Apache-2.0
/**
 * Is this process one of the container that its control groups name, and what is known of that container?
 *
 * The name of a control group proves nothing by itself. So the engine is asked for the container's first process,
 * and the caller has to be in the very same groups and in its process namespace, while a handle says that this
 * process still lives and the engine says the same once more.
 */
import type { ContainerEngineKind } from "@postern/contract";
import { ok, refuse, type Result } from "../../kernel/result.ts";
import type { ProcessView } from "../process/process-view.ts";
import type { Facts } from "../trust-provider.ts";
import { areSameGroups, type ContainerGroups, containerOf } from "./container-of.ts";
import type { ContainerEngine, ContainerFacts, EngineRefusal } from "./container-engine.ts";

export interface ContainerCaller {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  readonly groups: ContainerGroups;
}

const refused = (reason: string): Result<never, EngineRefusal> => refuse({ outcome: "refused", reason });

export interface ContainerEvidence {
  /** By name, without the kind before it. */
  readonly facts: Facts;
  /** Each leads to the one image of the container. */
  readonly imageNames: readonly string[];
}

export async function attestContainer(
  engine: ContainerEngine,
  { pid, uid, gid, groups }: ContainerCaller,
  view: ProcessView,
): Promise<Result<ContainerEvidence, EngineRefusal>> {
  const inspected = await engine.inspectContainer(groups.id);
  if (!inspected.ok) return inspected;
  const handle = view.hold(inspected.value.pid);
  if (handle === undefined) return refused("container_not_running");
  try {
    const stranger = strangerProblem(pid, groups, inspected.value.pid, view);
    if (stranger !== undefined) return refused(stranger);
    const names = await engine.imageNames(inspected.value.imageId);
    if (!names.ok && names.reason.outcome === "unavailable") return names;
    const again = await engine.inspectContainer(groups.id);
    if (!again.ok) return again;
    // The first process may have ended before there was a handle, and another one got its number.
    if (!handle.isAlive() || !isSame(inspected.value, again.value)) return refused("container_changed");
    const { image, imageId, labels } = again.value;
    const imageNames = names.ok ? names.value : [];
    const facts = {
      ...{ "container-id": groups.id, image, "image-id": imageId, label: labels },
      ...{ uid: String(uid), gid: String(gid) },
      "image-digest": [...new Set(imageNames.map((name) => name.slice(name.indexOf("@") + 1)))],
    };
    return ok({ facts, imageNames });
  } finally {
    handle.release();
  }
}

const isSame = (a: ContainerFacts, b: ContainerFacts): boolean =>
  a.pid === b.pid && a.startedAt === b.startedAt && a.imageId === b.imageId;

/** Why the process does not belong to the container whose first process this is; undefined where it does. */
function strangerProblem(
  pid: number,
  groups: ContainerGroups,
  first: number,
  view: ProcessView,
): string | undefined {
  const text = view.cgroups(first);
  const namespace = view.pidNamespace(first);
  if (text === undefined || namespace === undefined) return "container_unreadable";
  const own = containerOf(text);
  if (!own.ok || own.value === undefined || !areSameGroups(own.value, groups))
    return "caller_in_other_control_groups";
  // A container may be given the machine's own process namespace; then there is nothing to compare.
  if (namespace === view.pidNamespace("self")) return undefined;
  return view.livesIn(pid, namespace) ? undefined : "caller_in_another_process_namespace";
}

/** Whether an engine of this kind could know the container, by the name of its group. */
export const mayKnow = (kind: ContainerEngineKind, { engine }: ContainerGroups): boolean =>
  engine === undefined || engine === kind;
