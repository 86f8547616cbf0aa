// SPDX-License-Identifier: Apache-2.0
/** May something be reached as an operator says: which addresses, and whose certificates? */
import { X509Certificate } from "node:crypto";
import { addressProblem, networkProblem } from "./networks.ts";
import type { ResourcePath } from "./places.ts";

/** The fields of `reach.ts` of the contract. */
interface Reach {
  readonly connectTo?: { readonly address: string } | undefined;
  readonly allowedNetworks?: readonly string[] | undefined;
  readonly caCertificates?: string | undefined;
}

export type ReachProblem = readonly [path: ResourcePath, message: string];

/** Every problem, each with its path below the fields. */
export const reachProblems = (reach: Reach): ReachProblem[] => [
  ...networkProblems(reach),
  ...certificateProblems(reach),
];

function networkProblems({ allowedNetworks = [], connectTo }: Reach): ReachProblem[] {
  const problems = allowedNetworks.flatMap((cidr, index): ReachProblem[] => {
    const message = networkProblem(cidr);
    return message === undefined ? [] : [[["allowedNetworks", index], message]];
  });
  const message = connectTo === undefined ? undefined : addressProblem(connectTo.address, allowedNetworks);
  return message === undefined ? problems : [...problems, [["connectTo", "address"], message]];
}

const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[^-]*-----END \1-----/g;

/** Messages never quote the text: a private key may have been pasted by mistake. */
function certificateProblems({ caCertificates }: Reach): ReachProblem[] {
  if (caCertificates === undefined) return [];
  const path = ["caCertificates"];
  const blocks = [...caCertificates.matchAll(PEM_BLOCK)];
  if (caCertificates.includes("PRIVATE KEY-----"))
    return [[path, "holds a private key; remove it, give certificates only, and replace that key"]];
  if (blocks.length === 0) return [[path, "holds no PEM certificate (-----BEGIN CERTIFICATE-----)"]];
  if (blocks.length !== caCertificates.split("-----BEGIN ").length - 1)
    return [[path, "holds a PEM block that is not closed"]];
  return blocks.flatMap(([block, label], index): ReachProblem[] =>
    label === "CERTIFICATE" && isCertificate(block)
      ? []
      : [[path, `PEM block ${index + 1} is no certificate that can be read`]],
  );
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}
