// SPDX-License-Identifier: Apache-2.0
/** While whoever vouches for evidence cannot be asked, or answers with nonsense, the evidence opens nothing, and somebody is told. */
import { generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { createServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TrustProviderSpec } from "@postern/contract";
import {
  createTestAuthority,
  KUBERNETES_ISSUER,
  presignUrl,
  startAwsSts,
  startKubernetes,
  startTokenIssuer,
} from "@postern/testkit";
import { afterAll, describe, expect, test } from "vitest";
import { systemClock } from "../kernel/clock.ts";
import { attestEvidence } from "./attest-evidence.ts";
import { makeTrustProvider } from "./make-trust-provider.ts";

interface Vouched {
  readonly spec: TrustProviderSpec;
  readonly evidence: () => string;
  /** Where whoever vouches answers as it should. */
  readonly port: number;
}

const authority = await createTestAuthority();
const folder = mkdtempSync(join(tmpdir(), "postern-down-"));
const closing: (() => unknown)[] = [() => rmSync(folder, { recursive: true })];
afterAll(() => Promise.all(closing.map((close) => close())));

const GITHUB = "https://token.actions.githubusercontent.com";
const TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const AWS = "https://a103a2cc-b461-473d-84fe-6c4f6d45af88.tokens.sts.global.api.aws";
const ACCOUNT = "123456789012";
const aud = "postern";
const TOKENS: Record<string, [spec: object, issuer: string, claims: object]> = {
  "github-actions": [
    { issuer: GITHUB, ownerIds: ["65"] },
    GITHUB,
    { repository_owner_id: "65", repository_id: "74" },
  ],
  gitlab: [
    { issuer: "https://gitlab.com", namespaceIds: ["72"] },
    "https://gitlab.com",
    { namespace_id: "72", project_id: "20" },
  ],
  "terraform-cloud": [
    { issuer: "https://app.terraform.io", organizationIds: ["org-a"] },
    "https://app.terraform.io",
    { terraform_organization_id: "org-a", terraform_workspace_id: "ws-a" },
  ],
  gcp: [{ serviceAccountIds: ["1122"] }, "https://accounts.google.com", { sub: "1122" }],
  azure: [
    { tenantId: TENANT, tokenVersion: 2 },
    `https://login.microsoftonline.com/${TENANT}/v2.0`,
    { tid: TENANT, oid: "o", sub: "o", azp: "a" },
  ],
  oidc: [
    {
      ...{ issuer: "https://login.corp.example", mapping: {}, algorithms: ["RS256"] },
      singleUse: false,
    },
    "https://login.corp.example",
    { sub: "agent-7" },
  ],
  kubernetes: [
    { issuer: KUBERNETES_ISSUER },
    KUBERNETES_ISSUER,
    {
      sub: "system:serviceaccount:agents:support",
      "kubernetes.io": {
        namespace: "agents",
        pod: { name: "support-1", uid: "u-1" },
        serviceaccount: { name: "support", uid: "u-2" },
      },
    },
  ],
  "aws-iam": [
    { accountIds: [ACCOUNT], issuer: AWS },
    AWS,
    {
      sub: `arn:aws:iam::${ACCOUNT}:role/agents`,
      "https://sts.amazonaws.com/": { aws_account: ACCOUNT },
    },
  ],
};

const cluster = await startKubernetes(authority);
const sts = await startAwsSts(authority);
const svidKeys = generateKeyPairSync("ec", { namedCurve: "P-256" });
const bundle = await startTokenIssuer({
  authority,
  issuer: "https://bundle.partner.example",
  answer: () => ({
    status: 200,
    body: { keys: [{ ...svidKeys.publicKey.export({ format: "jwk" }), kid: "a", use: "jwt-svid" }] },
  }),
});
closing.push(cluster.close, sts.close, bundle.close);
const pod = cluster.addPod("support-1");
const tokenFile = join(folder, "token");
writeFileSync(tokenFile, cluster.ownToken);

function svid(): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: "spiffe://partner.example/a", aud: [aud], exp: now + 300 };
  const signed = [{ alg: "ES256", kid: "a" }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  const key = { key: svidKeys.privateKey, dsaEncoding: "ieee-p1363" as const };
  return `${signed}.${sign("sha256", Buffer.from(signed), key).toString("base64url")}`;
}

function signedRequest(): string {
  const nonce = randomUUID();
  const url = presignUrl(sts.assumeRole("agents", "s"), {
    ...{ host: "sts.eu-west-1.amazonaws.com", region: "eu-west-1", service: "sts", date: new Date() },
    expires: 60,
    headers: { "x-postern-audience": aud, "x-postern-nonce": nonce },
    parameters: { Action: "GetCallerIdentity", Version: "2011-06-15" },
  });
  return `${url}#${nonce}`;
}

const vouched: Record<string, Vouched> = {
  "aws-iam by request": {
    spec: { kind: "aws-iam", audience: aud, accountIds: [ACCOUNT], regions: ["eu-west-1"] },
    ...{ evidence: signedRequest, port: sts.port },
  },
  "kubernetes by its API server": {
    spec: {
      ...{ kind: "kubernetes", issuer: KUBERNETES_ISSUER, audience: aud },
      apiServer: { url: KUBERNETES_ISSUER, tokenFile },
    },
    ...{ evidence: () => cluster.tokenOf(pod, aud), port: cluster.port },
  },
  spiffe: {
    spec: {
      ...{ kind: "spiffe", trustDomain: "partner.example", audience: aud },
      bundleUrl: "https://bundle.partner.example/bundle",
    },
    ...{ evidence: svid, port: bundle.port },
  },
};
const hosts = ["sts.eu-west-1.amazonaws.com", "bundle.partner.example"];
for (const [kind, [spec, issuerName, claims]] of Object.entries(TOKENS)) {
  // eslint-disable-next-line no-await-in-loop
  const issuer = await startTokenIssuer({ authority, issuer: issuerName });
  closing.push(issuer.close);
  hosts.push(new URL(issuerName).hostname);
  vouched[kind] = {
    spec: { kind, audience: aud, ...spec } as TrustProviderSpec,
    evidence: () => issuer.sign({ aud, ...claims }),
    port: issuer.port,
  };
}

/** With everything that leads to whoever vouches leading to `port`. */
async function outcomeAt(port: number, { evidence, spec }: Vouched): Promise<string> {
  const reach = {
    allowedNetworks: ["127.0.0.1/32"],
    caCertificates: authority.certificate,
    connectTo: { address: "127.0.0.1", port },
  };
  const reaching = { ...spec, ...reach } as TrustProviderSpec;
  const there =
    reaching.kind === "kubernetes" && reaching.apiServer !== undefined
      ? { ...spec, apiServer: { ...reaching.apiServer, ...reach } }
      : reaching;
  const joinTokens = { redeem: async () => undefined };
  const provider = makeTrustProvider(there, { clock: systemClock, joinTokens })!;
  const attested = await attestEvidence(provider, Buffer.from(evidence()), {
    ...{ kind: spec.kind, provider: "p", clock: systemClock, useOnce: async () => true },
  });
  return attested.ok ? "proved" : `${attested.reason.outcome} ${attested.reason.reason}`;
}

const { certificate, privateKey } = await authority.issue(hosts);
const sockets = new Set<Socket>();
async function listening(
  server: ReturnType<typeof createTcpServer> | ReturnType<typeof createServer>,
): Promise<number> {
  server.on("connection", (socket: Socket) => void sockets.add(socket.on("error", () => {})));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
const answering = (answer: (response: ServerResponse) => void): Promise<number> =>
  listening(
    createServer({ cert: certificate, key: privateKey }, (request, response) => {
      request.resume();
      response.on("error", () => {});
      answer(response);
    }),
  );

const json = { "content-type": "application/json" };
const OUT: Record<string, () => Promise<number>> = {
  "refuses connections": async () => 1,
  "fails with 500": () => answering((response) => void response.writeHead(500, json).end("{}")),
  "answers with a page": () => answering((response) => void response.end("<html>maintenance</html>")),
  "answers with bytes": () =>
    answering((response) => void response.writeHead(200, json).end(Buffer.from("fffe00c328a0a1", "hex"))),
  "answers with nothing": () => answering((response) => void response.writeHead(200, json).end()),
  "answers with an empty object": () => answering((response) => void response.writeHead(200, json).end("{}")),
  "answers with a list": () => answering((response) => void response.writeHead(200, json).end("[[]]")),
  "breaks off": () =>
    answering((response) => {
      response.writeHead(200, { ...json, "content-length": 1000 });
      response.write('{"keys":[');
      setImmediate(() => response.destroy());
    }),
  "never stops": () =>
    answering((response) => void response.writeHead(200, json).end(Buffer.alloc(2_000_000, "x"))),
  "nests without end": () =>
    answering((response) => void response.writeHead(200, json).end("[".repeat(100_000))),
  redirects: () =>
    answering((response) => void response.writeHead(307, { location: "https://evil.example/" }).end()),
  "sends headers without end": () =>
    answering((response) => {
      response.socket!.write(`HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(20_000)}`);
    }),
  "is no TLS": () => listening(createTcpServer((socket) => void socket.end("HTTP/1.1 200 OK\r\n\r\n{}"))),
};
const HANGING: Record<string, () => Promise<number>> = {
  "takes connections and is silent": () => listening(createTcpServer()),
  "takes requests and is silent": () => answering(() => {}),
  "answers a byte at a time": () =>
    answering((response) => {
      response.writeHead(200, json);
      const timer = setInterval(() => void response.write(" "), 200);
      response.once("close", () => clearInterval(timer));
    }),
};

describe.each(Object.entries(vouched))("evidence of %s", (_, one) => {
  test("proves something while whoever vouches for it answers", async () => {
    expect(await outcomeAt(one.port, one)).toBe("proved");
  });

  test.each(Object.entries(OUT))(
    "opens nothing where it %s, and nobody is to blame",
    async (_name, start) => {
      expect(await outcomeAt(await start(), one)).toMatch(/^unavailable [a-z0-9_]+$/);
    },
  );
});

test.each(Object.entries(HANGING))(
  "no evidence waits longer than its time for an authority that %s",
  { timeout: 30_000 },
  async (_, start) => {
    const port = await start();
    const outcomes = await Promise.all(Object.values(vouched).map((one) => outcomeAt(port, one)));
    for (const outcome of outcomes) expect(outcome).toMatch(/^unavailable (authority|attestation)_timeout$/);
  },
);
