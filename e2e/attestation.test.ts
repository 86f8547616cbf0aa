// SPDX-License-Identifier: Apache-2.0
/** Presented evidence against the running server: who it is, who came closest, who is told what, and what the log has. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { AttestResponse } from "@postern/contract";
import {
  createTestAuthority,
  type Kubernetes,
  KUBERNETES_ISSUER,
  startKubernetes,
  type Postern,
  startPostern,
  startTokenIssuer,
  type TokenIssuer,
} from "@postern/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

const ISSUER = "https://token.actions.githubusercontent.com";
const authority = await createTestAuthority();
let issuer: TokenIssuer;
let cluster: Kubernetes;
let postern: Postern;

beforeAll(async () => {
  cluster = await startKubernetes(authority);
  issuer = await startTokenIssuer({ authority, issuer: ISSUER });
  postern = await startPostern({ args: ["--trust-domain", "corp"] });
  const provider = (name: string) => `
kind: TrustProvider
metadata: { name: ${name} }
spec:
  kind: github-actions
  audience: postern
  ownerIds: ["65"]
  connectTo: { address: 127.0.0.1, port: ${issuer.port} }
  allowedNetworks: [127.0.0.1/32]
  caCertificates: ${JSON.stringify(authority.certificate)}
---`;
  const agent = (name: string, trustProvider: string, ...selectors: string[]) => `
kind: Agent
metadata: { name: ${name} }
spec: { trustProvider: ${trustProvider}, selectors: ${JSON.stringify(selectors)} }
---`;
  const templated = `
kind: Agent
metadata: { name: templated }
spec:
  trustProvider: ci
  selectors: [github-actions:repository-id=75]
  spiffeId: "spiffe://corp/ci/{github-actions.repository-id}/{github-actions.environment}"
---`;
  await postern.apply(
    [
      provider("ci"),
      provider("other-ci"),
      "\nkind: TrustProvider\nmetadata: { name: local }\nspec: { kind: process }\n---",
      agent("release", "ci", "github-actions:repository-id=74", "github-actions:environment=prod"),
      agent("nightly", "ci", "github-actions:repository-id=74", "github-actions:event=schedule"),
      templated,
      agent("elsewhere", "other-ci", "github-actions:repository-id=74", "github-actions:environment=dev"),
    ].join(""),
  );
});
afterEach(() => issuer.setFault(undefined));
afterAll(async () => {
  await postern?.stop();
  await issuer?.close();
  await cluster?.close();
});

const claims = { aud: "postern", repository_id: "74", repository_owner_id: "65", environment: "prod" };

async function attest(
  evidence: string,
  ...flags: string[]
): Promise<{ code: number | null; answer: AttestResponse }> {
  const words = ["attest", "--provider", "ci", "--evidence-file", "-", "--json", ...flags];
  const { code, stderr, stdout } = await postern.postern(words, { input: evidence });
  if (stdout === "") throw new Error(stderr);
  return { code, answer: JSON.parse(stdout) as AttestResponse };
}

async function eventOf(id: string): Promise<Record<string, unknown>> {
  const { stdout } = await postern.postern(["audit", "tail", "--json", "--lines", "50"]);
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { metadata: { uid: string } });
  return events.find(({ metadata }) => metadata.uid === id) as unknown as Record<string, unknown>;
}

describe("postern attest", () => {
  it("finds the agent, and the log has what was proved and never the token", async () => {
    const token = issuer.sign(claims);
    const { answer, code } = await attest(token);
    expect({ code, ...answer }).toEqual({ code: 0, id: answer.id, outcome: "matched", agent: "release" });
    const event = await eventOf(answer.id);
    expect(event).toMatchObject({
      class_uid: 3002,
      status_id: 1,
      user: { name: "release" },
      unmapped: { kind: "attestation", provider: "ci", outcome: "matched" },
    });
    const all = await postern.postern(["audit", "tail", "--json", "--lines", "1000"]);
    for (const part of token.split(".").slice(1)) expect(all.stdout + postern.log).not.toContain(part);
  });

  it.each<[string, () => string, string]>([
    ["another owner's", () => issuer.sign({ ...claims, repository_owner_id: "66" }), "owner_not_listed"],
    ["forged", () => `${issuer.sign(claims).slice(0, -4)}AAAA`, "token_signature_wrong"],
    ["made for somebody else", () => issuer.sign({ ...claims, aud: "x" }), "token_audience_wrong"],
    ["no token", () => "hunter2", "token_malformed"],
    [
      "of an agent of another provider",
      () => issuer.sign({ ...claims, environment: "dev" }),
      "no_agent_matches",
    ],
  ])("says the same of evidence that is %s, and the log has the reason", async (_, evidence, reason) => {
    const { answer, code } = await attest(evidence());
    expect({ code, ...answer }).toEqual({ code: 1, id: answer.id, outcome: "refused" });
    expect(await eventOf(answer.id)).toMatchObject({
      status_id: 2,
      unmapped: { outcome: "refused", reason },
    });
  });

  it("refuses what two agents match, and what was used before", async () => {
    const both = issuer.sign({ ...claims, event_name: "schedule" });
    const first = await attest(both, "--explain");
    expect(first.answer.explanation).toMatchObject({
      reason: "agent_ambiguous",
      agents: ["nightly", "release"],
    });
    expect((await attest(both, "--explain")).answer.explanation).toMatchObject({
      reason: "evidence_used_before",
    });
  });

  it("explains what was proved and who came closest, of its own provider only", async () => {
    const { answer } = await attest(issuer.sign({ ...claims, environment: "dev" }), "--explain");
    expect(answer.explanation).toMatchObject({
      reason: "no_agent_matches",
      selectors: expect.arrayContaining(["github-actions:environment=dev"]),
      nearMisses: [
        { agent: "nightly", failed: ["github-actions:event=schedule"] },
        { agent: "release", failed: ["github-actions:environment=prod"] },
        { agent: "templated", failed: ["github-actions:repository-id=75"] },
      ],
    });
  });

  it.each<[string, object, RegExp]>([
    ["owner_not_listed", { repository_owner_id: "66" }, /^it says repository-id=74, owner-id=66, /],
    [
      "token_expired",
      { iat: 1_700_000_000, exp: 1_700_000_300 },
      /^it ended 2023-11-14T22:18:20\.000Z, and here/,
    ],
    [
      "token_not_yet_valid",
      { iat: 4_000_000_000, exp: 4_000_000_300 },
      /^it begins 2096-10-02T07:06:40\.000Z/,
    ],
    ["token_time_missing", { exp: undefined }, /exp is absent$/],
    [
      "token_lives_too_long",
      { iat: 1_700_000_000, exp: 4_000_000_000 },
      /^it lives 2300000000 seconds, and 3600/,
    ],
  ])("explains %s by what the token says", async (reason, change, detail) => {
    const { answer } = await attest(issuer.sign({ ...claims, ...change }), "--explain");
    expect(answer.explanation).toMatchObject({ reason, detail: expect.stringMatching(detail) });
  });

  it("fills the agent's SPIFFE ID from what was proved, or refuses where a value was not", async () => {
    const other = { ...claims, repository_id: "75" };
    const { answer } = await attest(issuer.sign(other), "--explain");
    expect(answer).toMatchObject({
      agent: "templated",
      explanation: { spiffeId: "spiffe://corp/ci/75/prod" },
    });
    const without = await attest(issuer.sign({ ...other, environment: undefined }), "--explain");
    expect(without.answer).toMatchObject({
      outcome: "refused",
      explanation: { reason: "spiffe_id_incomplete" },
    });
    const hostile = await attest(issuer.sign({ ...other, environment: "../../root" }), "--explain");
    expect(hostile.answer).toMatchObject({
      outcome: "refused",
      explanation: { reason: "spiffe_id_incomplete" },
    });
  });

  it("keeps an agent out that was cut", async () => {
    await postern.postern(["cut", "release"]);
    const { answer, code } = await attest(issuer.sign(claims), "--explain");
    expect({ code, reason: answer.explanation?.reason }).toEqual({ code: 1, reason: "agent_cut" });
    await postern.postern(["restore", "release"]);
    expect((await attest(issuer.sign(claims))).answer.outcome).toBe("matched");
  });

  it("says that nobody can tell while the issuer is down, and lets nobody in", async () => {
    const fresh = ["attest", "--provider", "other-ci", "--evidence-file", "-", "--explain"];
    issuer.setFault("error");
    const down = await postern.postern(fresh, { input: issuer.sign({ ...claims, environment: "dev" }) });
    expect(down.code).toBe(1);
    expect(down.stdout).toMatch(/^unavailable: .*\nreason authority_status_503\naudit id /);
  });

  it("knows a pod while it is there, and not a moment longer", async () => {
    const spec = {
      ...{ kind: "kubernetes", issuer: KUBERNETES_ISSUER, audience: "postern" },
      apiServer: {
        url: KUBERNETES_ISSUER,
        tokenFile: join(postern.folder, "own-token"),
        connectTo: { address: "127.0.0.1", port: cluster.port },
        allowedNetworks: ["127.0.0.1/32"],
        caCertificates: authority.certificate,
      },
    };
    const selectors = ["kubernetes:namespace=agents", "kubernetes:pod-label=app=support"];
    await writeFile(spec.apiServer.tokenFile, cluster.ownToken, { mode: 0o600 });
    await postern.apply(
      [
        { kind: "TrustProvider", metadata: { name: "cluster" }, spec },
        { kind: "Agent", metadata: { name: "pod-agent" }, spec: { trustProvider: "cluster", selectors } },
      ]
        .map((resource) => JSON.stringify(resource))
        .join("\n---\n"),
    );
    const pod = cluster.addPod("support-0");
    const words = ["attest", "--provider", "cluster", "--evidence-file", "-", "--explain"];
    const input = cluster.tokenOf(pod, "postern");
    expect((await postern.postern(words, { input })).stdout).toMatch(/^matched: agent pod-agent\n/);
    cluster.deletePod(pod);
    expect((await postern.postern(words, { input })).stdout).toMatch(
      /^refused\nreason token_review_denied\n/,
    );
    const log = await postern.postern(["audit", "tail", "--json", "--lines", "1000"]);
    expect(log.stdout + postern.log).not.toContain(cluster.ownToken);
  });

  it("lets one of many in who come with the same join token, for its own provider, and keeps no token", async () => {
    await postern.apply(
      ["by-hand", "by-other-hand"]
        .map((name) => `kind: TrustProvider\nmetadata: { name: ${name} }\nspec: { kind: join-token }\n---\n`)
        .join("") +
        "kind: Agent\nmetadata: { name: joined }\nspec: { trustProvider: by-hand, selectors: [join-token:name=web-1] }\n",
    );
    const made = await postern.postern(["join", "token", "web-1", "--provider", "by-hand"]);
    const token = made.stdout.trim();
    expect(token).toMatch(/^postern-join-[A-Za-z0-9_-]{43}$/);
    const redeem = (provider: string) =>
      postern.postern(["attest", "--provider", provider, "--evidence-file", "-"], { input: made.stdout });
    expect((await redeem("by-other-hand")).stdout).toMatch(/^refused\n/);
    const answers = await Promise.all(Array.from({ length: 4 }, () => redeem("by-hand")));
    const outcomes = answers.map(({ stdout }) => stdout.split("\n")[0]);
    expect(outcomes.filter((outcome) => outcome === "matched: agent joined")).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === "refused")).toHaveLength(3);
    const log = await postern.postern(["audit", "tail", "--json", "--lines", "1000"]);
    expect(log.stdout).toContain("by-hand/web-1");
    expect(log.stdout + postern.log).not.toContain(token);
    expect((await postern.postern(["join", "token", "web-1", "--provider", "ci"])).code).toBe(1);
  });

  it("has no use for evidence of a local process, and knows the nearest provider", async () => {
    const local = await postern.postern(["attest", "--provider", "local", "--evidence-file", "-"], {
      input: "x",
    });
    expect([local.code, local.stderr]).toEqual([1, expect.stringContaining("comes from the kernel")]);
    const typo = await postern.postern(["attest", "--provider", "cii", "--evidence-file", "-"], {
      input: "x",
    });
    expect(typo.stderr).toContain("did you mean `ci`?");
  });
});
