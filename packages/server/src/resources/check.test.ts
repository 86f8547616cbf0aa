// SPDX-License-Identifier: Apache-2.0
import type { Resource, ResourceOf } from "@postern/contract";
import { describe, expect, test } from "vitest";
import { checkDeletion, checkResources } from "./check.ts";
import { placesOf } from "./places.ts";
import type { ProfileFacts } from "./profile-facts.ts";
import { ResourceSet } from "./resource-set.ts";

const PROFILES = new Map<string, ProfileFacts>(
  [
    { name: "http", hosts: [], operations: [] },
    {
      name: "openai",
      hosts: ["api.openai.com"],
      injection: { kind: "bearer" } as const,
      operations: [
        { name: "chat.completions", method: "POST", path: "/v1/chat/completions", hasModel: true },
        { name: "models.list", method: "GET", path: "/v1/models", hasModel: false },
      ],
    },
  ].map((profile) => [profile.name, profile]),
);

type Spec<K extends Resource["kind"]> = Partial<ResourceOf<K>["spec"]>;

const provider = (name: string): Resource => ({
  kind: "TrustProvider",
  metadata: { name },
  spec: { kind: "process" },
});
const agent = (name: string, spec: Spec<"Agent"> = {}): Resource => ({
  kind: "Agent",
  metadata: { name },
  spec: { trustProvider: "local", selectors: [`process:agent=${name}`], ...spec },
});
const workload = (name: string, spec: Spec<"ServerWorkload"> = {}): Resource => ({
  kind: "ServerWorkload",
  metadata: { name },
  spec: { profile: "openai", port: 443, ...spec },
});
const http = (spec: Spec<"ServerWorkload">): Resource =>
  workload("crm", { profile: "http", hosts: ["crm.example"], injection: { kind: "bearer" }, ...spec });
const credential = (name: string, spec: Spec<"CredentialProvider"> = {}): Resource => ({
  kind: "CredentialProvider",
  metadata: { name },
  spec: { kind: "vault", secret: "s", serverWorkloads: ["openai"], ...spec },
});
const policy = (name: string, spec: Spec<"AccessPolicy"> = {}): Resource => ({
  kind: "AccessPolicy",
  metadata: { name },
  spec: {
    agents: ["support"],
    serverWorkload: "openai",
    credentialProvider: "key",
    allow: { everything: true },
    ...spec,
  },
});

const SOUND = new ResourceSet([
  provider("local"),
  agent("support"),
  workload("openai"),
  credential("key"),
  policy("p"),
]);

function findings(...put: Resource[]): string[] {
  return checkResources(SOUND.with({ put }), { profiles: PROFILES }, placesOf([])).map(
    ({ file, path, message }) => `${file} ${path}: ${message}`,
  );
}

test("a sound set has no findings", () => {
  expect(findings()).toEqual([]);
  expect(findings(http({ connectTo: { address: "93.184.216.34", port: 443 } }))).toEqual([]);
});

describe("references", () => {
  test.each([
    [
      agent("x", { trustProvider: "locl" }),
      "spec.trustProvider: no TrustProvider `locl`; did you mean `local`?",
    ],
    [
      policy("p", { agents: ["support", "suport"] }),
      "spec.agents[1]: no Agent `suport`; did you mean `support`?",
    ],
    [
      policy("p", { serverWorkload: "zzzzzz" }),
      "no ServerWorkload `zzzzzz`; apply it first, or in the same call",
    ],
    [policy("p", { credentialProvider: "kee" }), "no CredentialProvider `kee`; did you mean `key`?"],
    [
      credential("key", { serverWorkloads: ["openai", "opnai"] }),
      "spec.serverWorkloads[1]: no ServerWorkload `opnai`",
    ],
  ])("that lead nowhere are refused with the nearest name (%#)", (resource, expected) => {
    expect(findings(resource).join("\n")).toContain(expected);
  });

  test("to a secret that is not set are told how to set it", () => {
    const context = { profiles: PROFILES, secretNames: new Set(["other"]) };
    expect(checkResources(SOUND, context, placesOf([]))).toMatchObject([
      {
        file: "(stored CredentialProvider key)",
        path: "spec.secret",
        message: expect.stringContaining("postern secret set s"),
      },
    ]);
  });
});

describe("deleting", () => {
  test("what is referred to is refused, naming who refers", () => {
    expect(checkDeletion(SOUND, [{ kind: "ServerWorkload", name: "openai" }])).toEqual([
      {
        kind: "ServerWorkload",
        name: "openai",
        message:
          "ServerWorkload `openai` is still referred to by CredentialProvider `key` (spec.serverWorkloads[0]), AccessPolicy `p` (spec.serverWorkload); change or delete that first",
      },
    ]);
  });

  test("together with who refers is fine", () => {
    const refs = [...SOUND].map(({ kind, metadata }) => ({ kind, name: metadata.name }));
    expect(checkDeletion(SOUND, refs)).toEqual([]);
  });

  test("what is not there is refused with the nearest name", () => {
    expect(checkDeletion(SOUND, [{ kind: "Agent", name: "suport" }])).toMatchObject([
      { message: "no Agent `suport`; did you mean `support`?" },
    ]);
  });
});

describe("unsafe combinations", () => {
  test.each([
    [
      "a credential not bound to the server workload",
      [http({}), policy("q", { serverWorkload: "crm" })],
      "AccessPolicy q) spec.credentialProvider: CredentialProvider `key` is not bound to ServerWorkload `crm`",
    ],
    [
      "two owners of a host and port, one by profile",
      [workload("second", { hosts: ["x.example", "api.openai.com"] })],
      "spec.hosts[1]: api.openai.com:443 already belongs to ServerWorkload `openai`",
    ],
    [
      "two owners by profile",
      [workload("second")],
      "second) spec.profile: api.openai.com:443 already belongs",
    ],
    [
      "an unknown profile",
      [workload("openai", { profile: "opnai" })],
      "spec.profile: no profile `opnai`; did you mean `openai`?",
    ],
    [
      "no host",
      [workload("crm", { profile: "http", injection: { kind: "bearer" } })],
      "names no host; add `hosts`",
    ],
    [
      "no injection",
      [workload("crm", { profile: "http", hosts: ["crm.example"] })],
      "places no credential; add `injection`",
    ],
    [
      "identical selectors in another order",
      [agent("x", { selectors: ["a:b=1", "a:b=2"] }), agent("y", { selectors: ["a:b=2", "a:b=1", "a:b=2"] })],
      "y) spec.selectors: the same selectors as Agent `x`",
    ],
    [
      "an operation not offered",
      [policy("p", { allow: { operations: ["chat.completion"] } })],
      "spec.allow.operations[0]: ServerWorkload `openai` has no operation `chat.completion`; did you mean `chat.completions`?",
    ],
    [
      "models where the profile has none",
      [
        http({}),
        credential("key", { serverWorkloads: ["openai", "crm"] }),
        policy("q", { serverWorkload: "crm", allow: { models: ["m"] } }),
      ],
      "spec.allow.models: profile `http` can carry no model",
    ],
    [
      "models where the listed operations have none",
      [policy("p", { allow: { operations: ["models.list"], modelPatterns: ["*"] } })],
      "spec.allow.modelPatterns: the operations listed can carry no model",
    ],
  ])("%s", (_, resources, expected) => {
    expect(findings(...resources).join("\n")).toContain(expected);
  });

  test("the same host on another port, own operations and a {model} in their path are fine", () => {
    const own = http({ operations: [{ name: "run", method: "POST", path: "/run/{model}:go" }] });
    const bound = credential("key", { serverWorkloads: ["openai", "crm"] });
    const uses = policy("q", { serverWorkload: "crm", allow: { operations: ["run"], models: ["m"] } });
    expect(findings(own, bound, uses, workload("second", { port: 8443 }))).toEqual([]);
  });
});

describe("injections", () => {
  test.each([
    "connection",
    "host",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
  ])("into the header %s are refused", (name) => {
    expect(findings(http({ injection: { kind: "header", name, value: "{secret}" } })).join()).toContain(
      "steers the connection",
    );
  });

  test.each([
    [{ kind: "basic", username: "a:b" }, "no colon"],
    [{ kind: "query", name: "..." }, "must hold a letter"],
    [{ kind: "path", placeholder: "--------" }, "must hold a letter"],
    [{ kind: "path", placeholder: "customers" }, "part of the path of operation `list`"],
  ] as const)("%j is refused", (injection, expected) => {
    const operations = [{ name: "list", method: "GET", path: "/v1/customers" }];
    expect(findings(http({ injection, operations })).join()).toContain(expected);
  });

  test("by other headers, query and path are fine", () => {
    for (const injection of [
      { kind: "header", name: "x-api-key", value: "{secret}" },
      { kind: "query", name: "api_key" },
      { kind: "path", placeholder: "POSTERN_SECRET" },
    ] as const)
      expect(findings(http({ injection }))).toEqual([]);
  });
});

test.each([
  [[{ name: "chat.completions", method: "GET", path: "/" }], "is there already"],
  [
    [
      { name: "x", method: "GET", path: "/a" },
      { name: "y", method: "GET", path: "/a" },
    ],
    "operations[1].path: GET /a is there already",
  ],
  [[{ name: "x", method: "GET", path: "/a/../b" }], "dot segment"],
  [[{ name: "x", method: "GET", path: "//b" }], "empty segment"],
  [[{ name: "x", method: "GET", path: "/{a" }], "brace"],
  [[{ name: "x", method: "GET", path: "/{a}/{a}" }], "a parameter twice"],
  [[{ name: "x", method: "GET", path: "/{a}{b}" }], "two parameters"],
  [[{ name: "x", method: "GET", path: "/x/{a}-{b}:run" }], "two parameters"],
  [[{ name: "x", method: "GET", path: "/%2g" }], "percent-encoding"],
])("operations %j are refused", (operations, expected) => {
  expect(findings(workload("openai", { operations })).join()).toContain(expected);
});

describe("connectTo", () => {
  test.each([
    "127.0.0.1",
    "10.1.2.3",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "224.0.0.1",
    "192.168.0.1",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::127.0.0.1",
    "fe80::1",
    "fd00:ec2::254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:db8::1",
    "ff02::1",
  ])("the special-purpose address %s is refused", (address) => {
    expect(findings(http({ connectTo: { address, port: 443 } })).join()).toContain("special-purpose address");
  });

  test.each([
    ["127.0.0.1", "127.0.0.0/8"],
    ["::ffff:127.0.0.1", "127.0.0.1/32"],
    ["::1", "::1/128"],
    ["169.254.169.254", "169.254.169.254/32"],
  ])("%s is fine inside an allowed network", (address, network) => {
    const inside = { connectTo: { address, port: 443 }, allowedNetworks: [network] };
    expect(findings(http(inside))).toEqual([]);
    expect(findings(http({ ...inside, allowedNetworks: ["192.168.0.0/16", "fd12::/16"] }))).toHaveLength(1);
  });
});

describe("hosts", () => {
  test.each([
    ["localhost", "the machine itself"],
    ["intranet", "is a single label"],
    ["xn--pi-6kc.example", "mixes letters of Latin and Cyrillic"],
  ])("%s is refused", (host, expected) => {
    expect(findings(http({ hosts: ["ok.example", host] })).join()).toContain(expected);
  });

  test("a name that nobody has to resolve may be a single label", () => {
    const spec = { connectTo: { address: "127.0.0.1", port: 8443 }, allowedNetworks: ["127.0.0.1/32"] };
    expect(findings(http({ hosts: ["localhost", "intranet"], ...spec }))).toEqual([]);
  });
});

describe("allowedNetworks", () => {
  test.each([
    "0.0.0.0/0",
    "169.254.0.0/16",
    "169.254.169.254/31",
    "100.64.0.0/10",
    "::/0",
    "fc00::/7",
    "fd00:ec2::/32",
    "fe80::/10",
    "64:ff9b::/96",
  ])("%s is refused as it holds a metadata address", (network) => {
    expect(findings(http({ allowedNetworks: [network] })).join()).toContain("holds the metadata address");
  });

  test("an IPv4-mapped network is refused, exact metadata and ordinary private networks are not", () => {
    expect(findings(http({ allowedNetworks: ["::ffff:10.0.0.0/104"] })).join()).toContain("write it as IPv4");
    expect(
      findings(
        http({ allowedNetworks: ["169.254.169.254/32", "fd00:ec2::254/128", "10.0.0.0/8", "127.0.0.0/8"] }),
      ),
    ).toEqual([]);
  });
});

describe("caCertificates", () => {
  const certificate = `-----BEGIN CERTIFICATE-----
MIIBdjCCARugAwIBAgIUIIPnNCBAM6ceHQPSEblSKFvLcDwwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjEwNDA2NDRaGA8yMTI2MTAyODA0MDY0
NFowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLjJ
PQDxvaaW0vN/2u41DvmXFPLqSdwJIyMaMA3MtnMJSH4UOja5UkcykiX+VncHSU87
sFSo3NSCpkbB6AeN+9SjUzBRMB0GA1UdDgQWBBRKGNjcasHXMd8t/hzR8l21Ul3L
KjAfBgNVHSMEGDAWgBRKGNjcasHXMd8t/hzR8l21Ul3LKjAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0kAMEYCIQDfg4e6o4ZQlMLnFPZgHsYz7AZ8cpfKsOop
FocESJDf2wIhALOuUPrmWIN0SypmPFww1onn2msnYVtYTw9TVi+rmy2d
-----END CERTIFICATE-----
`;

  test.each([
    ["nothing", "", "holds no PEM certificate"],
    ["other text", "hello", "holds no PEM certificate"],
    ["a block that is no certificate", certificate.replace("MII", "AAA"), "PEM block 1 is no certificate"],
    ["a second one cut short", certificate + certificate.slice(0, 100), "not closed"],
    ["another label", certificate.replaceAll("CERTIFICATE", "PUBLIC KEY"), "PEM block 1 is no certificate"],
    [
      "a private key",
      `${certificate}-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n`,
      "holds a private key",
    ],
  ])("with %s are refused, without quoting", (_, caCertificates, expected) => {
    const found = findings(http({ caCertificates })).join();
    expect(found).toContain(expected);
    expect(found).not.toContain("c2VjcmV0");
  });

  test("that can be read are fine", () => {
    expect(findings(http({ caCertificates: certificate + certificate }))).toEqual([]);
  });
});
