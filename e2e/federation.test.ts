// SPDX-License-Identifier: Apache-2.0
/** Two trust domains that federate: what each learns of the other, whom that lets in, and whom not. */
import { createPrivateKey, randomUUID, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { StatusResponse } from "@postern/contract";
import { createTestAuthority, type Postern, startPostern } from "@postern/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { field, fieldsOf, svidOf, WorkloadClient } from "./workload-client.ts";

const UID = process.getuid!();
const GATEWAY = "spiffe://partner/postern/gateway";
const workload = (trustDomain: string, more = ""): string => `
kind: TrustProvider
metadata: { name: local }
spec: { kind: process }
---
kind: Agent
metadata: { name: service }
spec:
  trustProvider: local
  selectors: ["process:uid=${UID}"]
  spiffeId: spiffe://${trustDomain}/local/service
${more}`;

let folder: string;
let partner: Postern;
let corp: Postern;
let endpoint: URL;
let at: { partner: WorkloadClient; corp: WorkloadClient };

const indented = (text: string): string => text.replaceAll(/^/gm, "    ");

function federation(bundle: string, more = ""): string {
  return `---
kind: FederatedTrustDomain
metadata: { name: partner }
spec:
  trustDomain: partner
  endpointUrl: https://bundle.partner.example/
  profile: https_spiffe
  endpointSpiffeId: ${GATEWAY}
  connectTo: { address: 127.0.0.1, port: ${endpoint.port} }
  allowedNetworks: [127.0.0.1/32]
  bundle: |
${indented(bundle)}
${more}---
kind: TrustProvider
metadata: { name: partners }
spec: { kind: spiffe, trustDomain: partner, federatedTrustDomain: partner, audience: postern.corp }
---
kind: Agent
metadata: { name: buyer }
spec: { trustProvider: partners, selectors: ["spiffe:id=spiffe://partner/local/service"] }
`;
}

const bundleOf = async (of: Postern): Promise<string> => (await of.postern(["ca", "bundle"])).stdout.trim();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-federation-"));
  const socket = (name: string): string => join(folder, `${name}.sock`);
  const start = (name: string, ...more: string[]): Promise<Postern> =>
    startPostern({ args: ["--trust-domain", name, "--workload-api-socket", socket(name), ...more] });
  [partner, corp] = await Promise.all([
    start("partner", "--bundle-endpoint-listen", "127.0.0.1:0"),
    start("corp"),
  ]);
  const status = JSON.parse((await partner.postern(["status", "--json"])).stdout) as StatusResponse;
  endpoint = new URL(`https://${status.bundleEndpoint}`);
  await partner.apply(workload("partner"));
  await corp.apply(workload("corp", "  federatesWith: [partner]\n") + federation(await bundleOf(partner)));
  at = { partner: new WorkloadClient(socket("partner")), corp: new WorkloadClient(socket("corp")) };
}, 60_000);

afterAll(async () => {
  at?.partner.close();
  at?.corp.close();
  await partner?.stop();
  await corp?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Trust domain → bundle, of the newest answer of a stream. */
function bundles(): () => ReadonlyMap<string, Buffer> {
  let newest = new Map<string, Buffer>();
  at.corp.call("/SpiffeWorkloadAPI/FetchX509Bundles", Buffer.alloc(0), {
    message: (message) => {
      const entries = (fieldsOf(message).get(2) ?? []).map((entry) => fieldsOf(entry));
      newest = new Map(entries.map((entry) => [entry.get(1)![0]!.toString(), entry.get(2)![0]!]));
    },
  });
  return () => newest;
}

async function ask(
  client: WorkloadClient,
  method: string,
  message: Buffer = Buffer.alloc(0),
): Promise<Buffer> {
  const answer = await client.first(method, message);
  if (!Buffer.isBuffer(answer)) throw new Error(`${method} ended with ${answer}`);
  return answer;
}

async function attest(evidence: string): Promise<{ outcome: string; agent?: string; reason?: string }> {
  const file = join(folder, "evidence");
  writeFileSync(file, evidence);
  const words = ["attest", "--provider", "partners", "--evidence-file", file, "--explain", "--json"];
  const { stdout } = await corp.postern(words);
  const { outcome, agent, explanation } = JSON.parse(stdout) as {
    outcome: string;
    agent?: string;
    explanation?: { reason?: string };
  };
  return { outcome, ...(agent === undefined ? {} : { agent }), ...explanation };
}

/** Signed by the key of the SVID, for this audience. */
function proof(svid: ReturnType<typeof svidOf>, audience = "postern.corp"): string {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const header = { alg: "ES256", typ: "x509-svid-proof+jwt", x5c: [svid.certificate.toString("base64")] };
  const signed = `${encode(header)}.${encode({ aud: audience, iat: now, exp: now + 60, jti: randomUUID() })}`;
  const key = createPrivateKey({ key: svid.key, format: "der", type: "pkcs8" });
  return `${signed}.${sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

describe("the bundle endpoint", () => {
  const get = (method = "GET", path = "/") =>
    new Promise<{ status: number; type: string; body: string; peer: string }>((resolve, reject) => {
      const outgoing = request(
        {
          ...{
            host: "127.0.0.1",
            port: endpoint.port,
            method,
            path,
            agent: false,
            rejectUnauthorized: false,
          },
        },
        (answer) => {
          const peer = (answer.socket as TLSSocket).getPeerX509Certificate()?.subjectAltName ?? "";
          let body = "";
          answer.on("data", (chunk) => (body += String(chunk)));
          answer.once("end", () =>
            resolve({
              status: answer.statusCode ?? 0,
              type: answer.headers["content-type"] ?? "",
              body,
              peer,
            }),
          );
        },
      );
      outgoing.once("error", reject);
      outgoing.end();
    });

  it("F4, F5, F6: tells everybody the newest bundle, with an SVID and without asking for one", async () => {
    const { status, type, body, peer } = await get();
    expect([status, type, peer]).toEqual([200, "application/json", `URI:${GATEWAY}`]);
    expect(body.trim()).toBe(await bundleOf(partner));
    expect(JSON.parse(body)).toMatchObject({ spiffe_refresh_hint: 300, spiffe_sequence: expect.any(Number) });
  });

  it("tells nothing else, to nobody who asks otherwise", async () => {
    expect((await get("GET", "/v1/resources")).status).toBe(404);
    expect((await get("POST")).status).toBe(405);
    expect((await get("HEAD")).body).toBe("");
  });

  it("F3: speaks TLS 1.2 and newer only", async () => {
    const open = (maxVersion: "TLSv1.1" | "TLSv1.2") =>
      new Promise<string>((resolve) => {
        const options = {
          host: "127.0.0.1",
          port: Number(endpoint.port),
          minVersion: "TLSv1" as const,
          maxVersion,
        };
        const socket = connectTls({ ...options, ciphers: "DEFAULT@SECLEVEL=0", rejectUnauthorized: false });
        socket.once("secureConnect", () => {
          resolve(socket.getProtocol() ?? "");
          socket.destroy();
        });
        socket.once("error", () => resolve("refused"));
      });
    expect(await open("TLSv1.1")).toBe("refused");
    expect(await open("TLSv1.2")).toBe("TLSv1.2");
  });
});

describe("a workload", () => {
  it("is handed the other domain's bundle where its agent asks for it, and no longer where not", async () => {
    const newest = bundles();
    await expect.poll(() => [...newest().keys()]).toEqual(["spiffe://corp", "spiffe://partner"]);
    await corp.apply(workload("corp"));
    await expect.poll(() => [...newest().keys()]).toEqual(["spiffe://corp"]);
    await corp.apply(workload("corp", "  federatesWith: [partner]\n"));
    await expect.poll(() => newest().size).toBe(2);
  });

  it("can have the other's tokens validated, and is told nothing that only they say", async () => {
    const token = fieldsOf(fieldsOf(await ask(at.partner, "FetchJWTSVID", field(1, "api"))).get(1)![0]!).get(
      2,
    )![0]!;
    const answer = await ask(at.corp, "ValidateJWTSVID", Buffer.concat([field(1, "api"), field(2, token)]));
    expect(fieldsOf(answer).get(1)![0]!.toString()).toBe("spiffe://partner/local/service");
    // The other way round nobody is believed: partner does not federate with corp.
    const own = fieldsOf(fieldsOf(await ask(at.corp, "FetchJWTSVID", field(1, "api"))).get(1)![0]!).get(
      2,
    )![0]!;
    const refused = await at.partner.first(
      "ValidateJWTSVID",
      Buffer.concat([field(1, "api"), field(2, own)]),
    );
    expect(refused).toBe("3");
  });
});

describe("a trust provider of a federated trust domain", () => {
  it("takes its JWT-SVIDs for our audience alone", async () => {
    const token = async (audience: string): Promise<string> =>
      fieldsOf(fieldsOf(await ask(at.partner, "FetchJWTSVID", field(1, audience))).get(1)![0]!)
        .get(2)![0]!
        .toString();
    expect(await attest(await token("postern.corp"))).toMatchObject({ outcome: "matched", agent: "buyer" });
    expect(await attest(await token("other"))).toMatchObject({
      outcome: "refused",
      reason: "audience_wrong",
    });
  });

  it("takes its X.509-SVIDs with a proof of their key, once, and none of another trust domain", async () => {
    const svid = svidOf(await ask(at.partner, "FetchX509SVID"));
    const good = proof(svid);
    expect(await attest(good)).toMatchObject({ outcome: "matched", agent: "buyer" });
    expect(await attest(good)).toMatchObject({ outcome: "refused", reason: "evidence_used_before" });
    expect(await attest(proof(svid, "other"))).toMatchObject({
      outcome: "refused",
      reason: "proof_audience_wrong",
    });
    const own = svidOf(await ask(at.corp, "FetchX509SVID"));
    expect(await attest(proof({ ...own, certificate: svid.certificate }))).toMatchObject({
      reason: "proof_signature_wrong",
    });
    expect(await attest(proof(own))).toMatchObject({ outcome: "refused", reason: "trust_domain_unknown" });
  });

  it("follows a rotation, and takes nothing of what was revoked", async () => {
    const before = svidOf(await ask(at.partner, "FetchX509SVID"));
    for (const words of ["prepare x509", "activate x509-2 --force", "taint x509-1", "revoke x509-1"])
      expect((await partner.postern(["ca", ...words.split(" ")])).code, words).toBe(0);
    // Other settings are read at once: polling takes its five minutes.
    await corp.apply(federation(await bundleOf(partner), "  maxAge: 7200\n"));
    const after = svidOf(await ask(at.partner, "FetchX509SVID"));
    await expect.poll(() => attest(proof(after)), { timeout: 20_000 }).toMatchObject({ outcome: "matched" });
    expect(await attest(proof(before))).toMatchObject({ reason: "not_signed_by_trust_domain" });
  });
});

it("a bundle endpoint with a certificate of the Web is read by its name", async () => {
  const authority = await createTestAuthority();
  const { certificate, privateKey } = await authority.issue(["bundle.web.example"]);
  const [certificateFile, keyFile] = [join(folder, "web.pem"), join(folder, "web-key.pem")];
  writeFileSync(certificateFile, certificate);
  writeFileSync(keyFile, privateKey);
  const files = ["--bundle-endpoint-certificate", certificateFile, "--bundle-endpoint-key", keyFile];
  const web = await startPostern({
    args: ["--trust-domain", "web", "--bundle-endpoint-listen", "127.0.0.1:0", ...files],
  });
  try {
    const { bundleEndpoint } = JSON.parse((await web.postern(["status", "--json"])).stdout) as StatusResponse;
    const port = new URL(`https://${bundleEndpoint}`).port;
    await corp.apply(`
kind: FederatedTrustDomain
metadata: { name: web }
spec:
  trustDomain: web
  endpointUrl: https://bundle.web.example/
  profile: https_web
  connectTo: { address: 127.0.0.1, port: ${port} }
  allowedNetworks: [127.0.0.1/32]
  caCertificates: |
${indented(authority.certificate)}
---
${workload("corp", "  federatesWith: [web]\n")}`);
    const newest = bundles();
    await expect.poll(() => newest().has("spiffe://web")).toBe(true);
  } finally {
    await web.stop();
  }
});

describe("what cannot be meant is refused", () => {
  it.each([
    ["our own trust domain", "trustDomain: partner", "trustDomain: corp", "is Postern's own"],
    [
      "no first bundle for an endpoint that shows an SVID",
      / {2}bundle: \|\n(?: {4}.*\n)+/,
      "",
      "is needed with profile",
    ],
    ["an endpoint without an ID", / {2}endpointSpiffeId: .*\n/, "", "endpointSpiffeId"],
    ["an address that is private", "https://bundle.partner.example/", "https://10.0.0.1/", "endpointUrl"],
    ["an endpoint without TLS", "https://bundle", "http://bundle", "use https://"],
  ])("F1, F2: %s", async (_, part, instead, message) => {
    const text = federation(await bundleOf(partner));
    await expect(corp.apply(text.replace(part, instead))).rejects.toThrow(message);
  });
});
