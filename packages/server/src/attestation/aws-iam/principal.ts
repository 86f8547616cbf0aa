// SPDX-License-Identifier: Apache-2.0
/** Whom does an ARN of IAM or STS name? Roles and users; nothing is read from what a caller may choose. */

export interface Principal {
  readonly account: string;
  readonly kind: "role" | "user";
  /** The last part of its path: unique within the account. */
  readonly name: string;
  /** With its path; STS leaves the path of an assumed role out, so it is not known then. */
  readonly arn: string | undefined;
}

const NAME = "[A-Za-z0-9_+=,.@-]{1,128}";
const PATH = "(?:[\\x21-\\x2e\\x30-\\x7e]+/)*";
const ARN = new RegExp(
  `^arn:aws(?:-cn|-us-gov)?:(?:iam::(\\d{12}):(role|user)/${PATH}(${NAME})|sts::(\\d{12}):assumed-role/(${NAME})/(${NAME}))$`,
);

/** Undefined for the root of an account, for federated users, and for whatever is no principal. */
export function parsePrincipal(arn: string): Principal | undefined {
  const [, account, kind, name, roleAccount, role] = (arn.length <= 2048 ? ARN.exec(arn) : null) ?? [];
  // The session's name, after the role, is chosen by whoever assumes it.
  if (roleAccount !== undefined && role !== undefined)
    return { account: roleAccount, kind: "role", name: role, arn: undefined };
  if (account === undefined || name === undefined) return undefined;
  return { account, kind: kind === "role" ? "role" : "user", name, arn };
}

export const principalFacts = ({ account, arn, kind, name }: Principal) => ({
  "account-id": account,
  [kind]: name,
  ...(kind === "role" ? { "role-arn": arn } : {}),
});
