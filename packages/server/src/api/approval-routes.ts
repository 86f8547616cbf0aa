// SPDX-License-Identifier: Apache-2.0
/** The operator's API to requests that wait for a person. */
import type { ApprovalDetails, ApprovalsResponse, ApprovalSummary, ProblemCode } from "@postern/contract";
import { z } from "zod";
import type { Result } from "../kernel/result.ts";
import { checked } from "./checked.ts";
import { ApiRefusal, type Call, type Route } from "./router.ts";

interface Operator {
  readonly uid: number;
  readonly pid: number;
}

export interface ApprovalPorts {
  list(which: "pending" | "all"): Promise<readonly ApprovalSummary[]>;
  show(id: string): Promise<ApprovalDetails | undefined>;
  say(
    id: string,
    verdict: "approve" | "deny",
    reason: string | undefined,
    operator: Operator,
  ): Promise<Result<ApprovalSummary, { readonly code: ProblemCode; readonly detail: string }>>;
}

export const approvalRoutes = (ports: ApprovalPorts): readonly Route[] => [
  { method: "GET", path: "/v1/approvals", handler: (call) => list(ports, call) },
  { method: "GET", path: "/v1/approvals/:", handler: (call) => show(ports, call) },
  { method: "POST", path: "/v1/approvals/:/approve", handler: (call) => say(ports, call, "approve") },
  { method: "POST", path: "/v1/approvals/:/deny", handler: (call) => say(ports, call, "deny") },
];

const list = async (ports: ApprovalPorts, { query }: Call): Promise<ApprovalsResponse> => ({
  approvals: await ports.list(query.has("all") ? "all" : "pending"),
});

async function show(ports: ApprovalPorts, { parameters: [id = ""] }: Call): Promise<ApprovalDetails> {
  const approval = await ports.show(id);
  if (approval === undefined) throw new ApiRefusal("not_found", "there is no such approval");
  return approval;
}

const wordSchema = z.strictObject({ reason: z.string().max(1000).optional() });

async function say(ports: ApprovalPorts, call: Call, verdict: "approve" | "deny"): Promise<ApprovalSummary> {
  const { reason } = checked(wordSchema, await call.json());
  const said = await ports.say(call.parameters[0]!, verdict, reason, call.operator);
  if (!said.ok) throw new ApiRefusal(said.reason.code, said.reason.detail);
  return said.value;
}
