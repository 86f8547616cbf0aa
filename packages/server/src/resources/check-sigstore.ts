// SPDX-License-Identifier: Apache-2.0
/** Can signatures of images be read and verified as it is written, and does it say whom to believe? */
import type { SigstoreRegistry, SigstoreSigner, SigstoreSpec } from "@postern/contract";
import { readSignerKey } from "@postern/identity/signer-key";
import { parseTrustedRoot } from "@postern/identity/trusted-root";
import { type ReachProblem, reachProblems } from "./check-reach.ts";
import { hostProblem, resolutionProblem } from "./host-name.ts";

/** Every problem, each with its path below `sigstore`. */
export function sigstoreProblems({ registries, signers, trustedRoot }: SigstoreSpec): ReachProblem[] {
  const root = trustedRoot === undefined ? undefined : parseTrustedRoot(Buffer.from(trustedRoot));
  const trust = {
    hasAuthority: root?.ok === true && root.value.hasAuthority,
    hasLog: root?.ok === true && root.value.hasLog,
  };
  return [
    ...(root?.ok === false ? [[["trustedRoot"], root.reason] as const] : []),
    ...registries.flatMap((registry, index) =>
      registryProblems(registry, registries.slice(0, index)).map(([path, message]): ReachProblem => [
        ["registries", index, ...path],
        message,
      ]),
    ),
    // What a root that cannot be read would hold is not known.
    ...(root?.ok === false ? [] : signers).flatMap((signer, index) => {
      const [path, message] = signerProblem(signer, trust) ?? [];
      return path === undefined || message === undefined
        ? []
        : [[["signers", index, path], message] as const];
    }),
  ];
}

function registryProblems(registry: SigstoreRegistry, before: readonly SigstoreRegistry[]): ReachProblem[] {
  const { connectTo, host, tokenUrl, url } = registry;
  const problems = reachProblems(registry);
  if (before.some((other) => other.host === host))
    problems.push([["host"], "is listed twice; give each registry one entry"]);
  const dialled = new URL(url ?? `https://${host}`).hostname;
  const problem = hostProblem(dialled) ?? (connectTo === undefined ? resolutionProblem(dialled) : undefined);
  if (problem !== undefined) problems.push([[url === undefined ? "host" : "url"], `the host ${problem}`]);
  const tokenProblem = tokenUrl === undefined ? undefined : hostProblem(new URL(tokenUrl).hostname);
  if (tokenProblem !== undefined) problems.push([["tokenUrl"], `the host ${tokenProblem}`]);
  return problems;
}

function signerProblem(
  signer: SigstoreSigner,
  { hasAuthority, hasLog }: { hasAuthority: boolean; hasLog: boolean },
): readonly [string, string] | undefined {
  if ("publicKey" in signer) {
    // The text is not quoted: it may be a private key, pasted by mistake.
    if (signer.publicKey.includes("PRIVATE KEY-----"))
      return ["publicKey", "holds a private key; give the public one, and replace that key"];
    if (readSignerKey(signer.publicKey) === undefined)
      return [
        "publicKey",
        "is no public key in PEM: ECDSA on a NIST curve, Ed25519, or RSA from 2048 to 8192 bits",
      ];
    return signer.requireLog && !hasLog ? ["requireLog", "needs a `trustedRoot` with a log"] : undefined;
  }
  if (!hasAuthority)
    return ["issuer", "needs a `trustedRoot` with a certificate authority and a log of its certificates"];
  const { identityPattern, ownerId, repositoryId } = signer;
  if (identityPattern === undefined || ownerId !== undefined || repositoryId !== undefined) return undefined;
  return OWNED.some((form) => form.test(identityPattern))
    ? undefined
    : [
        "identityPattern",
        "takes in strangers: write the host and the first part of the path without `*`, such as https://github.com/corp/*, or the whole domain of an address, such as *@corp.example",
      ];
}

/** Whose identities these are must not depend on what `*` stands for. */
const OWNED = [/^https:\/\/[^*/@]+\/[^*/]+\//, /^spiffe:\/\/[^*/]+\//, /^[^@]*@[^*@]+$/];
