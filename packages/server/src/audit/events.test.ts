// SPDX-License-Identifier: Apache-2.0
import canonicalize from "canonicalize";
import { describe, expect, it } from "vitest";
import { attestationEvent } from "./attestation-event.ts";
import {
  agentStateEvent,
  resourceChangeEvent,
  runEvent,
  secretChangeEvent,
  serverEvent,
} from "./change-events.ts";
import type { AuditEvent } from "./event-frame.ts";
import { decisionEvent, outcomeEvent } from "./events.ts";
import { MAX_ENTRY_BYTES } from "./tile-paths.ts";

const id = "01890000-0000-7000-8000-000000000001";
const base = { id, time: 1_767_225_600_000 };
const decision = {
  ...base,
  agent: "support-agent",
  selectors: ["process:uid:1000"],
  serverWorkload: "openai",
  method: "POST",
  host: "api.openai.com",
  path: "/v1/chat/completions",
  outcome: "deny",
  code: "access_denied",
  reasons: ["no_matching_policy"],
  policies: [],
  mode: "base-url",
} as const;
const outcome = {
  ...base,
  decisionId: id,
  bytesIn: 1,
  bytesOut: 2,
  durationMs: 3,
  scrubbed: 0,
  ended: "complete",
} as const;

const attestation = {
  ...base,
  outcome: "refused",
  provider: "ci",
  providerKind: "oidc",
  evidenceDigest: "00",
  selectors: [],
  operatorUid: 0,
} as const;

const bytesOf = (event: AuditEvent): number => Buffer.byteLength(canonicalize(event)!);

describe("an event", () => {
  it.each(["x", "é", "\u2028", "\u0000", '"', "\\", "\uD800", "😀"])(
    "stays an entry when every text is huge: %j",
    (character) => {
      const huge = character.repeat(20_000);
      const list = Array.from({ length: 100 }, () => huge);
      const process = { pid: 1, path: huge, sha256: huge };
      const names = { id: huge, agent: huge, run: huge, serverWorkload: huge, code: huge };
      const event = decisionEvent({
        ...decision,
        ...names,
        process,
        selectors: list,
        operation: huge,
        model: huge,
        method: huge,
        host: huge,
        path: huge,
        detail: huge,
        mode: huge,
        reasons: list,
        policies: list,
        credentialProvider: huge,
        policyDigest: huge,
      });
      expect(bytesOf(event)).toBeLessThan(MAX_ENTRY_BYTES);
      const usage = Object.fromEntries(list.map((value, index) => [index + value, index]));
      expect(bytesOf(outcomeEvent({ ...outcome, ...names, decisionId: huge, usage }))).toBeLessThan(
        MAX_ENTRY_BYTES,
      );
      expect(bytesOf(agentStateEvent({ ...base, change: "cut", agent: huge, reason: huge }))).toBeLessThan(
        8192,
      );
      const { agent } = names;
      const texts = {
        agent,
        provider: huge,
        providerKind: huge,
        reason: huge,
        detail: huge,
        evidenceDigest: huge,
      };
      expect(bytesOf(attestationEvent({ ...attestation, ...texts, selectors: list }))).toBeLessThan(
        MAX_ENTRY_BYTES,
      );
    },
  );

  it("shows that and how much was cut off", () => {
    const event = decisionEvent({ ...decision, agent: "a".repeat(300), policies: Array(20).fill("p") });
    expect(event.unmapped["agent"]).toBe(`${"a".repeat(256)}…[+44]`);
    expect((event.unmapped["policies"] as string[]).at(-1)).toBe("…[+4]");
  });

  it("holds no query and no fragment, even if the path comes with one", () => {
    for (const path of ["/v1?key=canary", "/v1#canary", "/v1?a#canary"]) {
      expect(canonicalize(decisionEvent({ ...decision, path }))).not.toContain("canary");
    }
  });

  it("holds no control character that a terminal would obey", () => {
    const event = canonicalize(
      decisionEvent({ ...decision, agent: "a\u001b[2Jb\n\u009b\u2028", path: "/\r\u0007\u202E" }),
    );
    expect(event).not.toMatch(/\\u00|\\n|\\r|[\p{Cc}\u2028\u202E]/u);
  });

  it("survives numbers that JSON has no form for", () => {
    const event = outcomeEvent({
      ...outcome,
      durationMs: Number.NaN,
      usage: { inputTokens: Infinity, outputTokens: 4 },
    });
    expect(canonicalize(event)).toContain('"usage":{"outputTokens":4}');
  });

  it.each<[string, AuditEvent, number, number]>([
    ["a decision", decisionEvent(decision), 6003, 1],
    ["a read", decisionEvent({ ...decision, method: "GET" }), 6003, 2],
    [
      "a request that could not be read",
      decisionEvent({ ...base, outcome: "deny", selectors: [], reasons: [], policies: [] }),
      6003,
      99,
    ],
    ["an odd method", decisionEvent({ ...decision, method: "PROPFIND" }), 6003, 99],
    ["a method named like a property", decisionEvent({ ...decision, method: "constructor" }), 6003, 99],
    ["an outcome", outcomeEvent(outcome), 6003, 99],
    ["evidence", attestationEvent(attestation), 3002, 1],
    [
      "a resource",
      resourceChangeEvent({ ...base, change: "create", resourceKind: "Agent", name: "a" }),
      3004,
      1,
    ],
    [
      "a deletion",
      resourceChangeEvent({ ...base, change: "delete", resourceKind: "Agent", name: "a" }),
      3004,
      4,
    ],
    ["a secret", secretChangeEvent({ ...base, change: "set", name: "openai-key", version: 3 }), 3004, 3],
    ["a cut", agentStateEvent({ ...base, change: "cut", agent: "a", operatorUid: 1000 }), 3001, 5],
    ["a restore", agentStateEvent({ ...base, change: "restore", agent: "a", operatorUid: 1000 }), 3001, 2],
    ["a run", runEvent({ ...base, change: "open", run: "r", agent: "a", isolated: false }), 6002, 3],
    ["a stop", serverEvent({ ...base, change: "stop", version: "0.1.0" }), 6002, 4],
  ])("has what its OCSF class requires: %s", (_, event, classUid, activity) => {
    expect(event).toMatchObject({
      class_uid: classUid,
      category_uid: Math.floor(classUid / 1000),
      activity_id: activity,
      type_uid: classUid * 100 + activity,
      time: base.time,
      severity_id: expect.any(Number),
      status_id: expect.any(Number),
      metadata: { version: "1.8.0", uid: id, product: { name: "Postern", vendor_name: "Postern" } },
    });
    const required: Record<number, string[]> = {
      3001: ["user"],
      3002: ["user", "service"],
      3004: ["entity"],
      6002: ["app"],
      6003: ["actor", "api", "src_endpoint"],
    };
    for (const attribute of required[classUid]!) expect(event[attribute]).toEqual(expect.any(Object));
  });

  it("of a denial says so in OCSF's words and in ours", () => {
    expect(decisionEvent(decision)).toMatchObject({
      action_id: 2,
      disposition_id: 2,
      status_id: 2,
      status_code: "access_denied",
      unmapped: { kind: "decision", outcome: "deny", reasons: ["no_matching_policy"] },
    });
  });

  it("of an outcome fails when the answer was an error, the stream was cut or it was refused", () => {
    const failed = [{ status: 500 }, { ended: "cut" as const }, { code: "upstream_timeout" }];
    expect(failed.map((more) => outcomeEvent({ ...outcome, ...more })["status_id"])).toEqual([2, 2, 2]);
    expect(outcomeEvent({ ...outcome, status: 200 })["status_id"]).toBe(1);
  });
});
