// SPDX-License-Identifier: Apache-2.0
/** The operator's API to requests that wait for a person. */
import type {
  ApprovalDetails,
  ApprovalsResponse,
  ApprovalSummary,
  GrantRequest,
  GrantsResponse,
  GrantSummary,
  ProblemCode,
} from "@postern/contract";
import { z } from "zod";
import type { Result } from "../kernel/result.ts";
import { checked } from "./checked.ts";
import { ApiRefusal, type Call, type Route } from "./router.ts";

interface Operator {
  readonly uid: number;
  readonly pid: number;
}

interface Refused {
  readonly code: ProblemCode;
  readonly detail: string;
}

export interface ApprovalPorts {
  list(which: "pending" | "all"): Promise<readonly ApprovalSummary[]>;
  show(id: string): Promise<ApprovalDetails | undefined>;
  say(
    id: string,
    verdict: "approve" | "deny",
    more: {
      readonly reason?: string | undefined;
      readonly grant?: { readonly seconds: number; readonly uses: number } | undefined;
    },
    operator: Operator,
  ): Promise<Result<ApprovalSummary, Refused>>;
  listGrants(which: "active" | "all"): Promise<readonly GrantSummary[]>;
  giveGrant(request: GrantRequest, operator: Operator): Promise<Result<GrantSummary, Refused>>;
  revokeGrant(id: string, operator: Operator): Promise<Result<GrantSummary, Refused>>;
}

export const approvalRoutes = (ports: ApprovalPorts): readonly Route[] => [
  { method: "GET", path: "/v1/approvals", handler: (call) => list(ports, call) },
  { method: "GET", path: "/v1/approvals/:", handler: (call) => show(ports, call) },
  { method: "POST", path: "/v1/approvals/:/approve", handler: (call) => say(ports, call, "approve") },
  { method: "POST", path: "/v1/approvals/:/deny", handler: (call) => say(ports, call, "deny") },
  { method: "GET", path: "/v1/grants", handler: (call) => listGrants(ports, call) },
  { method: "POST", path: "/v1/grants", handler: (call) => giveGrant(ports, call) },
  { method: "POST", path: "/v1/grants/:/revoke", handler: (call) => revokeGrant(ports, call) },
];

const list = async (ports: ApprovalPorts, { query }: Call): Promise<ApprovalsResponse> => ({
  approvals: await ports.list(query.has("all") ? "all" : "pending"),
});

async function show(ports: ApprovalPorts, { parameters: [id = ""] }: Call): Promise<ApprovalDetails> {
  const approval = await ports.show(id);
  if (approval === undefined) throw new ApiRefusal("not_found", "there is no such approval");
  return approval;
}

const seconds = z.int().min(1).max(86_400);
const uses = z.int().min(1).max(100_000);
const noSchema = z.strictObject({ reason: z.string().max(1000).optional() });
const yesSchema = noSchema.extend({ grant: z.strictObject({ seconds, uses }).optional() });

async function say(ports: ApprovalPorts, call: Call, verdict: "approve" | "deny"): Promise<ApprovalSummary> {
  const schema: z.ZodType<z.infer<typeof yesSchema>> = verdict === "approve" ? yesSchema : noSchema;
  const more = checked(schema, await call.json());
  return valueOf(await ports.say(call.parameters[0]!, verdict, more, call.operator));
}

const listGrants = async (ports: ApprovalPorts, { query }: Call): Promise<GrantsResponse> => ({
  grants: await ports.listGrants(query.has("all") ? "all" : "active"),
});

const names = z.array(z.string().min(1).max(200)).min(1).max(100).optional();
const grantSchema = z
  .strictObject({
    ...{ agent: z.string().max(100), policy: z.string().max(100).optional() },
    ...{ serverWorkload: z.string().max(100).optional(), operations: names, models: names, seconds, uses },
    task: z.string().max(500).optional(),
  })
  .refine(
    ({ policy, serverWorkload }) => (policy === undefined) !== (serverWorkload === undefined),
    "give a policy or a server workload",
  );

async function giveGrant(ports: ApprovalPorts, call: Call): Promise<GrantSummary> {
  return valueOf(await ports.giveGrant(checked(grantSchema, await call.json()), call.operator));
}

async function revokeGrant(ports: ApprovalPorts, call: Call): Promise<GrantSummary> {
  checked(z.strictObject({}), await call.json());
  return valueOf(await ports.revokeGrant(call.parameters[0]!, call.operator));
}

function valueOf<T>(done: Result<T, Refused>): T {
  if (done.ok) return done.value;
  throw new ApiRefusal(done.reason.code, done.reason.detail);
}
