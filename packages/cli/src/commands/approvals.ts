// SPDX-License-Identifier: Apache-2.0
import type { ApproveRequest, ApprovalDetails, ApprovalsResponse, ApprovalSummary } from "@postern/contract";
import { visible } from "@postern/server/visible-text";
import { type Command, type Invocation, oneWord, stringFlag, UsageError } from "../command.ts";
import { positiveCount, secondsOf } from "../spans.ts";
import { quotedBytes } from "../quoted-text.ts";

const list: Command = {
  name: "approvals list",
  usage: "approvals list",
  summary: "list requests of agents that wait for a person",
  flags: { all: { type: "boolean", help: "also those that were decided or are over" } },
  run: async ({ control, flags, json, print, words }) => {
    if (words.length > 0) throw new UsageError("it takes no words");
    const query = flags["all"] === true ? "?all" : "";
    const answer = await control.get<ApprovalsResponse>(`/v1/approvals${query}`);
    if (json) print(JSON.stringify(answer));
    else if (answer.approvals.length === 0) print("nothing waits for a person");
    else for (const approval of answer.approvals) print(line(approval));
    return 0;
  },
};

const show: Command = {
  name: "approvals show",
  usage: "approvals show ID",
  summary: "show exactly what would be sent, and who has said what",
  flags: {},
  details:
    "What the agent wrote stands behind `|`. Characters that would deceive a terminal are written as \\u{…}. The credential is placed after approval and is not shown.",
  run: async (invocation) => {
    const id = oneWord(invocation, "id");
    const approval = await invocation.control.get<ApprovalDetails>(`/v1/approvals/${encodeURIComponent(id)}`);
    invocation.print(invocation.json ? JSON.stringify(approval) : details(approval).join("\n"));
    return 0;
  },
};

const reason = { type: "string", value: "TEXT", help: "why, for the audit log" } as const;

const approve: Command = {
  name: "approvals approve",
  usage: "approvals approve ID",
  summary: "let exactly this request pass, as often and as long as the policy says",
  flags: {
    reason,
    for: { type: "string", value: "TIME", help: "yes ahead too, to this operation and model, for so long" },
    uses: { type: "string", value: "COUNT", help: "with --for: for so many more requests" },
  },
  run: (invocation) => {
    const { for: span, uses } = invocation.flags;
    if (span === undefined && uses === undefined) return say(invocation, "approve");
    const grant = { seconds: secondsOf("--for", span), uses: positiveCount("--uses", uses) };
    return say(invocation, "approve", { grant });
  },
};

const deny: Command = {
  name: "approvals deny",
  usage: "approvals deny ID",
  summary: "refuse a request, or take back a yes that was not used yet",
  flags: { reason },
  run: (invocation) => say(invocation, "deny"),
};

export const approvalCommands: readonly Command[] = [list, show, approve, deny];

async function say(
  invocation: Invocation,
  verdict: "approve" | "deny",
  more: Pick<ApproveRequest, "grant"> = {},
): Promise<number> {
  const id = oneWord(invocation, "id");
  const path = `/v1/approvals/${encodeURIComponent(id)}/${verdict}`;
  const why = stringFlag(invocation.flags["reason"]);
  const request: ApproveRequest = { ...more, ...(why === undefined ? {} : { reason: why }) };
  const answer = await invocation.control.post<ApprovalSummary>(path, request);
  invocation.print(invocation.json ? JSON.stringify(answer) : outcome(answer));
  return 0;
}

function outcome({ expiresAt, id, needed, state, usesLeft, votes }: ApprovalSummary): string {
  if (state === "approved")
    return `approval ${id} is given: the agent may send this request ${usesLeft === 1 ? "once" : `${usesLeft} times`} until ${expiresAt}`;
  if (state !== "pending") return `approval ${id} is ${state}`;
  const yes = votes.filter(({ verdict }) => verdict === "approve").length;
  return `approval ${id} has ${yes} of ${needed}: another person has to say yes`;
}

const line = (approval: ApprovalSummary): string =>
  [
    ...[approval.id, approval.state, approval.agent, approval.serverWorkload],
    visible(
      `${approval.operation ?? `${approval.method} ${approval.path}`}${approval.model === undefined ? "" : ` ${approval.model}`}`,
    ),
    `${approval.bodyBytes} bytes`,
    `${approval.votes.filter(({ verdict }) => verdict === "approve").length}/${approval.needed}`,
    `until ${approval.expiresAt}`,
  ].join("  ");

function details(approval: ApprovalDetails): string[] {
  const { request } = approval;
  const said = approval.votes.map(
    ({ at, identity, person, reason: why, verdict }) =>
      `  ${at}  ${verdict}  ${person ?? "an operator"} (${identity})${why === undefined ? "" : `  ${visible(why)}`}`,
  );
  return [
    `approval ${approval.id} is ${approval.state}, until ${approval.expiresAt}`,
    `agent ${approval.agent}${approval.run === undefined ? "" : `, run ${approval.run}`}, at ${approval.serverWorkload}; policies: ${approval.policies.join(", ")}`,
    `needs ${approval.needed} of ${approval.approvers.join(", ")}`,
    ...said,
    `SHA-256 of what would be sent: ${approval.digest}`,
    ...(request === undefined
      ? ["the request is no longer kept"]
      : requestLines(request, approval.credentialProvider)),
  ];
}

function requestLines(
  request: NonNullable<ApprovalDetails["request"]>,
  credentialProvider: string | undefined,
): string[] {
  const body = request.body === undefined ? undefined : Buffer.from(request.body, "base64");
  return [
    `to ${request.authority}, over TLS, with the credential ${credentialProvider === undefined ? "" : `of ${credentialProvider} `}added:`,
    `  | ${visible(`${request.method} ${request.path}${request.query}`)}`,
    ...request.headers.map(([name, value]) => `  | ${visible(`${name}: ${value}`)}`),
    ...(body === undefined ? ["without a body"] : [`body, ${body.length} bytes:`, quotedBytes(body)]),
  ];
}
