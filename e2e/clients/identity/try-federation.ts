// SPDX-License-Identifier: Apache-2.0
/** Federation with go-spiffe, in both profiles and both ways: it reads our trust bundle, and we read its. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { StatusResponse } from "@postern/contract";
import { createTestAuthority, type Postern, startPostern } from "@postern/testkit";
import { fieldsOf, WorkloadClient } from "../../workload-client.ts";

interface Said {
  readonly event: "serving" | "fetched" | "refused" | "rotated" | "error";
  /** `serving`: where, the bundle to begin with, and who vouches for the certificate of the Web. */
  readonly spiffe?: string;
  readonly web?: string;
  readonly bundle?: string;
  readonly roots?: string;
  /** `fetched`: what the bundle has. */
  readonly x509?: number;
  readonly jwt?: number;
  readonly sequence?: number;
  readonly hint?: number;
  readonly error?: string;
}

interface Partner {
  next(): Promise<Said>;
  ask(wish: object): Promise<Said>;
  stop(): void;
}

const GATEWAY = "spiffe://corp/postern/gateway";
/** Its bundle says that it should be read every ten seconds. */
const READ_AGAIN = 30_000;

function startPartner(program: string): Partner {
  const child = spawn(program, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<Said> => {
    const { value } = (await lines.next()) as { value: string | undefined };
    const said = value === undefined ? undefined : (JSON.parse(value) as Said);
    if (said === undefined || said.event === "error")
      throw new Error(`go-spiffe: ${said?.error ?? "has ended"}`);
    return said;
  };
  const ask = (wish: object): Promise<Said> => {
    child.stdin.write(`${JSON.stringify(wish)}\n`);
    return next();
  };
  return { next, ask, stop: () => void child.kill() };
}

async function told(postern: Postern, ...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await postern.postern(words);
  if (code !== 0) throw new Error(`${words.join(" ")}: ${stderr}`);
  return stdout.trim();
}

const portOf = (address: string): string => address.slice(address.lastIndexOf(":") + 1);

async function endpointPort(postern: Postern): Promise<string> {
  const { bundleEndpoint } = JSON.parse(await told(postern, "status", "--json")) as StatusResponse;
  return portOf(bundleEndpoint ?? "");
}

function demand(what: string, seen: Said, wanted: Partial<Said>): void {
  for (const [name, value] of Object.entries(wanted))
    if (seen[name as keyof Said] !== value)
      throw new Error(`${what}: expected ${JSON.stringify(wanted)}, saw ${JSON.stringify(seen)}`);
}

/** go-spiffe as client of ours: `https_spiffe`, through a rotation of the authority that signs the endpoint's own SVID. */
async function tryOurEndpoint(corp: Postern, partner: Partner): Promise<void> {
  const url = `https://127.0.0.1:${await endpointPort(corp)}/`;
  const fetch = (ID: string, Bundle: string): Promise<Said> =>
    partner.ask({ Do: "fetch", TrustDomain: "corp", URL: url, ID, Bundle });
  const before = await told(corp, "ca", "bundle");
  const first = await fetch(GATEWAY, before);
  demand("our bundle", first, { event: "fetched", x509: 1, jwt: 1, hint: 300 });
  demand("by another ID", await fetch("spiffe://corp/another", before), { event: "refused" });
  await told(corp, "ca", "prepare", "x509");
  const between = await fetch(GATEWAY, before);
  demand("our bundle after prepare", between, { event: "fetched", x509: 2 });
  if (between.sequence! <= first.sequence!) throw new Error("the sequence did not grow");
  const both = await told(corp, "ca", "bundle");
  await told(corp, "ca", "activate", "x509-2", "--force");
  await told(corp, "ca", "taint", "x509-1");
  await told(corp, "ca", "revoke", "x509-1");
  demand("our bundle after revoke", await fetch(GATEWAY, both), { event: "fetched", x509: 1 });
  demand("by what was revoked", await fetch(GATEWAY, before), { event: "refused" });
}

/** The same in `https_web`. */
async function tryOurWebEndpoint(folder: string, partner: Partner): Promise<void> {
  const [authority, another] = await Promise.all([createTestAuthority(), createTestAuthority()]);
  const { certificate, privateKey } = await authority.issue(["127.0.0.1"]);
  const [certificateFile, keyFile] = [join(folder, "endpoint.pem"), join(folder, "endpoint-key.pem")];
  writeFileSync(certificateFile, certificate);
  writeFileSync(keyFile, privateKey);
  const files = ["--bundle-endpoint-certificate", certificateFile, "--bundle-endpoint-key", keyFile];
  const ours = await startPostern({
    args: ["--trust-domain", "ours.example", "--bundle-endpoint-listen", "127.0.0.1:0", ...files],
  });
  try {
    const URL = `https://127.0.0.1:${await endpointPort(ours)}/`;
    const fetch = (Roots: string): Promise<Said> =>
      partner.ask({ Do: "fetch", TrustDomain: "ours.example", URL, Roots });
    demand("by the Web", await fetch(authority.certificate), { event: "fetched", x509: 1, jwt: 1 });
    demand("by other roots", await fetch(another.certificate), { event: "refused" });
  } finally {
    await ours.stop();
  }
}

const federated = (name: string, address: string, more: object): object => ({
  kind: "FederatedTrustDomain",
  metadata: { name },
  spec: {
    trustDomain: `${name}.example`,
    endpointUrl: `https://bundle.${name}.example/`,
    connectTo: { address: "127.0.0.1", port: Number(portOf(address)) },
    allowedNetworks: ["127.0.0.1/32"],
    ...more,
  },
});

/** go-spiffe as server: both profiles, and an endpoint whose authority only its newest bundle knows. */
async function tryTheirEndpoints(corp: Postern, socket: string, partner: Partner): Promise<void> {
  const { bundle, roots, spiffe, web } = await partner.next();
  const selectors = [`process:uid=${process.getuid!()}`];
  const federatesWith = ["partner", "web"];
  const bySpiffe = { profile: "https_spiffe", endpointSpiffeId: "spiffe://partner.example/bundle-endpoint" };
  const resources = [
    { kind: "TrustProvider", metadata: { name: "local" }, spec: { kind: "process" } },
    federated("partner", spiffe!, { ...bySpiffe, bundle }),
    federated("web", web!, { profile: "https_web", caCertificates: roots }),
    {
      kind: "Agent",
      metadata: { name: "service" },
      spec: { trustProvider: "local", selectors, spiffeId: "spiffe://corp/local/service", federatesWith },
    },
  ];
  await corp.apply(resources.map((each) => JSON.stringify(each)).join("\n---\n"));
  const client = new WorkloadClient(socket);
  try {
    const known = followBundles(client);
    // Two authorities: the bundle to begin with has one.
    const before = await known("both endpoints were read", (of) => of("partner") === 2 && of("web") === 1);
    demand("rotate", await partner.ask({ Do: "rotate" }), { event: "rotated" });
    const after = await known("the endpoint was read by its newest authority", (of) => of("partner") === 1);
    if (!before.get("partner")!.includes(after.get("partner")!))
      throw new Error("the authority was not known");
    if (!before.get("web")!.equals(after.get("web")!)) throw new Error("another bundle has changed");
  } finally {
    client.close();
  }
}

/** Certificates of one trust domain, one after the other. */
function certificatesIn(bundle: Buffer | undefined): number {
  let count = 0;
  for (let at = 0; bundle !== undefined && at < bundle.length; count++) at += 4 + bundle.readUInt16BE(at + 2);
  return count;
}

function followBundles(client: WorkloadClient) {
  let newest: ReadonlyMap<string, Buffer> = new Map();
  let look = (): void => {};
  client.call("/SpiffeWorkloadAPI/FetchX509Bundles", Buffer.alloc(0), {
    message(message) {
      const entries = (fieldsOf(message).get(2) ?? []).map((entry) => fieldsOf(entry));
      const name = (id: Buffer): string => id.toString().replace(/^spiffe:\/\/|\.example$/g, "");
      newest = new Map(entries.map((entry) => [name(entry.get(1)![0]!), Buffer.from(entry.get(2)![0]!)]));
      look();
    },
  });
  return (what: string, holds: (count: (name: string) => number) => boolean): Promise<typeof newest> =>
    new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`not seen: ${what}`)), READ_AGAIN);
      look = () => {
        if (!holds((name) => certificatesIn(newest.get(name)))) return;
        clearTimeout(late);
        resolve(newest);
      };
      look();
    });
}

export async function tryFederation(folder: string, program: string): Promise<void> {
  const socket = join(folder, "federation.sock");
  const partner = startPartner(program);
  try {
    const corp = await startPostern({
      args: [
        ...["--trust-domain", "corp", "--workload-api-socket", socket],
        ...["--bundle-endpoint-listen", "127.0.0.1:0"],
      ],
    });
    try {
      await tryTheirEndpoints(corp, socket, partner);
      await tryOurEndpoint(corp, partner);
    } finally {
      await corp.stop();
    }
    await tryOurWebEndpoint(folder, partner);
  } finally {
    partner.stop();
  }
}
