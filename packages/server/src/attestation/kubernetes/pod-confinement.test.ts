// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { podConfinement } from "./pod-confinement.ts";

const confined = {
  securityContext: {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  },
  resources: { limits: { memory: "1Gi" } },
};
const pod = (containers: readonly object[], more: object = {}) => ({
  spec: {
    securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
    containers,
    ...more,
  },
});
const RESTRICTED = {
  "pod-privileged": "false",
  "pod-host-network": "false",
  "pod-host-pid": "false",
  "pod-host-ipc": "false",
  "pod-host-path": "false",
  "pod-privilege-escalation": "false",
  "pod-read-only-root": "true",
  "pod-run-as-non-root": "true",
  "pod-seccomp": "true",
  "pod-drops-capabilities": "true",
  "pod-capability": "none",
  "pod-memory-limit": "true",
};

describe("the confinement of a pod", () => {
  test("is read from its specification", () => {
    expect(podConfinement(pod([confined]))).toEqual(RESTRICTED);
  });

  test("is none where nothing is said", () => {
    expect(podConfinement({ spec: { containers: [{}] } })).toEqual({
      ...RESTRICTED,
      ...{
        "pod-privilege-escalation": "true",
        "pod-read-only-root": "false",
        "pod-run-as-non-root": "false",
      },
      ...{ "pod-seccomp": "false", "pod-drops-capabilities": "false", "pod-memory-limit": "false" },
    });
  });

  test.each([
    ["a container", "containers"],
    ["an init container", "initContainers"],
    ["a debugging container that came later", "ephemeralContainers"],
  ])("is that of the weakest: %s that is privileged", (_, list) => {
    const weak = { securityContext: { privileged: true, capabilities: { add: ["SYS_PTRACE"] } } };
    const both = list === "containers" ? pod([confined, weak]) : pod([confined], { [list]: [weak] });
    expect(podConfinement(both)).toEqual({
      ...RESTRICTED,
      ...{ "pod-privileged": "true", "pod-privilege-escalation": "true", "pod-read-only-root": "false" },
      ...{ "pod-seccomp": "false", "pod-drops-capabilities": "false", "pod-memory-limit": "false" },
      "pod-capability": ["SYS_PTRACE"],
    });
  });

  test.each<[string, object, object]>([
    ["the node's network", { hostNetwork: true }, { "pod-host-network": "true" }],
    ["the node's processes", { hostPID: true }, { "pod-host-pid": "true" }],
    ["the node's IPC", { hostIPC: true }, { "pod-host-ipc": "true" }],
    ["the node's files", { volumes: [{ hostPath: { path: "/" } }] }, { "pod-host-path": "true" }],
  ])("is without %s only where it is not asked for", (_, more, facts) => {
    expect(podConfinement(pod([confined], more))).toEqual({ ...RESTRICTED, ...facts });
  });

  test.each<[string, object, object]>([
    ["may run as root after all", { runAsNonRoot: false }, { "pod-run-as-non-root": "false" }],
    ["has no filter after all", { seccompProfile: { type: "Unconfined" } }, { "pod-seccomp": "false" }],
    [
      "is a process of the host",
      { windowsOptions: { hostProcess: true } },
      {
        ...{ "pod-privileged": "true", "pod-privilege-escalation": "true", "pod-seccomp": "false" },
      },
    ],
  ])("is what the container says before what the pod says: one that %s", (_, context, facts) => {
    const container = { ...confined, securityContext: { ...confined.securityContext, ...context } };
    expect(podConfinement(pod([container]))).toEqual({ ...RESTRICTED, ...facts });
  });

  test.each<[string, object]>([
    ["no containers", { spec: { containers: [] } }],
    ["no specification", {}],
    ["a specification of another shape", { spec: { containers: "all" } }],
  ])("is not known of a pod with %s", (_, object) => {
    expect(podConfinement(object as Record<string, unknown>)).toEqual({});
  });
});
