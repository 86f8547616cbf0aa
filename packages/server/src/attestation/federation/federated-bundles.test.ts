// SPDX-License-Identifier: Apache-2.0
import { generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import type { ResourceOf } from "@postern/contract";
import { certificatePem } from "@postern/identity/certificate";
import { handMade, names, NOW, type TestTrustDomain, testTrustDomain } from "@postern/identity/svid.fixture";
import { printTrustBundle, type TrustBundle } from "@postern/identity/trust-bundle";
import { createTestAuthority } from "@postern/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLog } from "../../kernel/log.ts";
import { FederatedBundles } from "./federated-bundles.ts";

type Spec = ResourceOf<"FederatedTrustDomain">["spec"];

const ENDPOINT = "spiffe://partner.example/bundle-endpoint";
const web = await createTestAuthority();
const webCertificate = await web.issue(["bundle.partner.example"]);

let partner: TestTrustDomain;
let published: { status: number; body: string; headers?: Record<string, string> };
let asked: number;
let server: Server;
let now: number;
let bundles: FederatedBundles;
let changes: number;

const print = (bundle: TrustBundle, more: Partial<TrustBundle> = {}): string =>
  printTrustBundle({ ...bundle, ...more }, "everything");

beforeEach(async () => {
  partner = testTrustDomain("partner.example");
  published = { status: 200, body: print(partner.bundle, { sequence: 5n, refreshHint: 60 }) };
  asked = 0;
  now = NOW;
  changes = 0;
  server = createServer(
    { cert: webCertificate.certificate, key: webCertificate.privateKey },
    (_, response) => {
      asked++;
      response.writeHead(published.status, published.headers ?? {});
      response.end(published.body);
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  bundles = new FederatedBundles({
    ...{ clock: { now: () => now }, log: silentLog, chance: () => 0 },
    ownBundle: () => testTrustDomain("corp").bundle,
  });
  bundles.onChange(() => changes++);
});

afterEach(() => {
  bundles.close();
  server.close();
  server.closeAllConnections();
});

const place = () => ({
  connectTo: { address: "127.0.0.1", port: (server.address() as AddressInfo).port },
  allowedNetworks: ["127.0.0.1/32"],
  caCertificates: web.certificate,
});

async function follow(more: Partial<Spec> = {}): Promise<string> {
  const spec: Spec = {
    trustDomain: "partner.example",
    endpointUrl: "https://bundle.partner.example/",
    profile: "https_web",
    maxAge: 3600,
    ...place(),
    ...more,
  };
  bundles.follow([{ kind: "FederatedTrustDomain", metadata: { name: "partner" }, spec }]);
  await bundles.refresh("partner");
  return told();
}

function told(): string {
  const known = bundles.get("partner");
  return known.ok ? known.value.x509Authorities.map(({ der }) => der.toString("hex")).join() : known.reason;
}

const trusted = (domain: TestTrustDomain): string => domain.authority.toString("hex");

describe("https_web: no bundle is known", () => {
  it("F2, F3: where the certificate is of nobody that is trusted", async () => {
    expect(await follow({ caCertificates: undefined })).toBe("authority_tls_untrusted");
  });

  it.each<[string, () => typeof published, string]>([
    ["it fails", () => ({ status: 500, body: published.body }), "authority_status_500"],
    ["it has nothing there", () => ({ status: 404, body: "" }), "authority_status_404"],
    ["it says something else", () => ({ status: 200, body: "<html>" }), "trust_bundle_malformed"],
    ["it has no keys", () => ({ status: 200, body: "{}" }), "trust_bundle_malformed"],
    [
      "it sends elsewhere",
      () => ({ status: 302, body: "", headers: { location: "https://169.254.169.254/" } }),
      "authority_redirects",
    ],
    ["it does not end", () => ({ status: 200, body: " ".repeat(300_000) }), "authority_answer_too_large"],
    [
      "an authority of it names another trust domain",
      () => ({ status: 200, body: print(testTrustDomain("evil.example").bundle) }),
      "trust_bundle_of_another_trust_domain",
    ],
  ])("where %s", async (_, answer, reason) => {
    published = answer();
    expect(await follow()).toBe(reason);
    expect(changes).toBe(0);
  });

  it("where it is at an address that may not be dialled", async () => {
    expect(await follow({ allowedNetworks: [] })).toBe("authority_address_prohibited");
    expect(asked).toBe(0);
  });

  it("under the name of another one, or after it was taken out", async () => {
    await follow();
    expect(bundles.get("other")).toEqual({ ok: false, reason: "trust_domain_not_federated" });
    bundles.follow([]);
    expect(told()).toBe("trust_domain_not_federated");
  });
});

describe("https_web", () => {
  it("F5, F9: the bundle is read, followed, and listeners hear of what is new only", async () => {
    expect(await follow()).toBe(trusted(partner));
    await bundles.refresh("partner");
    expect([asked, changes]).toEqual([2, 1]);
    const next = testTrustDomain("partner.example", "next CA");
    published.body = print(next.bundle, { sequence: 6n });
    await bundles.refresh("partner");
    expect([told(), changes]).toEqual([trusted(next), 2]);
  });

  it("an empty bundle takes everything back", async () => {
    await follow();
    published.body = '{"keys":[],"spiffe_sequence":6}';
    await bundles.refresh("partner");
    expect(told()).toBe("");
  });

  it("an older bundle is not taken in the place of a newer one", async () => {
    await follow();
    published.body = print(testTrustDomain("partner.example", "old CA").bundle, { sequence: 4n });
    await bundles.refresh("partner");
    expect(told()).toBe(trusted(partner));
  });

  it("F8: while it is down the bundle goes on, and ends when nothing was heard for too long", async () => {
    await follow();
    published.status = 503;
    now += 3_600_000;
    await bundles.refresh("partner");
    expect(told()).toBe(trusted(partner));
    now += 1;
    expect(told()).toBe("trust_bundle_stale");
    await bundles.refresh("partner");
    expect(changes).toBe(2);
    published.status = 200;
    await bundles.refresh("partner");
    expect([told(), changes]).toEqual([trusted(partner), 3]);
  });

  it("F1: other settings begin anew, and who asks meanwhile shares the question", async () => {
    await follow();
    const settings = follow({ endpointUrl: "https://bundle.partner.example/other" });
    await Promise.all([bundles.refresh("partner"), bundles.refresh("partner"), settings]);
    expect(asked).toBe(2);
  });
});

describe("https_spiffe", () => {
  /** Shows an SVID of this ID, signed by this trust domain. */
  function show(domain: TestTrustDomain, id = ENDPOINT): void {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const key = {
      spki: publicKey.export({ type: "spki", format: "der" }),
      sign: (bytes: Buffer) => sign("sha256", bytes, privateKey),
    };
    const certificate = handMade(domain, { key, names: names([id]) });
    server.setSecureContext({
      cert: certificatePem(certificate),
      key: privateKey.export({ type: "pkcs8", format: "pem" }),
    });
  }
  const settings = (): Partial<Spec> => ({
    ...{ profile: "https_spiffe", endpointSpiffeId: ENDPOINT, caCertificates: undefined },
    bundle: print(partner.bundle),
  });

  it.each<[string, () => void]>([
    ["a certificate of the Web", () => {}],
    ["another ID of the same trust domain", () => show(partner, "spiffe://partner.example/somebody")],
    ["its ID by another authority of that name", () => show(testTrustDomain("partner.example"))],
    ["an ID of another trust domain", () => show(testTrustDomain("evil.example"), "spiffe://evil.example/a")],
  ])("F3, F6: does not ask whoever shows %s", async (_, prepare) => {
    prepare();
    await follow(settings());
    expect(asked).toBe(0);
    // What the operator gave serves until it is too old.
    expect(told()).toBe(trusted(partner));
    now += 3_600_001;
    expect(told()).toBe("trust_bundle_stale");
  });

  it("F6: verifies the endpoint by the newest bundle, not by the first", async () => {
    show(partner);
    const next = testTrustDomain("partner.example", "next CA");
    published.body = print(next.bundle, { sequence: 6n });
    await follow(settings());
    expect([told(), asked]).toEqual([trusted(next), 1]);
    await bundles.refresh("partner");
    expect(asked).toBe(1);
    show(next);
    await bundles.refresh("partner");
    expect(asked).toBe(2);
  });
});
