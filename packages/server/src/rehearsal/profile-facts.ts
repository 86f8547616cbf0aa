// SPDX-License-Identifier: Apache-2.0
import type { Profile } from "../profiles/profile.ts";
import type { ProfileFacts } from "../resources/profile-facts.ts";

/** What the checks of resources need to know of a profile. */
export function profileFacts(profile: Profile): ProfileFacts {
  const [first] = profile.injections;
  return {
    name: profile.name,
    hosts: profile.hosts,
    operations: profile.operations.map(({ name, method, path, model }) => ({
      name,
      method,
      path,
      hasModel: model !== undefined,
    })),
    ...(first === undefined ? {} : { injection: first.injection }),
  };
}
