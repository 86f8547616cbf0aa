// SPDX-License-Identifier: Apache-2.0
/**
 * Does the process run as confined as it must? The kernel is asked again every second, so that what turns privileged
 * loses access while it runs. Only processes of this machine can be asked about; of others it is unknown.
 */
import type { ConditionSpecOf } from "@postern/contract";
import { type ConditionKind, met, type SpecProblem, unknown, unmet, type Verdict } from "./condition-kind.ts";
import type { RuntimeFacts } from "./facts.ts";

type Spec = ConditionSpecOf<"runtime">;

/** Milliseconds for which what was seen is taken to be so. */
const FRESH = 1000;

export const runtime: ConditionKind<Spec> = {
  scope: "caller",
  problems,
  judge: (spec) => {
    const asked = FACTS.filter(([field]) => spec[field] !== undefined).map(([, fact]) => fact);
    return ({ caller, sources, now }) => {
      if (caller.process === undefined || sources.runtime === undefined)
        return unknown("it is not known how the caller runs: it is no process of this machine");
      const seen = sources.runtime.of(caller.process.pid, asked);
      const verdicts = TESTS.flatMap((test) => test(spec, seen) ?? []);
      const { holds, words, isUnknown } = verdicts.find((each) => !each.holds) ?? verdicts[0]!;
      return isUnknown === true ? unknown(words, now + FRESH) : (holds ? met : unmet)(words, now + FRESH);
    };
  },
};

/** What each field of a spec is about. */
const FACTS: readonly (readonly [Exclude<keyof Spec, "kind">, keyof RuntimeFacts])[] = [
  ...(["capabilities", "noNewPrivileges", "seccomp", "readOnlyRoot"] as const).map(
    (name) => [name, name] as const,
  ),
  ["ownNamespaces", "sharedNamespaces"],
  ...(["maxMemoryBytes", "maxProcesses"] as const).map((name) => [name, name] as const),
];

/** Undefined where the spec does not ask. */
type Test = (spec: Spec, seen: RuntimeFacts) => Verdict | undefined;

const TESTS: readonly Test[] = [
  (spec, seen) => {
    if (spec.capabilities === undefined) return undefined;
    if (seen.capabilities === undefined) return cannotTell("its capabilities");
    const surplus = seen.capabilities.filter((name) => !spec.capabilities!.includes(name));
    return surplus.length === 0
      ? met(`its capabilities are ${listed(seen.capabilities)}`)
      : unmet(`it has ${listed(surplus)}; wanted at most ${listed(spec.capabilities)}`);
  },
  (spec, seen) => isTrue(spec.noNewPrivileges, seen.noNewPrivileges, "no_new_privs"),
  (spec, seen) => isTrue(spec.seccomp, seen.seccomp, "a seccomp filter"),
  (spec, seen) => isTrue(spec.readOnlyRoot, seen.readOnlyRoot, "a read-only root"),
  (spec, seen) => {
    if (spec.ownNamespaces === undefined) return undefined;
    if (seen.sharedNamespaces === undefined) return cannotTell("its namespaces");
    const shared = spec.ownNamespaces.filter((name) => seen.sharedNamespaces!.includes(name));
    return shared.length === 0
      ? met("its namespaces are its own")
      : unmet(`it shares this server's namespaces: ${listed(shared)}`);
  },
  (spec, seen) => atMost(spec.maxMemoryBytes, seen.maxMemoryBytes, "bytes of memory"),
  (spec, seen) => atMost(spec.maxProcesses, seen.maxProcesses, "processes"),
];

const cannotTell = (what: string): Verdict => unknown(`the kernel does not tell ${what}`);

function isTrue(wanted: true | undefined, seen: boolean | undefined, what: string): Verdict | undefined {
  if (wanted === undefined) return undefined;
  if (seen === undefined) return cannotTell(`whether it has ${what}`);
  return seen ? met(`it has ${what}`) : unmet(`it runs without ${what}`);
}

function atMost(most: number | undefined, seen: number | undefined, what: string): Verdict | undefined {
  if (most === undefined) return undefined;
  if (seen === undefined) return cannotTell(`its limit of ${what}`);
  const words = seen === Infinity ? `it has no limit of ${what}` : `its limit is ${seen} ${what}`;
  return seen <= most ? met(words) : unmet(`${words}; wanted at most ${most}`);
}

const listed = (names: readonly string[]): string => (names.length === 0 ? "none" : names.join(", "));

function problems({ capabilities = [] }: Spec): SpecProblem[] {
  return capabilities.flatMap((name, index) =>
    CAPABILITIES.includes(name)
      ? []
      : [{ path: ["capabilities", index], message: `the kernel knows no capability \`${name}\`` }],
  );
}

/** In the kernel's order (capabilities(7)). */
export const CAPABILITIES: readonly string[] = (
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE " +
  "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN " +
  "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE " +
  "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
  .split(" ")
  .map((name) => `CAP_${name}`);
