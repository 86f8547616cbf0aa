// SPDX-License-Identifier: Apache-2.0
/**
 * How a question looks as a Slack message, and what a click on it says.
 *
 * What the agent wrote stands in `plain_text` only, each line behind a margin, with odd characters spelled out. So are
 * those from which Slack makes mentions and links in other texts: what a receiver does with them does not matter then. The
 * button that says yes is there only where the message shows the whole request.
 */
import type { ApprovalDetails } from "@postern/contract";
import { type Result, ok, refuse } from "../kernel/result.ts";
import { visible } from "../kernel/visible-text.ts";

/** Characters that a text of a block may have: 3,000, less what is put around it. */
const MOST_SHOWN = 2900;

const plain = (text: string) => ({ type: "plain_text", text, emoji: false });

export function approvalMessage(approval: ApprovalDetails): object {
  const shown = requestText(approval);
  const value = `${approval.id}:${approval.digest}`;
  const buttons = [
    ...(shown === undefined
      ? []
      : [{ type: "button", action_id: "postern_approve", style: "primary", text: plain("Approve"), value }]),
    { type: "button", action_id: "postern_deny", style: "danger", text: plain("Deny"), value },
  ];
  const facts = [
    `agent ${approval.agent} at server workload ${approval.serverWorkload}, policies ${approval.policies.join(", ")}`,
    `needs ${approval.needed} of ${approval.approvers.join(", ")}, until ${approval.expiresAt}`,
    ...(approval.credentialProvider === undefined
      ? []
      : [`the credential of ${approval.credentialProvider} is added`]),
    `SHA-256 of what would be sent: ${approval.digest}`,
  ];
  return {
    text: `Agent ${approval.agent} asks for approval ${approval.id}`,
    blocks: [
      { type: "header", text: plain("An agent asks for approval") },
      { type: "section", text: plain(facts.join("\n")) },
      {
        type: "section",
        text: plain(
          shown ?? `The request is too long to be shown here: run postern approvals show ${approval.id}`,
        ),
      },
      { type: "actions", block_id: "postern", elements: buttons },
    ],
  };
}

/** All of it, or undefined where it does not fit or is no text. */
function requestText({ request }: ApprovalDetails): string | undefined {
  if (request === undefined) return undefined;
  const body = Buffer.from(request.body ?? "", "base64");
  const text = body.toString("utf8");
  if (!Buffer.from(text, "utf8").equals(body)) return undefined;
  const lines = [
    `${request.method} https://${request.authority}${request.path}${request.query}`,
    ...request.headers.map(([name, value]) => `${name}: ${value}`),
    "",
    ...text.split("\n"),
  ];
  const shown = lines.map((line) => `| ${inert(line)}`).join("\n");
  return shown.length <= MOST_SHOWN ? shown : undefined;
}

/** `<` begins what Slack interprets, and an entity would be shown as the character that it stands for. */
const inert = (line: string): string =>
  visible(line).replaceAll(
    /<|&(?=#?[A-Za-z0-9]{1,31};)/g,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );

export interface Click {
  readonly verdict: "approve" | "deny";
  /** `slack:`, the workspace's id and the member's. */
  readonly identity: string;
  readonly approval: string;
  /** Of the request that the message showed. */
  readonly digest: string;
}

/** Reads Slack's `block_actions`, as a form with the one field `payload`. Only of a message whose signature held. */
export function readClick(body: Buffer): Result<Click, "malformed"> {
  const fields = new URLSearchParams(body.toString("utf8"));
  const payload = fields.getAll("payload");
  if (payload.length !== 1) return refuse("malformed");
  let said: Payload;
  try {
    said = JSON.parse(payload[0]!) as Payload;
  } catch {
    return refuse("malformed");
  }
  const [action, ...others] = Array.isArray(said?.actions) ? said.actions : [];
  const user = said?.user?.id;
  // The member's own workspace: one channel can be shared by several.
  const team = said?.user?.team_id ?? said?.team?.id;
  const verdict = VERDICTS.get(String(action?.action_id));
  const [, approval, digest] = /^([0-9a-f-]{36}):([0-9a-f]{64})$/.exec(String(action?.value)) ?? [];
  if (said?.type !== "block_actions" || others.length > 0 || verdict === undefined)
    return refuse("malformed");
  if (!isId(user) || !isId(team)) return refuse("malformed");
  if (approval === undefined || digest === undefined) return refuse("malformed");
  return ok({ verdict, identity: `slack:${team}/${user}`, approval, digest });
}

const isId = (value: unknown): value is string => typeof value === "string" && /^[A-Z0-9]{2,30}$/.test(value);

const VERDICTS = new Map([
  ["postern_approve", "approve"],
  ["postern_deny", "deny"],
] as const) as ReadonlyMap<string, "approve" | "deny">;

/** What is believed of its shape: nothing. */
interface Payload {
  readonly type?: unknown;
  readonly user?: { readonly id?: unknown; readonly team_id?: unknown } | null;
  readonly team?: { readonly id?: unknown } | null;
  readonly actions?: readonly ({ readonly action_id?: unknown; readonly value?: unknown } | null)[];
}
