// SPDX-License-Identifier: Apache-2.0
/**
 * For each kind of trust provider: evidence in the real format, signed by a stand-in of the real authority, taken to the
 * gateway's address by one command; an identity back; and a call through the gateway with it. With one attack each.
 */
import { execFileSync } from "node:child_process";
import { generateKeyPairSync, type KeyObject, randomUUID, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AttestResponse, SELECTOR_NAMES } from "@postern/contract";
import {
  createTestAuthority,
  type Kubernetes,
  KUBERNETES_ISSUER,
  type Postern,
  presignUrl,
  type StandIns,
  startAwsSts,
  startKubernetes,
  startPostern,
  startStandIns,
  startTokenIssuer,
} from "@postern/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GatewayClient, gatewayPort } from "./gateway-client.ts";

const AUDIENCE = "https://postern.corp.example";
const TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const authority = await createTestAuthority();
const closing: (() => unknown)[] = [];

/** How to reach a stand-in in the place of the real thing. */
const reach = (port: number) => ({
  connectTo: { address: "127.0.0.1", port },
  allowedNetworks: ["127.0.0.1/32"],
  caCertificates: authority.certificate,
});

interface Story {
  /** The trust provider, without its audience where it has none. */
  readonly spec: object;
  readonly selectors: readonly string[];
  /** What the template of the agent's SPIFFE ID is filled from, and what it comes to. */
  readonly path: readonly [template: string, filled: string];
  evidence(): string | Promise<string>;
  /** What an attacker presents, and what the log says of it. */
  hostile(): string | Promise<string>;
  readonly reason: string;
}

/** A token of an issuer that signs with its own key whatever its job asks for. */
async function tokenStory(
  issuer: string,
  spec: object,
  claims: object,
  told: Pick<Story, "selectors" | "path" | "reason"> & { hostile: object; names?: readonly string[] },
): Promise<Story> {
  const server = await startTokenIssuer({ authority, issuer, ...(told.names && { names: told.names }) });
  closing.push(() => server.close());
  const usual = { aud: AUDIENCE, ...claims };
  return {
    ...told,
    spec: { audience: AUDIENCE, ...spec, ...reach(server.port) },
    evidence: () => server.sign(usual),
    hostile: () => server.sign({ ...usual, ...told.hostile }),
  };
}

const STORIES: Record<string, () => Promise<Story>> = {
  "github-actions": () =>
    tokenStory(
      "https://token.actions.githubusercontent.com",
      { kind: "github-actions", ownerIds: ["9919"] },
      { repository_id: "74", repository_owner_id: "9919", environment: "prod", ref: "refs/heads/main" },
      {
        selectors: ["github-actions:repository-id=74", "github-actions:environment=prod"],
        path: ["ci/{github-actions.repository-id}", "ci/74"],
        // A repository of somebody else with the same name.
        ...{ hostile: { repository_owner_id: "666" }, reason: "owner_not_listed" },
      },
    ),
  gitlab: () =>
    tokenStory(
      "https://gitlab.com",
      { kind: "gitlab", namespaceIds: ["72"] },
      { namespace_id: "72", project_id: "20", ref: "main", ref_protected: "true" },
      {
        selectors: ["gitlab:project-id=20", "gitlab:ref-protected=true"],
        path: ["gitlab/{gitlab.project-id}", "gitlab/20"],
        ...{ hostile: { ref_protected: "false" }, reason: "no_agent_matches" },
      },
    ),
  "terraform-cloud": () =>
    tokenStory(
      "https://app.terraform.io",
      { kind: "terraform-cloud", organizationIds: ["org-GRNbCjYNpBB6NEBV"] },
      {
        terraform_organization_id: "org-GRNbCjYNpBB6NEBV",
        terraform_workspace_id: "ws-1",
        terraform_run_phase: "plan",
      },
      {
        selectors: ["terraform-cloud:workspace-id=ws-1"],
        path: ["tfc/{terraform-cloud.workspace-id}", "tfc/ws-1"],
        ...{ hostile: { terraform_organization_id: "org-evil" }, reason: "organization_not_listed" },
      },
    ),
  gcp: () =>
    tokenStory(
      "https://accounts.google.com",
      { kind: "gcp", projectIds: ["my-project"] },
      {
        ...{ sub: "113774264463038321964", azp: "113774264463038321964" },
        google: {
          compute_engine: { instance_id: "152986662232938449", project_id: "my-project", zone: "us-west1-a" },
        },
      },
      {
        selectors: ["gcp:project-id=my-project"],
        path: ["gcp/{gcp.instance-id}", "gcp/152986662232938449"],
        ...{ hostile: { google: { compute_engine: { instance_id: "1", project_id: "evil" } } } },
        reason: "project_not_listed",
      },
    ),
  azure: () =>
    tokenStory(
      `https://sts.windows.net/${TENANT}/`,
      { kind: "azure", tenantId: TENANT },
      {
        ...{ tid: TENANT, appid: "aaaaaaaa-0000-0000-0000-000000000001", ver: "1.0", idtyp: "app" },
        oid: "bbbbbbbb-0000-0000-0000-000000000002",
      },
      {
        names: ["login.microsoftonline.com"],
        selectors: ["azure:object-id=bbbbbbbb-0000-0000-0000-000000000002"],
        path: ["azure/{azure.object-id}", "azure/bbbbbbbb-0000-0000-0000-000000000002"],
        // A user's token, got through the same application.
        ...{ hostile: { scp: "user_impersonation" }, reason: "token_of_a_user" },
      },
    ),
  oidc: () =>
    tokenStory(
      "https://login.corp.example/realms/prod",
      {
        kind: "oidc",
        issuer: "https://login.corp.example/realms/prod",
        mapping: { team: "groups" },
        singleUse: true,
      },
      { sub: "svc-7", groups: ["support", "all"] },
      {
        selectors: ["oidc:team=support"],
        path: ["people/{oidc.subject}", "people/svc-7"],
        ...{ hostile: { aud: [AUDIENCE, "https://other.example"] }, reason: "token_audience_wrong" },
      },
    ),
  "aws-iam, token": () =>
    tokenStory(
      "https://a103a2cc-b461-473d-84fe-6c4f6d45af88.tokens.sts.global.api.aws",
      {
        ...{ kind: "aws-iam", accountIds: ["123456789012"] },
        issuer: "https://a103a2cc-b461-473d-84fe-6c4f6d45af88.tokens.sts.global.api.aws",
      },
      {
        sub: "arn:aws:iam::123456789012:role/agents/support",
        "https://sts.amazonaws.com/": {
          aws_account: "123456789012",
          lambda_source_function_arn: "arn:aws:lambda:eu-west-1:123456789012:function:support",
        },
      },
      {
        selectors: ["aws-iam:lambda-function=arn:aws:lambda:eu-west-1:123456789012:function:support"],
        path: ["lambda/{aws-iam.account-id}", "lambda/123456789012"],
        ...{ hostile: { sub: "arn:aws:iam::210987654321:role/agents/support" } },
        reason: "account_inconsistent",
      },
    ),
  "aws-iam, signed request": signedRequest,
  "aws-ec2": identityDocument,
  kubernetes: podToken,
  spiffe: foreignSvid,
  "join-token": async () => ({
    spec: { kind: "join-token" },
    selectors: ["join-token:name=web-1"],
    path: ["joined/{join-token.name}", "joined/web-1"],
    evidence: () => joinToken("web-1"),
    hostile: async () => `${(await joinToken("web-1")).slice(0, -4)}AAAA`,
    reason: "join_token_unknown",
  }),
};

async function signedRequest(): Promise<Story> {
  const sts = await startAwsSts(authority);
  closing.push(() => sts.close());
  const role = sts.assumeRole("agents", "i-0123456789abcdef0");
  const signed = (parameters: Readonly<Record<string, string>>, audience = AUDIENCE): string => {
    const nonce = randomUUID();
    const where = { host: "sts.eu-west-1.amazonaws.com", region: "eu-west-1", service: "sts" };
    const headers = { "x-postern-audience": audience, "x-postern-nonce": nonce };
    return `${presignUrl(role, { ...where, date: new Date(), expires: 60, headers, parameters })}#${nonce}`;
  };
  const parameters = { Action: "GetCallerIdentity", Version: "2011-06-15" };
  return {
    spec: {
      ...{ kind: "aws-iam", audience: AUDIENCE, accountIds: ["123456789012"], regions: ["eu-west-1"] },
      ...reach(sts.port),
    },
    selectors: ["aws-iam:role=agents"],
    path: ["roles/{aws-iam.role}", "roles/agents"],
    evidence: () => signed(parameters),
    // Another action, whose answer the caller writes (CVE-2020-16250).
    hostile: () => signed({ ...parameters, Action: "GetSessionToken" }),
    reason: "request_parameter_malformed",
  };
}

/** As the metadata service answers to `/rsa2048`: CMS by openssl, with the certificate of the region in the settings. */
async function identityDocument(): Promise<Story> {
  const folder = mkdtempSync(join(tmpdir(), "postern-ec2-"));
  closing.push(() => rmSync(folder, { recursive: true }));
  const openssl = (...words: string[]): Buffer =>
    execFileSync("openssl", words, { stdio: ["ignore", "pipe", "ignore"] });
  const signer = (name: string) => {
    const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
    const subject = ["-subj", "/C=US/ST=Washington State/L=Seattle/O=Stand-in"];
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", ...subject, "-keyout", key, "-out", certificate);
    return {
      certificate: readFileSync(certificate, "utf8"),
      sign: (instanceId: string): string => {
        const content = join(folder, "document.json");
        const pendingTime = `${new Date().toISOString().slice(0, 19)}Z`;
        const document = { accountId: "123456789012", instanceId, region: "us-east-1", pendingTime };
        writeFileSync(content, JSON.stringify(document, undefined, 2));
        const words = ["-signer", certificate, "-inkey", key, "-in", content, "-nodetach", "-binary"];
        return openssl("cms", "-sign", ...words, "-outform", "DER", "-md", "sha256").toString("base64");
      },
    };
  };
  const [region, stranger] = [signer("region"), signer("stranger")];
  let count = 0;
  const instance = (): string => `i-${String(++count).padStart(17, "0")}`;
  return {
    spec: {
      ...{ kind: "aws-ec2", accountIds: ["123456789012"], regions: ["us-east-1"] },
      certificates: { "us-east-1": region.certificate },
    },
    selectors: ["aws-ec2:account-id=123456789012"],
    path: ["ec2/{aws-ec2.account-id}", "ec2/123456789012"],
    evidence: () => region.sign(instance()),
    hostile: () => stranger.sign(instance()),
    reason: "message_signature_wrong",
  };
}

let cluster: Kubernetes;
async function podToken(): Promise<Story> {
  cluster = await startKubernetes(authority);
  closing.push(() => cluster.close());
  const tokenFile = join(postern.folder, "own-token");
  writeFileSync(tokenFile, cluster.ownToken, { mode: 0o600 });
  const pod = cluster.addPod("support-0");
  const gone = cluster.addPod("support-1");
  cluster.deletePod(gone);
  return {
    spec: {
      ...{ kind: "kubernetes", issuer: KUBERNETES_ISSUER, audience: AUDIENCE },
      apiServer: { url: KUBERNETES_ISSUER, tokenFile, ...reach(cluster.port) },
    },
    selectors: ["kubernetes:namespace=agents"],
    path: ["{kubernetes.namespace}/{kubernetes.pod-name}", "agents/support-0"],
    evidence: () => cluster.tokenOf(pod, AUDIENCE),
    hostile: () => cluster.tokenOf(gone, AUDIENCE),
    reason: "token_review_denied",
  };
}

/** A JWT-SVID of another trust domain, by the bundle that its operator has published. */
async function foreignSvid(): Promise<Story> {
  const [partner, other] = [1, 2].map(() => generateKeyPairSync("ec", { namedCurve: "P-256" }));
  const entry = { ...partner!.publicKey.export({ format: "jwk" }), kid: "a", use: "jwt-svid" };
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const svid = (key: KeyObject): string => {
    const now = Math.floor(Date.now() / 1000);
    const claims = { sub: "spiffe://partner.example/buyer", aud: [AUDIENCE], iat: now, exp: now + 300 };
    const signed = `${encode({ alg: "ES256", kid: "a", typ: "JWT" })}.${encode(claims)}`;
    return `${signed}.${sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  };
  return {
    spec: {
      ...{ kind: "spiffe", trustDomain: "partner.example", audience: AUDIENCE },
      bundle: JSON.stringify({ keys: [entry], spiffe_sequence: 1 }),
    },
    selectors: ["spiffe:id=spiffe://partner.example/buyer"],
    path: ["partners/{spiffe.trust-domain}", "partners/partner.example"],
    evidence: () => svid(partner!.privateKey),
    hostile: () => svid(other!.privateKey),
    reason: "signature_wrong",
  };
}

const joinToken = async (name: string): Promise<string> =>
  (await postern.postern(["join", "token", name, "--provider", nameOf("join-token")])).stdout.trim();

/** Names of resources for a kind. */
const nameOf = (kind: string): string => kind.replaceAll(/[^a-z0-9]+/g, "-");

let standIns: StandIns;
let postern: Postern;
let port: number;
let folder: string;
const stories = new Map<string, Story>();

beforeAll(async () => {
  standIns = await startStandIns();
  folder = mkdtempSync(join(tmpdir(), "postern-remote-"));
  postern = await startPostern({ args: ["--trust-domain", "corp", "--gateway-listen", "127.0.0.1:0"] });
  await postern.setSecret("openai-key", standIns.secrets["openai-key"]!);
  for (const [kind, start] of Object.entries(STORIES)) stories.set(kind, await start());
  const [, ...documents] = standIns.resources({ agents: [...stories.keys()].map(nameOf) }).split(/^---\n/m);
  const openai = documents.filter((text) =>
    /name: (openai|openai-credential|agents-may-use-openai) /.test(text),
  );
  const registered = [...stories].flatMap(([kind, { path, selectors, spec }]) => [
    { kind: "TrustProvider", metadata: { name: nameOf(kind) }, spec },
    {
      ...{ kind: "Agent", metadata: { name: nameOf(kind) } },
      spec: { trustProvider: nameOf(kind), selectors, spiffeId: `spiffe://corp/${path[0]}` },
    },
  ]);
  await postern.apply([...registered.map((each) => `${JSON.stringify(each)}\n`), ...openai].join("---\n"));
  port = await gatewayPort(postern);
  // What an operator hands out together with the address.
  const { stdout } = await postern.postern(["ca", "bundle", "--pem"]);
  writeFileSync(join(folder, "ca.pem"), stdout);
});
afterAll(async () => {
  await postern?.stop();
  for (const close of closing) await close();
  await standIns?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function attest(
  kind: string,
  evidence: string,
  ...more: string[]
): Promise<AttestResponse & { code: number }> {
  const words = ["attest", "--provider", nameOf(kind), "--evidence-file", "-", "--json"];
  const where = ["--server", `https://localhost:${port}`, "--ca", join(folder, "ca.pem")];
  const { code, stderr, stdout } = await postern.postern([...words, ...where, ...more], { input: evidence });
  if (stdout === "") throw new Error(stderr);
  return { code: code ?? -1, ...(JSON.parse(stdout) as AttestResponse) };
}

async function reasonOf(id: string): Promise<string | undefined> {
  const { stdout } = await postern.postern(["audit", "tail", "--json", "--lines", "20"]);
  const line = stdout.split("\n").find((each) => each.includes(`"uid":"${id}"`)) ?? "{}";
  return (JSON.parse(line) as { unmapped?: { reason?: string } }).unmapped?.reason;
}

/** What the kernel says is not presented. */
const FROM_THE_KERNEL = ["process", "docker", "podman", "container"];

describe("evidence of every kind that can be presented", () => {
  it("has a story here", () => {
    const told = new Set([...stories.keys()].map((kind) => kind.split(",")[0]));
    const kinds = Object.keys(SELECTOR_NAMES).filter((kind) => !FROM_THE_KERNEL.includes(kind));
    expect(told).toEqual(new Set(kinds));
  });

  describe.each(Object.keys(STORIES))("%s", (kind) => {
    it("is told one word where it is hostile, and gets nothing", async () => {
      const story = stories.get(kind)!;
      const files = join(folder, `${nameOf(kind)}-hostile`);
      const { code, id, ...told } = await attest(kind, await story.hostile(), "--write", files);
      expect({ code, ...told }).toEqual({ code: 1, outcome: "refused" });
      expect(() => statSync(files)).toThrow("ENOENT");
      expect(await reasonOf(id)).toBe(story.reason);
    });

    it("becomes an identity, with which its agent calls an API", async () => {
      const story = stories.get(kind)!;
      const files = join(folder, nameOf(kind));
      const evidence = await story.evidence();
      const { code, outcome } = await attest(kind, evidence, "--write", files);
      expect({ code, outcome }).toEqual({ code: 0, outcome: "matched" });
      const read = (name: string): string => readFileSync(join(files, name), "utf8");
      expect(statSync(join(files, "svid_key.pem")).mode & 0o777).toBe(0o600);
      const client = new GatewayClient(port, read("bundle.pem"));
      standIns.openai.forgetRequests();
      const token = read("jwt_svid.token");
      const path = "/openai/v1/chat/completions";
      const type = { "content-type": "application/json" };
      const chat = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }] });
      for (const options of [
        { cert: read("svid.pem"), key: read("svid_key.pem"), headers: type },
        { headers: { ...type, authorization: `Bearer ${token}` } },
      ]) {
        const { body, headers, status } = await client.call({ path, ...options }, chat);
        expect(status, body).toBe(200);
        const why = await postern.postern(["why", String(headers["postern-audit-id"]), "--json"]);
        expect(
          (JSON.parse(why.stdout) as { decision: { unmapped: object } }).decision.unmapped,
        ).toMatchObject({
          ...{ agent: nameOf(kind), outcome: "allow", spiffe_id: `spiffe://corp/${story.path[1]}` },
        });
      }
      expect(standIns.openai.requests).toHaveLength(2);
      expect(JSON.stringify(standIns.openai.requests.map(({ rawHeaders }) => rawHeaders))).not.toContain(
        token,
      );
      const log = await postern.postern(["audit", "tail", "--json", "--lines", "1000"]);
      expect(log.stdout + postern.log).not.toContain(evidence.slice(-60));
    });
  });
});
