// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { matchAgent } from "./match-agent.ts";

const held = (...selectors: string[]) => new Set(selectors);
const uid = { name: "by-uid", selectors: ["process:uid=1000"] };
const path = { name: "by-path", selectors: ["process:uid=1000", "process:path=/bin/agent"] };

describe("matchAgent", () => {
  test("a socket shared by an agent and another program is nobody's", () => {
    const holders = [
      held("process:uid=1000", "process:path=/bin/agent"),
      held("process:uid=1000", "process:path=/bin/sh"),
    ];
    expect(matchAgent(holders, [path])).toEqual({
      ok: false,
      reason: {
        code: "no_agent_matches",
        nearMisses: [{ agent: "by-path", failed: ["process:path=/bin/agent"] }],
      },
    });
  });

  test("a caller without any holder, and an agent without selectors, never match", () => {
    expect(matchAgent([], [uid]).ok).toBe(false);
    expect(matchAgent([held("process:uid=1000")], [{ name: "anybody", selectors: [] }]).ok).toBe(false);
  });

  test("two agents that match are ambiguous, until the operator names one of them", () => {
    const holders = [held("process:uid=1000", "process:path=/bin/agent")];
    expect(matchAgent(holders, [uid, path])).toEqual({
      ok: false,
      reason: { code: "agent_ambiguous", agents: ["by-path", "by-uid"] },
    });
    expect(matchAgent(holders, [uid, path], "by-uid")).toEqual({ ok: true, value: uid });
  });

  test("naming an agent does not make its selectors hold", () => {
    expect(matchAgent([held("process:uid=1000")], [uid, path], "by-path")).toMatchObject({
      reason: { code: "no_agent_matches", nearMisses: [{ agent: "by-path" }] },
    });
  });

  test("near misses come closest first, three at most", () => {
    const agents = ["d", "c", "b", "a"].map((name, index) => ({
      name,
      selectors: Array.from({ length: index + 1 }, (_, number) => `process:run=${name}${number}`),
    }));
    const result = matchAgent([held("process:uid=1")], agents);
    expect(result).toMatchObject({
      reason: { nearMisses: [{ agent: "d" }, { agent: "c" }, { agent: "b" }] },
    });
    expect(!result.ok && result.reason.code === "no_agent_matches" && result.reason.nearMisses).toHaveLength(
      3,
    );
  });
});
