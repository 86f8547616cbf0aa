// SPDX-License-Identifier: Apache-2.0
/** Which command line makes util-linux (`unshare`, `setpriv`) build the namespaces? The entry program does the mounts. */

/**
 * Process 1 of the sandbox. It reaps orphans, says nothing itself (a shell reports how its child died) and passes
 * the exit code on. The program and its arguments are positional: nothing is interpolated.
 */
const FIRST_PROCESS = 'exec 9>&2 2>/dev/null; (exec "$@" 2>&9 9>&-); exit $?';

const DIE_WITH_PARENT = ["--pdeathsig", "KILL", "--"];
const NAMESPACES = ["--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child=KILL"];
const DROP_EVERYTHING = [
  "--no-new-privs",
  "--ambient-caps=-all",
  "--inh-caps=-all",
  "--bounding-set=-all",
  "--",
];

/** Arguments of `setpriv`, which starts `unshare`, without the program that they start. */
export function utilLinuxArguments(identity: { readonly uid: number }, unshare: string): string[] {
  // Uid 0 inside is needed to mount devpts; the entry program goes back to the caller's identity.
  const user = identity.uid === 0 ? [] : ["--user", "--map-root-user"];
  return [...DIE_WITH_PARENT, unshare, ...user, ...NAMESPACES, "--", "/bin/sh", "-c", FIRST_PROCESS, "sh"];
}

/**
 * The last programs before the agent where the caller is not root: they give back the caller's identity and drop
 * every privilege.
 *
 * That takes a second user namespace, in which the caller is himself again; it owns no mount, process or network
 * namespace, so what the sandbox set up is out of its reach.
 */
export function utilLinuxFinish(
  identity: { readonly uid: number; readonly gid: number },
  programs: { readonly unshare: string; readonly setpriv: string },
): string[] {
  const user = ["--user", `--map-user=${identity.uid}`, `--map-group=${identity.gid}`, "--keep-caps", "--"];
  return [programs.unshare, ...user, programs.setpriv, ...DROP_EVERYTHING];
}
