// SPDX-License-Identifier: Apache-2.0
/** An internal API and the gateway prove to each other who they are, by the same trust domain, or nothing is sent. */
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import type { IssuedIdentity } from "@postern/contract";
import { createTestAuthority, newMarkedSecret, type Postern, startPostern } from "@postern/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Answer, certificateOf, GatewayClient, gatewayPort } from "./gateway-client.ts";

const web = await createTestAuthority();
const secret = newMarkedSecret("orders-");
let postern: Postern;
let client: GatewayClient;
let agent: IssuedIdentity;
let api: Api;

interface Seen {
  readonly client: string | undefined;
  readonly authorization: string | undefined;
  /** Of the client, to tell connections apart. */
  readonly port: number | undefined;
}

interface Api {
  readonly port: number;
  readonly seen: Seen[];
  show(identity: { readonly cert: string; readonly key: string }, authorities: string): void;
  close(): Promise<void>;
}

/** An API that takes nobody without a certificate of the trust domain. */
async function startApi(identity: { cert: string; key: string }, ca: string): Promise<Api> {
  const seen: Seen[] = [];
  const options = { requestCert: true, rejectUnauthorized: true };
  const server: Server = createServer({ ...identity, ca, ...options }, (request, response) => {
    const socket = request.socket as TLSSocket;
    const { authorization } = request.headers;
    seen.push({
      client: socket.getPeerX509Certificate()?.subjectAltName,
      authorization,
      port: socket.remotePort,
    });
    response.end("{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    seen,
    show: (next, authorities) => server.setSecureContext({ ...next, ca: authorities }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function identityOf(name: string): Promise<IssuedIdentity> {
  const { stdout } = await postern.postern(["join", "token", name, "--provider", "by-hand"]);
  return client.identityFor("by-hand", stdout.trim());
}

const workload = (fields: object): object => ({
  kind: "ServerWorkload",
  metadata: { name: "orders" },
  spec: {
    ...{ profile: "http", hosts: ["orders.corp.example"], injection: { kind: "bearer" } },
    ...{ connectTo: { address: "127.0.0.1", port: api.port }, allowedNetworks: ["127.0.0.1/32"] },
    ...fields,
  },
});

const applied = (...resources: readonly object[]) =>
  postern.apply(resources.map((each) => `${JSON.stringify(each)}\n`).join("---\n"));

beforeAll(async () => {
  postern = await startPostern({ args: ["--trust-domain", "corp", "--gateway-listen", "127.0.0.1:0"] });
  await postern.setSecret("orders-key", secret);
  const named = (name: string) => ({
    ...{ kind: "Agent", metadata: { name } },
    spec: {
      trustProvider: "by-hand",
      selectors: [`join-token:name=${name}`],
      spiffeId: `spiffe://corp/${name}`,
    },
  });
  await applied(
    { kind: "TrustProvider", metadata: { name: "by-hand" }, spec: { kind: "join-token" } },
    ...["buyer", "orders", "invoices"].map(named),
  );
  client = new GatewayClient(await gatewayPort(postern));
  agent = await identityOf("buyer");
  const own = await identityOf("orders");
  api = await startApi(certificateOf(own), own.authorities);
  await applied(
    workload({ clientIdentity: "svid", serverSpiffeId: "spiffe://corp/orders" }),
    {
      ...{ kind: "CredentialProvider", metadata: { name: "orders" } },
      spec: { kind: "vault", secret: "orders-key", serverWorkloads: ["orders"] },
    },
    {
      ...{ kind: "AccessPolicy", metadata: { name: "orders" } },
      spec: {
        ...{ agents: ["buyer"], serverWorkload: "orders", credentialProvider: "orders" },
        allow: { everything: true },
      },
    },
  );
});
beforeEach(() => void (api.seen.length = 0));
afterAll(async () => {
  await postern?.stop();
  await api?.close();
});

async function showCertificateOfTheWeb(): Promise<void> {
  const { certificate, privateKey } = await web.issue(["orders.corp.example"]);
  api.show({ cert: certificate, key: privateKey }, agent.authorities);
}
const call = (): Promise<Answer> =>
  client.call({ method: "GET", path: "/orders/1", ...certificateOf(agent) });
const refused = async (): Promise<string> => {
  const { body } = await call();
  expect(api.seen).toEqual([]);
  expect(body).not.toContain(secret);
  return (JSON.parse(body) as { detail?: string }).detail ?? body;
};

describe("an API that the gateway must prove itself to", () => {
  it("sees the gateway's SPIFFE ID, and the credential goes to nobody but it", async () => {
    expect(await call()).toMatchObject({ status: 200 });
    expect(api.seen).toMatchObject([
      {
        client: "URI:spiffe://corp/postern/gateway, IP Address:127.0.0.1, DNS:localhost",
        authorization: `Bearer ${secret}`,
      },
    ]);
  });

  it("gets nothing where it proves another SPIFFE ID of the trust domain", async () => {
    await applied(workload({ clientIdentity: "svid", serverSpiffeId: "spiffe://corp/invoices" }));
    expect(await refused()).toBe(
      "orders.corp.example did not prove to be spiffe://corp/invoices (another_spiffe_id)",
    );
  });

  it("gets nothing where it has a certificate of the Web in the place of an SVID", async () => {
    await showCertificateOfTheWeb();
    await applied(workload({ clientIdentity: "svid", serverSpiffeId: "spiffe://corp/orders" }));
    expect(await refused()).toContain("did not prove to be spiffe://corp/orders (leaf_names_wrong)");
  });

  it("may have a certificate of the Web where no SPIFFE ID is asked of it", async () => {
    await showCertificateOfTheWeb();
    await applied(workload({ clientIdentity: "svid", caCertificates: web.certificate }));
    expect(await call()).toMatchObject({ status: 200 });
    expect(api.seen[0]?.client).toMatch(/^URI:spiffe:\/\/corp\/postern\/gateway/);
  });

  it("refuses a gateway that was not told to show itself", async () => {
    await showCertificateOfTheWeb();
    await applied(workload({ caCertificates: web.certificate }));
    expect(await refused()).toContain("CERTIFICATE_REQUIRED");
  });

  it("is asked again on a connection that was kept, when the authorities have changed", async () => {
    const own = await identityOf("orders");
    api.show(certificateOf(own), own.authorities);
    await applied(workload({ clientIdentity: "svid", serverSpiffeId: "spiffe://corp/orders" }));
    await call();
    await call();
    const [first, second] = api.seen.map(({ port }) => port);
    expect(second).toBe(first);
    for (const words of [
      ["prepare", "x509"],
      ["activate", "x509-2", "--force"],
      ["taint", "x509-1"],
    ])
      expect(await postern.postern(["ca", ...words])).toMatchObject({ code: 0 });
    agent = await identityOf("buyer");
    api.seen.length = 0;
    expect(await postern.postern(["ca", "revoke", "x509-1"])).toMatchObject({ code: 0 });
    expect(await refused()).toContain("(not_signed_by_trust_domain)");
    const next = await identityOf("orders");
    api.show(certificateOf(next), next.authorities);
    expect(await call()).toMatchObject({ status: 200 });
  });

  it.each([
    [{ serverSpiffeId: "spiffe://elsewhere/orders" }, "it knows whom to believe in no other one"],
    [{ serverSpiffeId: "spiffe://corp" }, "write the whole SPIFFE ID"],
    [{ serverSpiffeId: "orders" }, "begins with spiffe://"],
    [{ serverSpiffeId: "spiffe://corp/orders", caCertificates: web.certificate }, "remove `caCertificates`"],
    [{ clientIdentity: "mine" }, "clientIdentity"],
  ])("is not described by %j", async (fields, problem) => {
    await expect(applied(workload(fields))).rejects.toThrow(problem);
  });
});
