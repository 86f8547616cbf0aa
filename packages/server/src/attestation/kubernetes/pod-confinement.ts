// SPDX-License-Identifier: Apache-2.0
/**
 * How confined is a pod, by its specification? As weak as the weakest of its containers, init and debugging ones too:
 * each of them can read the token.
 *
 * Fields as in the Pod Security Standards. What is not said counts as the API server counts it, which is unconfined.
 */
import { isJsonObject, memberOf } from "@postern/identity/jwt/strict-json";
import type { Facts } from "../trust-provider.ts";

type Json = Readonly<Record<string, unknown>>;

const LISTS = ["containers", "initContainers", "ephemeralContainers"] as const;
const FILTERED: ReadonlySet<unknown> = new Set(["RuntimeDefault", "Localhost"]);
const MOST_CAPABILITIES = 64;

/** Nothing where the pod has no containers: then it is no pod that was understood. */
export function podConfinement(pod: Json): Facts {
  const spec = objectIn(pod, "spec");
  const containers = LISTS.flatMap((list) => listIn(spec, list));
  if (containers.length === 0) return {};
  const every = (holds: (container: Json) => boolean): string => String(containers.every(holds));
  const some = (holds: (container: Json) => boolean): string => String(containers.some(holds));
  const added = containers.flatMap((container) => capabilities(container, "add"));
  return {
    "pod-privileged": some(isPrivileged),
    "pod-host-network": String(memberOf(spec, "hostNetwork") === true),
    "pod-host-pid": String(memberOf(spec, "hostPID") === true),
    "pod-host-ipc": String(memberOf(spec, "hostIPC") === true),
    "pod-host-path": String(
      listIn(spec, "volumes").some((volume) => memberOf(volume, "hostPath") !== undefined),
    ),
    "pod-privilege-escalation": some(
      (container) => isPrivileged(container) || own(container, "allowPrivilegeEscalation") !== false,
    ),
    "pod-read-only-root": every((container) => own(container, "readOnlyRootFilesystem") === true),
    "pod-run-as-non-root": every((container) => inherited(spec, container, "runAsNonRoot") === true),
    "pod-seccomp": every((container) => {
      const profile = inherited(spec, container, "seccompProfile");
      return !isPrivileged(container) && isJsonObject(profile) && FILTERED.has(memberOf(profile, "type"));
    }),
    "pod-drops-capabilities": every((container) => capabilities(container, "drop").includes("ALL")),
    // Something is always said, so that a condition can tell what is not among them.
    "pod-capability": added.length === 0 ? "none" : [...new Set(added)].slice(0, MOST_CAPABILITIES),
    "pod-memory-limit": every((container) => {
      const limits = objectIn(objectIn(container, "resources"), "limits");
      return memberOf(limits, "memory") !== undefined;
    }),
  };
}

const isPrivileged = (container: Json): boolean =>
  own(container, "privileged") === true ||
  memberOf(objectIn(contextOf(container), "windowsOptions"), "hostProcess") === true;

const contextOf = (container: Json): Json => objectIn(container, "securityContext");
const own = (container: Json, field: string): unknown => memberOf(contextOf(container), field);

/** The container's, or else the pod's. */
const inherited = (spec: Json, container: Json, field: string): unknown =>
  own(container, field) ?? memberOf(contextOf(spec), field);

function capabilities(container: Json, list: "add" | "drop"): string[] {
  const names = memberOf(objectIn(contextOf(container), "capabilities"), list);
  return Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
}

function objectIn(around: Json, member: string): Json {
  const found = memberOf(around, member);
  return isJsonObject(found) ? found : {};
}

function listIn(around: Json, member: string): Json[] {
  const found = memberOf(around, member);
  return Array.isArray(found) ? found.filter(isJsonObject) : [];
}
