// SPDX-License-Identifier: Apache-2.0
/** Finds the credential of an `Allow`: the provider it names, bound to the server workload it names. */
import type { Vault } from "../credentials/vault/vault.ts";
import type { Credential, CredentialSource } from "../gateway/ports.ts";
import { type Result, ok, refuse } from "../kernel/result.ts";
import type { Allow } from "../policy/access-request.ts";
import type { ResourceSet } from "../resources/resource-set.ts";

export function credentialSource(vault: Vault, resources: () => ResourceSet): CredentialSource {
  return {
    obtain(allow) {
      const provider = resources().get("CredentialProvider", allow.credentialProvider);
      if (provider === undefined) return refuse(`credential provider ${allow.credentialProvider} is gone`);
      // Checked at `apply` too; here it is the last moment before a secret is read.
      if (!provider.spec.serverWorkloads.includes(allow.serverWorkload))
        return refuse(
          `credential provider ${allow.credentialProvider} is not bound to ${allow.serverWorkload}`,
        );
      const known = vault.known(provider.spec.secret);
      return known === undefined
        ? vault.resolve(provider.spec.secret).then((found) => credentialOf(found, allow))
        : credentialOf(ok(known), allow);
    },
  };
}

function credentialOf(
  found: Awaited<ReturnType<Vault["resolve"]>>,
  { credentialProvider }: Allow,
): Result<Credential, string> {
  if (!found.ok) return refuse(found.reason.detail);
  const { secret, version } = found.value;
  return ok({ provider: credentialProvider, secret, version });
}
