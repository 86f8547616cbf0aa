// SPDX-License-Identifier: Apache-2.0
/** Which kinds of condition are there? */
import type { AccessConditionSpec, ConditionKindName, ConditionSpecOf } from "@postern/contract";
import type { ConditionKind } from "./condition-kind.ts";
import { attested } from "./attested.ts";
import { configuration } from "./configuration.ts";
import { delegation } from "./delegation.ts";
import { posture } from "./posture.ts";
import { region } from "./region.ts";
import { request } from "./request.ts";
import { runtime } from "./runtime.ts";
import { time } from "./time.ts";

const KINDS: { readonly [K in ConditionKindName]: ConditionKind<ConditionSpecOf<K>> } = {
  ...{ time, region, attested, delegation, request, configuration, runtime, posture },
};

/** The kind that `spec` is of; it is only ever given specs of that kind. */
export const kindOf = (spec: AccessConditionSpec): ConditionKind<AccessConditionSpec> => {
  const kinds: Readonly<Record<string, unknown>> = KINDS;
  return kinds[spec.kind] as ConditionKind<AccessConditionSpec>;
};
