// SPDX-License-Identifier: Apache-2.0
/** What operators say about approvals: who a person is, and what of a policy needs a person's yes. */
import { z } from "zod";
import { resourceName } from "./resource-name.ts";

/** How a person is recognised: an account of the server's machine, or a member of a Slack workspace: members' ids are unique within one only. */
const identity = z
  .string()
  .regex(
    /^(uid:(0|[1-9][0-9]{0,9})|slack:[A-Z0-9]{2,30}\/[A-Z0-9]{2,30})$/,
    "write uid:NUMBER for an account, or slack:TEAM/MEMBER, such as slack:T024BE7LD/U024BE7LH",
  );

/** One person. Whoever has two ways to say yes is still one. */
export const approverSpec = z.strictObject({
  identities: z.array(identity).min(1).max(10),
});

const texts = (longest: number) => z.array(z.string().min(1).max(longest)).min(1).max(200);

/** The part of what the policy allows for which a person is asked. */
const part = z
  .strictObject({
    operations: texts(100).optional(),
    models: texts(200).optional(),
    modelPatterns: texts(500).optional(),
    methods: texts(20).optional(),
    paths: texts(500).optional(),
    pathPatterns: texts(500).optional(),
  })
  .refine((value) => Object.keys(value).length > 0, "say for what; without `for` it is for everything");

export const approvalSpec = z.strictObject({
  /** Names of Approvers. Empty is refused: emptiness never means anybody. */
  approvers: z.array(resourceName).min(1).max(50),
  /** How many different persons must say yes. */
  needed: z.int().min(1).max(2).default(1),
  for: part.optional(),
  /** Names of AccessConditions. Where all of them hold nobody is asked; where one is unmet or unknown somebody is. */
  unless: z.array(resourceName).min(1).max(20).optional(),
  /** `first-use`: only until this agent has done this operation under this policy once. */
  when: z.enum(["always", "first-use"]).default("always"),
  /** Whether the `owner` of the agent may say yes. */
  ownerMayApprove: z.boolean().default(false),
  /** Seconds for which the agent's request is held before it is told to come back. */
  wait: z.int().min(0).max(60).default(5),
  /** Seconds for which a person can be found to decide. */
  expiresAfter: z.int().min(10).max(604_800).default(900),
  /** Seconds for which a yes holds. */
  validFor: z.int().min(1).max(86_400).default(900),
  /** Questions that the agent may put to persons within an hour, under whichever policies. More are refused. */
  asksPerHour: z.int().min(1).max(1000).default(60),
  /** How often the approved request may be sent. */
  uses: z.int().min(1).max(1000).default(1),
  /** How far a person may say yes ahead; without it every request is asked for. */
  grants: z
    .strictObject({
      longest: z.int().min(1).max(86_400),
      mostUses: z.int().min(1).max(100_000),
    })
    .optional(),
});

/** What somebody said to an approval. */
export interface ApprovalVote {
  readonly verdict: "approve" | "deny";
  /** Name of the Approver; absent where an operator who is none said no. */
  readonly person?: string;
  readonly identity: string;
  readonly at: string;
  readonly reason?: string;
}

/** `GET /v1/approvals`, and what is said to one with `POST /v1/approvals/ID/approve` or `/deny` */
export interface ApprovalSummary {
  readonly id: string;
  readonly state: "pending" | "approved" | "denied" | "used" | "expired" | "displaced" | "withdrawn";
  readonly agent: string;
  /** Absent for an agent on another machine. */
  readonly run?: string;
  readonly serverWorkload: string;
  /** Whose credential is added; absent of one that was asked for by an earlier version. */
  readonly credentialProvider?: string;
  readonly operation?: string;
  readonly model?: string;
  readonly method: string;
  readonly authority: string;
  readonly path: string;
  readonly bodyBytes: number;
  /** SHA-256 of the request that would be sent, in hex. */
  readonly digest: string;
  readonly policies: readonly string[];
  readonly approvers: readonly string[];
  /** Different persons that have to say yes. */
  readonly needed: number;
  readonly votes: readonly ApprovalVote[];
  readonly createdAt: string;
  /** Of a pending one: until when it can be answered; of an approved one: until when it can be used. */
  readonly expiresAt: string;
  readonly usesLeft: number;
}

export interface ApprovalsResponse {
  readonly approvals: readonly ApprovalSummary[];
}

/** `GET /v1/approvals/ID` */
export interface ApprovalDetails extends ApprovalSummary {
  /** To the byte what would be sent, without the credential; absent once it is over. */
  readonly request?: {
    readonly method: string;
    readonly authority: string;
    readonly path: string;
    readonly query: string;
    readonly headers: readonly (readonly [name: string, value: string])[];
    /** Base64; absent where there is none. */
    readonly body?: string;
  };
}

/** `POST /v1/grants`: for a policy, or for all policies of the agent at a server workload. */
export interface GrantRequest {
  readonly agent: string;
  readonly policy?: string | undefined;
  readonly serverWorkload?: string | undefined;
  /** All that the policies ask about where absent. */
  readonly operations?: readonly string[] | undefined;
  readonly models?: readonly string[] | undefined;
  readonly seconds: number;
  readonly uses: number;
  /** What for, in words for people. */
  readonly task?: string | undefined;
}

export interface GrantSummary {
  readonly id: string;
  readonly state: "active" | "used" | "expired" | "revoked";
  readonly agent: string;
  readonly policies: readonly string[];
  readonly operations?: readonly string[];
  readonly models?: readonly string[];
  readonly task?: string;
  /** Name of the Approver. */
  readonly by: string;
  readonly identity: string;
  readonly usesLeft: number;
  readonly createdAt: string;
  readonly expiresAt: string;
}

/** `GET /v1/grants` */
export interface GrantsResponse {
  readonly grants: readonly GrantSummary[];
}

/** `POST /v1/approvals/ID/approve` */
export interface ApproveRequest {
  readonly reason?: string;
  /** Say yes ahead too: to the same operation with the same model. */
  readonly grant?: { readonly seconds: number; readonly uses: number };
}
