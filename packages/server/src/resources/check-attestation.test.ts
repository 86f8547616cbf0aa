// SPDX-License-Identifier: Apache-2.0
import { type ResourceOf, SELECTOR_NAMES, type TrustProviderSpec } from "@postern/contract";
import { signerByKey } from "@postern/testkit";
import { describe, expect, test } from "vitest";
import { checkResources } from "./check.ts";
import { parseResources } from "./parse.ts";
import { placesOf } from "./places.ts";
import { ResourceSet } from "./resource-set.ts";

const providerOf = (spec: TrustProviderSpec): ResourceOf<"TrustProvider"> => ({
  kind: "TrustProvider",
  metadata: { name: "ci" },
  spec,
});
const agentOf = (...selectors: string[]): ResourceOf<"Agent"> => ({
  kind: "Agent",
  metadata: { name: "a" },
  spec: { trustProvider: "ci", selectors },
});
const github: TrustProviderSpec = {
  kind: "github-actions",
  issuer: "https://token.actions.githubusercontent.com",
  audience: "postern",
  ownerIds: ["1"],
};
const findings = (spec: TrustProviderSpec, ...selectors: string[]) =>
  checkResources(
    new ResourceSet([providerOf(spec), agentOf(...selectors)]),
    { profiles: new Map() },
    placesOf([]),
  ).map(({ path, message }) => `${path}: ${message}`);

describe("a selector", () => {
  test("of another kind than its trust provider's is refused", () => {
    expect(findings(github, "process:uid=0")).toEqual([
      "spec.selectors[0]: TrustProvider `ci` is of kind github-actions and proves nothing about process; write github-actions:name=value",
    ]);
  });

  test("that the kind does not have is refused with the nearest name", () => {
    expect(findings(github, "github-actions:ref=main", "github-actions:repositry-id=1")).toEqual([
      "spec.selectors[1]: TrustProvider `ci` proves no `github-actions:repositry-id`; did you mean `github-actions:repository-id=`?",
    ]);
  });

  test("may use what an `oidc` trust provider maps, and nothing else", () => {
    const oidc: TrustProviderSpec = {
      kind: "oidc",
      issuer: "https://issuer.example",
      audience: "postern",
      mapping: { team: "/groups" },
      algorithms: ["RS256"],
      singleUse: false,
    };
    expect(findings(oidc, "oidc:team=a", "oidc:subject=s")).toEqual([]);
    expect(findings(oidc, "oidc:groups=a")).toHaveLength(1);
  });

  test("of signatures needs a trust provider that reads them, and an API server that tells the images", () => {
    const cluster = { kind: "kubernetes", issuer: "https://cluster.example", audience: "postern" } as const;
    const sigstore = {
      registries: [{ host: "ghcr.io" }],
      signers: [{ name: "key", publicKey: signerByKey().publicKey, requireLog: false }],
    };
    const apiServer = { url: "https://cluster.example", tokenFile: "/token" };
    expect(findings({ ...cluster, apiServer, sigstore }, "sigstore:signed-by=key")).toEqual([]);
    expect(findings({ ...cluster, apiServer, sigstore }, "sigstore:signedby=key")).toEqual([
      "spec.selectors[0]: TrustProvider `ci` proves no `sigstore:signedby`; did you mean `sigstore:signed-by=`?",
    ]);
    expect(findings({ ...cluster, apiServer }, "sigstore:signed-by=key")).toEqual([
      "spec.selectors[0]: TrustProvider `ci` verifies no signatures of images; add `sigstore` to it",
    ]);
    expect(findings({ ...cluster, sigstore }, "sigstore:signed-by=key")).toEqual([
      expect.stringContaining("spec.sigstore: needs `apiServer`"),
    ]);
    expect(findings(github, "sigstore:signed-by=key")).toHaveLength(1);
  });

  test("of every name of the contract can be written", () => {
    for (const [kind, names] of Object.entries(SELECTOR_NAMES))
      for (const name of names) expect(`${kind}:${name}=x`).toMatch(/^[a-z0-9-]+:[a-z0-9-]+=.+$/);
  });
});

describe("a trust provider", () => {
  const cluster = { kind: "kubernetes", issuer: "https://kubernetes.default.svc.cluster.local" } as const;

  test.each([
    cluster.issuer,
    "https://kubernetes.default.svc",
    "kubernetes.default.svc",
    "https://kubernetes.default",
  ])("of a cluster may not take tokens for the API server: %s", (audience) => {
    expect(findings({ ...cluster, audience }, "kubernetes:namespace=a")).toEqual([
      expect.stringContaining("spec.audience: is the API server's own"),
    ]);
  });

  test("of a cluster needs keys that can be used, and proves labels only by asking the API server", () => {
    const spec = { ...cluster, audience: "postern" };
    expect(findings({ ...spec, jwks: '{"keys":[]}' }, "kubernetes:namespace=a")).toEqual([
      expect.stringContaining("spec.jwks: holds no key set with a usable key"),
    ]);
    const label = "kubernetes:pod-label=app=a";
    expect(findings(spec, label)).toEqual([expect.stringContaining("proves no `kubernetes:pod-label`")]);
    const apiServer = { url: "https://10.0.0.1", tokenFile: "/t", allowedNetworks: ["169.254.0.0/16"] };
    expect(findings({ ...spec, apiServer }, label)).toEqual([
      expect.stringContaining("spec.apiServer.allowedNetworks[0]: holds the metadata address"),
    ]);
  });

  test("may not reach the metadata address by a wide network, nor a private address that is not listed", () => {
    expect(findings({ ...github, allowedNetworks: ["169.254.0.0/16"] }, "github-actions:ref=x")).toEqual([
      expect.stringContaining("spec.allowedNetworks[0]: holds the metadata address"),
    ]);
    expect(
      findings({ ...github, connectTo: { address: "10.0.0.1", port: 443 } }, "github-actions:ref=x"),
    ).toEqual([expect.stringContaining("spec.connectTo.address: 10.0.0.1 is a special-purpose address")]);
  });

  test("of another trust domain is not of our own, and its bundle can verify a token", () => {
    const spec = { kind: "spiffe", trustDomain: "partner.example", audience: "postern" } as const;
    const found = (more: object, trustDomain?: string) =>
      checkResources(
        new ResourceSet([providerOf({ ...spec, ...more })]),
        { profiles: new Map(), trustDomain },
        placesOf([]),
      ).map(({ path, message }) => `${path}: ${message}`);
    const bundleUrl = "https://bundle.partner.example/b";
    expect(found({ bundleUrl }, "corp")).toEqual([]);
    expect(found({ bundleUrl }, "partner.example")).toEqual([
      expect.stringContaining("spec.trustDomain: is Postern's own"),
    ]);
    expect(found({ bundle: "{}" })).toEqual([
      expect.stringContaining("spec.bundle: the trust bundle has no `keys`"),
    ]);
    expect(found({ bundle: '{"keys":[]}' })).toEqual([expect.stringContaining("spec.bundle: holds no key")]);
    expect(found({ bundleUrl: "https://10.0.0.1/b" })).toEqual([
      expect.stringContaining("spec.bundleUrl: the host is an IP"),
    ]);
  });

  test.each([
    ["https://localhost", "means the machine itself"],
    ["https://10.0.0.1", "is an IP address"],
    ["https://kubernetes", "is a single label"],
    ["https://xn--80ak6aa92e.xn--pple-43d.com", "mixes letters"],
  ])("may not have the issuer %s", (issuer, message) => {
    expect(findings({ ...github, issuer }, "github-actions:ref=x")).toEqual([
      expect.stringMatching(new RegExp(`^spec.issuer: the host .*${message}`)),
    ]);
  });

  test.each<[string, string, string]>([
    ["plain HTTP", "kind: oidc, audience: a, issuer: http://i.example", "spec.issuer: use https://"],
    [
      "a user in the issuer",
      "kind: oidc, audience: a, issuer: https://u@i.example",
      "spec.issuer: use https://",
    ],
    [
      "a query in the issuer",
      "kind: oidc, audience: a, issuer: 'https://i.example?x'",
      "spec.issuer: use https://",
    ],
    ["no audience", "kind: oidc, issuer: https://i.example", "spec: missing `audience`"],
    [
      "an empty audience",
      "kind: oidc, audience: '', issuer: https://i.example",
      "spec.audience: needs at least 1",
    ],
    ["no owner", "kind: github-actions, audience: a", "spec: missing `ownerIds`"],
    [
      "owners by name",
      "kind: github-actions, audience: a, ownerIds: [octocat]",
      "spec.ownerIds[0]: use the numeric",
    ],
    [
      "no list of owners",
      "kind: github-actions, audience: a, ownerIds: []",
      "spec.ownerIds: needs at least 1",
    ],
    ["no namespace", "kind: gitlab, audience: a", "spec: missing `namespaceIds`"],
    ["no organization", "kind: terraform-cloud, audience: a", "spec: missing `organizationIds`"],
    [
      "neither project nor account",
      "kind: gcp, audience: a",
      "spec: needs `projectIds` or `serviceAccountIds`",
    ],
    ["any tenant", "kind: azure, audience: a, tenantId: common", "spec.tenantId: use the tenant's id"],
    [
      "a MAC",
      "kind: oidc, audience: a, issuer: https://i.example, algorithms: [HS256]",
      "spec.algorithms[0]: unknown",
    ],
    [
      "an unknown kind",
      "kind: githb-actions",
      "spec.kind: unknown kind `githb-actions`; did you mean `github-actions`?",
    ],
    [
      "an unknown field",
      "kind: gitlab, audience: a, namespaceIds: ['1'], isuer: x",
      "spec.isuer: unknown key `isuer`; did you mean `issuer`?",
    ],
  ])("with %s is refused where it stands", (_, spec, expected) => {
    const text = `kind: TrustProvider\nmetadata: { name: x }\nspec: { ${spec} }\n`;
    const parsed = parseResources([{ name: "f.yaml", text }]);
    const places = parsed.ok ? [] : parsed.reason;
    expect(places.map(({ message, path }) => `${path}: ${message}`).join("\n")).toContain(expected);
    expect(places[0]).toMatchObject({ file: "f.yaml", line: 3 });
  });
});
