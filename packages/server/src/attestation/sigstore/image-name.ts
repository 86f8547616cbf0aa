// SPDX-License-Identifier: Apache-2.0
/** Which bytes does an image's name mean, and where are they? By digest only: a tag leads elsewhere tomorrow. */

export interface ImageName {
  /** As the name has it, such as `ghcr.io`. */
  readonly registry: string;
  /** Safe in the path of a request as it stands. */
  readonly repository: string;
  /** `sha256:` and 64 digits. */
  readonly digest: string;
}

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests */
const COMPONENT = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const NAME = new RegExp(
  `^([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[1-9]\\d{0,4})?)/(${COMPONENT}(?:/${COMPONENT})*)(?::[\\w][\\w.-]{0,127})?@(sha256:[0-9a-f]{64})$`,
);
const MOST_NAME = 1000;

/** Undefined for anything that does not name a registry, a repository and a digest of SHA-256. */
export function readImageName(text: string): ImageName | undefined {
  if (text.length > MOST_NAME) return undefined;
  const [, registry, repository, digest] = NAME.exec(withRegistry(text)) ?? [];
  if (registry === undefined || repository === undefined || digest === undefined) return undefined;
  return { registry, repository, digest };
}

/** Docker's own rule: what has neither a dot nor a port, and is not localhost, is no host, and then it means Docker Hub. */
function withRegistry(text: string): string {
  const slash = text.indexOf("/");
  const first = slash === -1 ? "" : text.slice(0, slash);
  if (/[.:]/.test(first) || first === "localhost") return text;
  return `docker.io/${slash === -1 ? "library/" : ""}${text}`;
}
