// SPDX-License-Identifier: Apache-2.0
/**
 * A pod whose image our release workflow has signed, from its token to a call with the real key; and what becomes of it
 * when the image's signature or attestation is gone, somebody else's, or cannot be asked for.
 */
import { generateKeyPairSync } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { join } from "node:path";
import type { AttestResponse, StatusResponse } from "@postern/contract";
import {
  attestSimply,
  BUNDLE_TYPE,
  createSigstore,
  type Kubernetes,
  KUBERNETES_ISSUER,
  type OciRegistry,
  type Postern,
  SIGN_PREDICATE,
  signBundle,
  type Sigstore,
  signerByKey,
  signSimply,
  simpleSigningPayload,
  type StandIns,
  startKubernetes,
  startOciRegistry,
  startPostern,
  startStandIns,
  statement,
} from "@postern/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

const RELEASE = "https://github.com/corp/agent/.github/workflows/release.yml@refs/heads/main";
const ISSUER = "https://token.actions.githubusercontent.com";
const PROVENANCE = "https://slsa.dev/provenance/v1";
const PLATFORM = signerByKey(generateKeyPairSync("ed25519").privateKey);
const ACCOUNT = { name: "postern", password: "registry-password-8f2a" };
const CHAT = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }] });

let standIns: StandIns;
let cluster: Kubernetes;
let registry: OciRegistry;
let sigstore: Sigstore;
let postern: Postern;
let port: number;

beforeAll(async () => {
  standIns = await startStandIns();
  const { authority } = standIns;
  cluster = await startKubernetes(authority);
  registry = await startOciRegistry({ authority, host: "registry.example", account: ACCOUNT });
  sigstore = await createSigstore();
  postern = await startPostern({ args: ["--trust-domain", "corp", "--gateway-listen", "127.0.0.1:0"] });
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  const reach = (to: { port: number }) => ({
    connectTo: { address: "127.0.0.1", port: to.port },
    allowedNetworks: ["127.0.0.1/32"],
    caCertificates: authority.certificate,
  });
  const [tokenFile, credentialFile] = [
    join(postern.folder, "own-token"),
    join(postern.folder, "docker.json"),
  ];
  const auth = Buffer.from(`${ACCOUNT.name}:${ACCOUNT.password}`).toString("base64");
  await writeFile(tokenFile, cluster.ownToken, { mode: 0o600 });
  await writeFile(credentialFile, JSON.stringify({ auths: { "registry.example": { auth } } }), {
    mode: 0o600,
  });
  const provider = {
    ...{ kind: "kubernetes", issuer: KUBERNETES_ISSUER, audience: "postern" },
    apiServer: { url: KUBERNETES_ISSUER, tokenFile, ...reach(cluster) },
    sigstore: {
      registries: [{ host: "registry.example", credentialFile, ...reach(registry) }],
      trustedRoot: sigstore.trustedRoot,
      signers: [
        { name: "release", identity: RELEASE, issuer: ISSUER, predicates: [PROVENANCE] },
        { name: "platform", publicKey: PLATFORM.publicKey, requireLog: false },
      ],
    },
  };
  const agent = (namespace: string, proof: string) => ({
    trustProvider: "cluster",
    selectors: [`kubernetes:namespace=${namespace}`, `sigstore:${proof}`],
    spiffeId: `spiffe://corp/${namespace}/{kubernetes.service-account}`,
  });
  const agents = {
    support: agent("agents", "signed-by=release"),
    operator: agent("platform", "signed-by=platform"),
    built: agent("built", `predicate=${PROVENANCE}`),
  };
  await postern.apply(
    [
      standIns.resources({ agents: ["support"] }).replaceAll(/kind: Agent\n[^]*?---\n/g, ""),
      JSON.stringify({ kind: "TrustProvider", metadata: { name: "cluster" }, spec: provider }),
      ...Object.entries(agents).map(([name, spec]) =>
        JSON.stringify({ kind: "Agent", metadata: { name }, spec }),
      ),
    ].join("\n---\n"),
  );
  const status = JSON.parse((await postern.postern(["status", "--json"])).stdout) as StatusResponse;
  port = Number(status.gateway!.split(":")[1]);
});
afterEach(() => registry.setFault(undefined));
afterAll(async () => {
  await postern?.stop();
  await Promise.all([standIns?.close(), cluster?.close(), registry?.close()]);
});

function call(options: RequestOptions, body: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const wanted = {
      host: "127.0.0.1",
      port,
      method: "POST",
      agent: false,
      rejectUnauthorized: false,
      ...options,
    };
    const request = httpsRequest(wanted, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("error", reject);
      response.once("end", () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") }),
      );
    });
    request.once("error", reject);
    request.end(body);
  });
}

/** What a pod does: presents its token, and gets an identity or a word. */
async function attest(token: string): Promise<AttestResponse> {
  const evidence = Buffer.from(token).toString("base64");
  const answer = await call(
    { path: "/v1/attest" },
    JSON.stringify({ provider: "cluster", evidence, want: { x509: {} } }),
  );
  return JSON.parse(answer.body) as AttestResponse;
}

/** What an operator sees. */
async function explain(input: string): Promise<string> {
  const words = ["attest", "--provider", "cluster", "--evidence-file", "-", "--explain"];
  return (await postern.postern(words, { input })).stdout;
}

async function auditReasonOf(id: string): Promise<unknown> {
  const { stdout } = await postern.postern(["audit", "tail", "--json", "--lines", "50"]);
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Event);
  return events.find(({ metadata }) => metadata.uid === id)?.unmapped;
}
interface Event {
  readonly metadata: { uid: string };
  readonly unmapped: Record<string, unknown>;
}

const digestOf = (image: string): string => image.slice(image.indexOf("@") + 1);
const simply = async (image: string, identity: string, digest = digestOf(image)) =>
  signSimply(
    await sigstore.byCertificate({ identity, issuer: ISSUER }),
    simpleSigningPayload(digest),
    sigstore.log,
  );

/** Refused with one word to the pod, and with this reason in the log and to the operator. */
async function expectRefused(token: string, reason: string): Promise<void> {
  const refused = await attest(token);
  expect(refused).toEqual({ id: refused.id, outcome: "refused" });
  expect(await auditReasonOf(refused.id)).toMatchObject({
    reason: "no_agent_matches",
    detail: expect.stringContaining(reason),
  });
  expect(await explain(token)).toContain(reason);
}

describe("a pod", () => {
  it("whose image the release workflow has signed gets an identity, and calls an API with it", async () => {
    const image = registry.addImage("corp/agent");
    const signer = await sigstore.byCertificate({ identity: RELEASE, issuer: ISSUER });
    const payload = statement(digestOf(image), SIGN_PREDICATE);
    registry.addReferrer(image, BUNDLE_TYPE, [signBundle(signer, payload, sigstore.log)]);
    const token = cluster.tokenOf(cluster.addPod("support-1", { image }), "postern");
    const attested = await attest(token);
    expect(attested).toMatchObject({ outcome: "matched" });
    const { certificate, privateKey } = attested.identity!.x509!;
    const answer = await call(
      {
        ...{ path: "/openai/v1/chat/completions", cert: certificate, key: privateKey! },
        headers: { authorization: "Bearer placeholder", "content-type": "application/json" },
      },
      CHAT,
    );
    expect(answer.status, answer.body).toBe(200);
    expect(await explain(token)).toContain("sigstore:signed-by=release");
    expect(JSON.stringify(await auditReasonOf(attested.id))).toContain("sigstore:signed-by=release");
  });

  it("loses its identity with its image's signature, within one attestation, and the log says why", async () => {
    const image = registry.addImage("corp/agent");
    const token = cluster.tokenOf(cluster.addPod("support-2", { image }), "postern");
    const refusedFor = async (reason: string): Promise<void> => {
      const refused = await attest(token);
      expect(refused).toEqual({ id: refused.id, outcome: "refused" });
      expect(await auditReasonOf(refused.id)).toMatchObject({
        reason: "no_agent_matches",
        detail: expect.stringContaining(reason),
      });
      const explained = await explain(token);
      expect(explained).toContain(`reason no_agent_matches: image ${image}: ${reason}`);
      expect(explained).toContain("closest: agent support, if it were sigstore:signed-by=release");
    };
    await refusedFor("unsigned");
    registry.putTag(image, "sig", [await simply(image, RELEASE)]);
    expect(await attest(token)).toMatchObject({ outcome: "matched" });
    registry.putTag(image, "sig", [await simply(image, RELEASE.replace("corp", "c0rp"))]);
    await refusedFor("signer_not_listed");
    registry.putTag(image, "sig", [await simply(image, RELEASE, `sha256:${"0".repeat(64)}`)]);
    await refusedFor("signature_of_another_image");
    registry.removeSignatures(image);
    await refusedFor("unsigned");
  });

  it("whose signature is a referrer's bundle loses its identity when another one is in its place", async () => {
    const image = registry.addImage("corp/agent");
    const token = cluster.tokenOf(cluster.addPod("support-5", { image }), "postern");
    const refer = async (identity: string, digest = digestOf(image)) => {
      registry.removeSignatures(image);
      const signer = await sigstore.byCertificate({ identity, issuer: ISSUER });
      const layer = signBundle(signer, statement(digest, SIGN_PREDICATE), sigstore.log);
      registry.addReferrer(image, BUNDLE_TYPE, [layer]);
    };
    await refer(RELEASE);
    expect(await attest(token)).toMatchObject({ outcome: "matched" });
    await refer(RELEASE.replace("release.yml", "test.yml"));
    await expectRefused(token, "signer_not_listed");
    await refer(RELEASE, `sha256:${"0".repeat(64)}`);
    await expectRefused(token, "signature_of_another_image");
    await refer(RELEASE);
    expect(await attest(token)).toMatchObject({ outcome: "matched" });
    registry.removeSignatures(image);
    await expectRefused(token, "unsigned");
  });

  it("whose image a key has signed loses its identity with that signature", async () => {
    const image = registry.addImage("corp/operator");
    const token = cluster.tokenOf(cluster.addPod("operator-1", { image, namespace: "platform" }), "postern");
    const payload = simpleSigningPayload(digestOf(image));
    await expectRefused(token, "unsigned");
    registry.putTag(image, "sig", [signSimply(PLATFORM, payload)]);
    expect(await attest(token)).toMatchObject({ outcome: "matched" });
    registry.putTag(image, "sig", [signSimply(signerByKey(), payload)]);
    await expectRefused(token, "signature_error");
    // A signature by a certificate that is believed for something else opens no door that a key does.
    registry.putTag(image, "sig", [await simply(image, RELEASE)]);
    expect(await attest(token)).toMatchObject({ outcome: "refused" });
    registry.removeSignatures(image);
    await expectRefused(token, "unsigned");
  });

  it("whose image's provenance is attested loses its identity with that attestation", async () => {
    const image = registry.addImage("corp/built");
    const token = cluster.tokenOf(cluster.addPod("built-1", { image, namespace: "built" }), "postern");
    const attestBy = async (identity: string, predicate: string) => {
      const signer = await sigstore.byCertificate({ identity, issuer: ISSUER });
      const payload = statement(digestOf(image), predicate, { buildDefinition: {} });
      registry.putTag(image, "att", [attestSimply(signer, payload, sigstore.log)]);
    };
    // That somebody signed the image says nothing of how it was built.
    registry.putTag(image, "sig", [await simply(image, RELEASE)]);
    expect(await attest(token)).toMatchObject({ outcome: "refused" });
    registry.removeSignatures(image);
    await attestBy(RELEASE, PROVENANCE);
    expect(await attest(token)).toMatchObject({ outcome: "matched" });
    await attestBy(RELEASE, "https://cyclonedx.org/bom");
    await expectRefused(token, "predicate_not_listed");
    await attestBy(RELEASE.replace("main", "fork"), PROVENANCE);
    await expectRefused(token, "signer_not_listed");
    registry.removeSignatures(image);
    await expectRefused(token, "unsigned");
  });

  it("is told that nobody can tell while the registry is down, and is let in when it is back", async () => {
    const image = registry.addImage("corp/agent");
    registry.putTag(image, "sig", [await simply(image, RELEASE)]);
    const token = cluster.tokenOf(cluster.addPod("support-3", { image }), "postern");
    registry.setFault("error");
    const down = await attest(token);
    expect(down).toEqual({ id: down.id, outcome: "unavailable" });
    expect(await auditReasonOf(down.id)).toMatchObject({
      detail: expect.stringContaining("registry_status_503"),
    });
    registry.setFault(undefined);
    expect(await attest(token)).toMatchObject({ outcome: "matched" });
  });

  it("with a container that somebody adds, whose image is not signed, is another one", async () => {
    const image = registry.addImage("corp/agent");
    registry.putTag(image, "sig", [await simply(image, RELEASE)]);
    const pod = cluster.addPod("support-4", { image });
    const token = cluster.tokenOf(pod, "postern");
    expect(await attest(token)).toMatchObject({ outcome: "matched" });
    pod.object["spec"]!["ephemeralContainers"] = [{ name: "debugger", image: "busybox" }];
    expect(await explain(token)).toContain("reason no_agent_matches: image_unknown");
    const other = registry.addImage("library/busybox");
    pod.object["status"]!["ephemeralContainerStatuses"] = [{ name: "debugger", imageID: other }];
    expect(await explain(token)).toContain(`image ${other}: unsigned`);
  });

  it("leaves the registry's password, its token and the pod's own in no log", async () => {
    const log = await postern.postern(["audit", "tail", "--json", "--lines", "1000"]);
    const auth = Buffer.from(`${ACCOUNT.name}:${ACCOUNT.password}`).toString("base64");
    const bearer = registry.requests.flatMap(
      ({ authorization = "" }) => /^Bearer (.*)$/.exec(authorization)?.[1] ?? [],
    );
    expect(bearer.length).toBeGreaterThan(0);
    for (const secret of [ACCOUNT.password, auth, ...bearer])
      expect(log.stdout + postern.log).not.toContain(secret);
  });
});
