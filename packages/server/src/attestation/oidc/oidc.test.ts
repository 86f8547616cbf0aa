// SPDX-License-Identifier: Apache-2.0
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { issuerUnderTest } from "../token/attest-token.fixture.ts";

const { attest, issuer } = await issuerUnderTest(
  {
    kind: "oidc",
    issuer: "https://login.corp.example/realms/prod",
    audience: "postern",
    mapping: { team: "/groups", account: "/https:~1~1corp.example~1claims/account.id", admin: "is_admin" },
    algorithms: ["RS256"],
    singleUse: false,
  },
  "https://login.corp.example/realms/prod",
);
afterEach(() => issuer.setFault(undefined));
afterAll(() => issuer.close());

const claims = {
  sub: "agent-7",
  aud: "postern",
  groups: ["support", "research"],
  is_admin: false,
  "https://corp.example/claims": { "account.id": 42 },
};

describe("a token of any issuer", () => {
  test("proves its subject and what the mapping says, entries of a list each", async () => {
    expect(await attest(issuer.sign(claims))).toEqual([
      "oidc:account=42",
      "oidc:admin=false",
      "oidc:subject=agent-7",
      "oidc:team=research",
      "oidc:team=support",
    ]);
  });

  test.each<[string, object]>([
    ["an object", { groups: { name: "support" } }],
    ["a list in a list", { groups: [["support"]] }],
    ["text with a line end", { groups: "support\n" }],
    ["nothing", { groups: null }],
    ["a fraction", { groups: 1.5 }],
    ["long text", { groups: "x".repeat(1025) }],
  ])("proves no fact by a claim that is %s", async (_, change) => {
    expect(String(await attest(issuer.sign({ ...claims, ...change })))).not.toContain("team");
  });

  test("cannot choose a fact by the name of a property that every object has", async () => {
    const selectors = await attest(issuer.sign(claims), {
      mapping: { team: "constructor", other: "/__proto__/x" },
    });
    expect(selectors).toEqual(["oidc:subject=agent-7"]);
  });

  test("without a subject is refused", async () => {
    expect(await attest(issuer.sign({ ...claims, sub: undefined }))).toBe("subject_missing");
  });

  test.each([
    { jkt: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" },
    { "x5t#S256": "bwcK0esc3ACC3DB2" },
    {},
    "x",
    null,
  ])("that is bound to a key (%j), which nobody shows here, is refused", async (cnf) => {
    expect(await attest(issuer.sign({ ...claims, cnf }))).toBe("token_bound_to_key");
  });

  test("must meet every condition, before any selector counts", async () => {
    const conditions = [
      { claim: "groups", oneOf: ["research"] },
      { claim: "is_admin", oneOf: ["false"] },
    ];
    expect(await attest(issuer.sign(claims), { conditions })).toContain("oidc:team=support");
    expect(await attest(issuer.sign({ ...claims, groups: ["support"] }), { conditions })).toBe(
      "condition_not_met",
    );
    expect(await attest(issuer.sign({ ...claims, is_admin: undefined }), { conditions })).toBe(
      "condition_not_met",
    );
  });

  test("counts once where that is set", async () => {
    const token = issuer.sign(claims);
    expect(await attest(token)).toBeInstanceOf(Array);
    expect(await attest(token, { singleUse: true })).toBeInstanceOf(Array);
    expect(await attest(token, { singleUse: true })).toBe("evidence_used_before");
  });

  test("lives as long as the operator lets it", async () => {
    expect(await attest(issuer.sign(claims), { maxTokenLifetime: 299 })).toBe("token_lives_too_long");
  });

  test("is refused while its issuer cannot be asked, and nobody is let in", async () => {
    issuer.setFault("error");
    expect(await attest(issuer.sign(claims), {})).toBe("authority_status_503");
  });

  test.each([
    ["empty", "", "evidence_empty"],
    ["too large", "a".repeat(65_537), "evidence_too_large"],
    ["no token", "password", "token_malformed"],
  ])("that is %s is refused without asking anybody", async (_, evidence, reason) => {
    const before = issuer.requests.length;
    expect(await attest(evidence, {})).toBe(reason);
    expect(issuer.requests).toHaveLength(before);
  });

  test("that could not pass anyway makes nobody fetch a key", async () => {
    const before = issuer.requests.length;
    expect(await attest(issuer.sign({ ...claims, aud: "other" }), {})).toBe("token_audience_wrong");
    expect(issuer.requests).toHaveLength(before);
  });
});
