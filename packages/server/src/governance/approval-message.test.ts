// SPDX-License-Identifier: Apache-2.0
import type { ApprovalDetails } from "@postern/contract";
import { describe, expect, it } from "vitest";
import { approvalMessage, readClick } from "./approval-message.ts";

const ID = "01a2b3c4-0000-7000-8000-000000000000";
const DIGEST = "a".repeat(64);

const details = (body: Buffer | string, path = "/v1/pay"): ApprovalDetails => ({
  ...{ id: ID, state: "pending", agent: "a", serverWorkload: "w", method: "POST", authority: "h:443" },
  ...{
    path,
    bodyBytes: body.length,
    digest: DIGEST,
    policies: ["p"],
    approvers: ["ann"],
    needed: 1,
    votes: [],
  },
  ...{ createdAt: "t", expiresAt: "t", usesLeft: 0 },
  request: {
    ...{ method: "POST", authority: "h:443", path, query: "?q=1", headers: [["x", "y"]] },
    body: Buffer.from(body as string).toString("base64"),
  },
});

interface Block {
  readonly type: string;
  readonly text?: { readonly type: string; readonly text: string };
  readonly elements?: readonly { readonly action_id: string; readonly value: string }[];
}
const blocksOf = (approval: ApprovalDetails): readonly Block[] =>
  (approvalMessage(approval) as { blocks: readonly Block[] }).blocks;
const actionsOf = (approval: ApprovalDetails): string[] =>
  blocksOf(approval).flatMap(({ elements = [] }) => elements.map(({ action_id }) => action_id));

describe("the message", () => {
  it("gives an agent no markup, no mention and no line of its own", () => {
    const evil = "<!channel> *approved*\n\u202Ereversed\u0007 <https://evil.example|click>";
    const blocks = blocksOf(details(evil, "/<!here>"));
    for (const { text } of blocks) if (text !== undefined) expect(text.type).toBe("plain_text");
    const shown = blocks[2]!.text!.text;
    for (const line of shown.split("\n")) expect(line.startsWith("| ")).toBe(true);
    expect(shown).toContain("\\u{202e}reversed\\u{7}");
    expect(shown).not.toContain("<");
    expect(blocksOf(details("a&lt;b &#60;!channel> c&d=e;"))[2]!.text!.text).toContain(
      "a\\u{26}lt;b \\u{26}#60;!channel> c&d=e;",
    );
    expect((approvalMessage(details("x", "/<!here>")) as { text: string }).text).not.toContain("<!here>");
  });

  it("offers a yes only where it shows the whole request", () => {
    expect(actionsOf(details("short"))).toEqual(["postern_approve", "postern_deny"]);
    expect(actionsOf(details("x".repeat(3000)))).toEqual(["postern_deny"]);
    expect(actionsOf(details("\u202E".repeat(400)))).toEqual(["postern_deny"]);
    expect(actionsOf(details(Buffer.from([0xff, 0xfe])))).toEqual(["postern_deny"]);
    const { request: _, ...over } = details("short");
    expect(actionsOf(over)).toEqual(["postern_deny"]);
  });
});

const form = (payload: unknown): Buffer =>
  Buffer.from(new URLSearchParams({ payload: JSON.stringify(payload) }).toString());
const click = {
  ...{ type: "block_actions", user: { id: "U024BE7LH", team_id: "T024BE7LD" } },
  actions: [{ action_id: "postern_approve", value: `${ID}:${DIGEST}` }],
};

describe("a click", () => {
  it("names one approval, what it showed, and who clicked", () => {
    expect(readClick(form(click))).toEqual({
      ok: true,
      value: { verdict: "approve", identity: "slack:T024BE7LD/U024BE7LH", approval: ID, digest: DIGEST },
    });
  });

  it.each([
    ["of another type", { ...click, type: "view_submission" }],
    ["by nobody", { ...click, user: null }],
    ["by somebody who is another identity", { ...click, user: { id: "uid:0", team_id: "T1" } }],
    ["by a member of no workspace", { ...click, user: { id: "U024BE7LH" } }],
    ["by a member of two", { ...click, user: { id: "U024BE7LH", team_id: "T1/U1" } }],
    ["of two at once", { ...click, actions: [...click.actions, ...click.actions] }],
    ["of none", { ...click, actions: [] }],
    ["of something else", { ...click, actions: [{ ...click.actions[0], action_id: "approve" }] }],
    ["without a digest", { ...click, actions: [{ ...click.actions[0], value: ID }] }],
    ["of no object", null],
    ["of a list", [click]],
  ])("%s is none", (_, payload) => {
    expect(readClick(form(payload))).toEqual({ ok: false, reason: "malformed" });
  });

  it("in no form, or in two, is none", () => {
    for (const body of ["", "payload=", "payload={", `${form(click).toString()}&${form(click).toString()}`])
      expect(readClick(Buffer.from(body)).ok).toBe(false);
  });
});
