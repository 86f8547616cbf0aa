// SPDX-License-Identifier: Apache-2.0
/** A trust domain below somebody else's authority: who knows its root alone verifies what workloads and the server show. */
import { execFileSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer, connect as connectTls } from "node:tls";
import type { StatusResponse } from "@postern/contract";
import { type Postern, startPostern } from "@postern/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { fieldsOf, WorkloadClient } from "./workload-client.ts";

let folder: string;
let root: string;
let postern: Postern;
let client: WorkloadClient;

const openssl = (...words: string[]): string =>
  execFileSync("openssl", words, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-parent-"));
  const make = (name: string, ...more: string[]): string =>
    openssl(
      ...[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        at(`${name}.key`),
        "-subj",
        `/CN=${name}`,
      ],
      ...["-days", "30", "-addext", "basicConstraints=critical,CA:true"],
      ...["-addext", "keyUsage=critical,keyCertSign,cRLSign", ...more],
    );
  root = make("root");
  writeFileSync(at("root.pem"), root);
  const parent = make("parent", "-CA", at("root.pem"), "-CAkey", at("root.key"));
  writeFileSync(at("chain.pem"), parent + root);
  const files = [
    "--parent-authority-certificate",
    at("chain.pem"),
    "--parent-authority-key",
    at("parent.key"),
  ];
  postern = await startPostern({
    args: [
      ...["--trust-domain", "corp", "--workload-api-socket", at("api.sock")],
      ...["--bundle-endpoint-listen", "127.0.0.1:0", ...files],
    ],
  });
  await postern.apply(`
kind: TrustProvider
metadata: { name: local }
spec: { kind: process }
---
kind: Agent
metadata: { name: service }
spec:
  trustProvider: local
  selectors: ["process:uid=${process.getuid!()}"]
  spiffeId: spiffe://corp/local/service
`);
  client = new WorkloadClient(at("api.sock"));
}, 60_000);

afterAll(async () => {
  client?.close();
  await postern?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** One certificate after the other, DER. */
function certificatesIn(bytes: Buffer): X509Certificate[] {
  const certificates: X509Certificate[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = start + 4 + bytes.readUInt16BE(start + 2);
    certificates.push(new X509Certificate(bytes.subarray(start, end)));
    start = end;
  }
  return certificates;
}

async function svid() {
  const answer = await client.first("FetchX509SVID", Buffer.alloc(0));
  if (!Buffer.isBuffer(answer)) throw new Error(`ended with ${answer}`);
  const fields = fieldsOf(fieldsOf(answer).get(1)![0]!);
  const [chain, key, bundle] = [2, 3, 4].map((number) => fields.get(number)![0]!);
  return { chain: certificatesIn(chain!), key: key!, bundle: certificatesIn(bundle!) };
}

it("a workload gets the certificates between its own and the root, and OpenSSL verifies them by the root alone", async () => {
  const { chain, bundle } = await svid();
  expect(bundle.map(String)).toEqual([root]);
  expect(chain.map(({ issuer }) => issuer)).toEqual([chain[1]!.subject, "CN=parent", "CN=root"]);
  writeFileSync(at("svid.pem"), chain.map(String).join(""));
  const words = [
    "verify",
    "-x509_strict",
    "-CAfile",
    at("root.pem"),
    "-untrusted",
    at("svid.pem"),
    at("svid.pem"),
  ];
  expect(openssl(...words)).toContain("OK");
});

it("a server that knows the root alone lets a workload in by TLS", async () => {
  const { chain, key } = await svid();
  const own = {
    cert: chain.map(String).join(""),
    key: createPrivateKey({ key, format: "der", type: "pkcs8" }).export({ format: "pem", type: "pkcs8" }),
  };
  const server = createServer({ ...own, ca: root, requestCert: true, rejectUnauthorized: true }, (socket) => {
    socket.end(socket.getPeerX509Certificate()!.subjectAltName ?? "");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as { port: number };
    const text = await new Promise<string>((resolve, reject) => {
      const socket = connectTls({
        ...own,
        ...{ host: "127.0.0.1", port, ca: root, checkServerIdentity: () => undefined },
      });
      let said = "";
      socket.on("data", (chunk) => (said += String(chunk)));
      socket.once("end", () => resolve(said)).once("error", reject);
    });
    expect(text).toBe("URI:spiffe://corp/local/service");
  } finally {
    server.close();
  }
});

it("the server's own SVID goes out with the same certificates", async () => {
  const { bundleEndpoint } = JSON.parse(
    (await postern.postern(["status", "--json"])).stdout,
  ) as StatusResponse;
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const { port } = new URL(`https://${bundleEndpoint}`);
    const options = { host: "127.0.0.1", port, ca: root, agent: false, checkServerIdentity: () => undefined };
    request(options, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    })
      .once("error", reject)
      .end();
  });
  expect(status).toBe(200);
});

it("the authority below is rotated under the same root, and says why it cannot be revoked", async () => {
  const before = await svid();
  for (const words of ["prepare x509", "activate x509-2 --force", "taint x509-1"])
    expect((await postern.postern(["ca", ...words.split(" ")])).code, words).toBe(0);
  const after = await svid();
  expect(after.chain[1]!.fingerprint256).not.toBe(before.chain[1]!.fingerprint256);
  expect(after.bundle.map(String)).toEqual([root]);
  const refused = await postern.postern(["ca", "revoke", "x509-1"]);
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain("have one parent");
});
