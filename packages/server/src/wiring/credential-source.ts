// SPDX-License-Identifier: Apache-2.0
/** Finds the credential of an `Allow`: the provider it names, bound to the server workload it names. */
import type { Vault } from "../credentials/vault/vault.ts";
import type { CredentialSource } from "../gateway/ports.ts";
import { ok, refuse } from "../kernel/result.ts";
import type { ResourceSet } from "../resources/resource-set.ts";

export function credentialSource(vault: Vault, resources: () => ResourceSet): CredentialSource {
  return {
    async obtain(allow) {
      const provider = resources().get("CredentialProvider", allow.credentialProvider);
      if (provider === undefined) return refuse(`credential provider ${allow.credentialProvider} is gone`);
      // Checked at `apply` too; here it is the last moment before a secret is read.
      if (!provider.spec.serverWorkloads.includes(allow.serverWorkload))
        return refuse(
          `credential provider ${allow.credentialProvider} is not bound to ${allow.serverWorkload}`,
        );
      const credential = await vault.resolve(provider.spec.secret);
      if (!credential.ok) return refuse(credential.reason.detail);
      const { secret, version } = credential.value;
      return ok({ provider: allow.credentialProvider, secret, version });
    },
  };
}
