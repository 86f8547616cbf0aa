// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  BUNDLE_TYPE,
  type OciRegistry,
  type RegistryFault,
  SIGN_PREDICATE,
  signBundle,
  signSimply,
  simpleSigningPayload,
  statement,
} from "@postern/testkit";
import { readImageName } from "./image-name.ts";
import { afterAll, describe, expect, test } from "vitest";
import {
  HOST,
  platformKey,
  proofsBy,
  registryEntry,
  specFor,
  startRegistry,
} from "./image-signatures.fixture.ts";

const account = { name: "reader", password: "hunter2-of-the-registry" };
const plain = await startRegistry();
const guarded = await startRegistry({ account });
const blobs = await startRegistry({ host: "127.0.0.1" });
const BLOBS = `127.0.0.1:${blobs.port}`;
const spread = await startRegistry({ account, blobHost: BLOBS });
const old = await startRegistry({ withoutReferrers: true });
const folder = mkdtempSync(join(tmpdir(), "postern-registry-"));
const file = (name: string, content: unknown): string => {
  const path = join(folder, name);
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
};
const auth = Buffer.from(`${account.name}:${account.password}`).toString("base64");
const credentialFile = file("config.json", {
  auths: { [HOST]: { auth }, "other.example": { auth: "AAAA" } },
});
afterAll(async () => {
  await Promise.all([plain, guarded, spread, blobs, old].map((each) => each.close()));
  rmSync(folder, { recursive: true });
});

const digestOf = (image: string): string => image.slice(image.indexOf("@") + 1);
function signedIn(registry: OciRegistry): string {
  const image = registry.addImage("corp/agent");
  registry.putTag(image, "sig", [signSimply(platformKey, simpleSigningPayload(digestOf(image)))]);
  return image;
}
const by = (registry: OciRegistry, more: object = {}) =>
  proofsBy(specFor(registry, { registries: [{ ...registryEntry(registry), ...more }] }));
const PROVED = ["signed-by=platform"];

describe("a registry", () => {
  test.each<[RegistryFault, string]>([
    ["error", "registry_status_503"],
    ["huge", "registry_answer_too_large"],
    ["redirect", "registry_redirects"],
    ["no-json", "registry_answer_malformed"],
    ["wrong-digest", "registry_digest_wrong"],
  ])("that answers with %s proves nothing, and the next time it is asked again", async (fault, reason) => {
    const image = signedIn(plain);
    const prove = by(plain);
    plain.setFault(fault);
    expect(await prove(image)).toBe(reason);
    plain.setFault(undefined);
    expect(await prove(image)).toEqual(PROVED);
    plain.setFault(fault);
    expect(await prove(image)).toBe(reason);
    plain.setFault(undefined);
  });

  test("that shows more bytes than four signatures may have is not read to the end, and somebody is told", async () => {
    const image = plain.addImage("corp/agent");
    const big = (index: number) => ({
      ...signSimply(platformKey, simpleSigningPayload(digestOf(image))),
      blob: Buffer.alloc(1_000_000, String.fromCharCode(97 + index)),
    });
    plain.putTag(
      image,
      "sig",
      Array.from({ length: 20 }, (_, index) => big(index)),
    );
    const before = plain.requests.length;
    expect(await by(plain)(image)).toContain("too_many_signatures");
    const blobReads = plain.requests.slice(before).filter(({ target }) => target.includes("/blobs/"));
    expect(blobReads).toHaveLength(4);
  });

  test("that shows a signature longer than it says is not believed", async () => {
    const image = plain.addImage("corp/agent");
    const layer = signSimply(platformKey, simpleSigningPayload(digestOf(image)));
    plain.putTag(image, "sig", [{ ...layer, size: layer.blob.length - 1 }]);
    expect(await by(plain)(image)).toBe("registry_answer_too_large");
  });

  test("is asked about some images at once, and about the others nobody can tell", async () => {
    // Not listed, so that nobody's speed matters: they count while they are looked at.
    const named = (index: number) => `registry.elsewhere.example/a@sha256:${String(index).padStart(64, "0")}`;
    const prove = by(plain);
    const tens = Array.from({ length: 5 }, (_, ten) =>
      Array.from({ length: 10 }, (__, one) => named(ten * 10 + one)),
    );
    const all = await Promise.all(tens.map((ten) => prove(...ten)));
    for (const told of all.slice(0, 3)) expect(told).not.toContain("too_many_images_at_once");
    for (const told of all.slice(3)) expect(told).toContain("too_many_images_at_once");
    expect(await prove(...tens[4]!)).not.toContain("too_many_images_at_once");
    expect(await prove(signedIn(plain))).toEqual(PROVED);
  });

  test("that is silent has five seconds for everything", { timeout: 15_000 }, async () => {
    plain.setFault("silence");
    expect(await by(plain)(signedIn(plain))).toBe("registry_timeout");
    plain.setFault(undefined);
  });

  test("that never ends its list of referrers is left after some pages", async () => {
    const image = signedIn(plain);
    plain.setFault("endless-pages");
    const before = plain.requests.length;
    expect(await by(plain)(image)).toEqual(PROVED);
    plain.setFault(undefined);
    expect(plain.requests.length - before).toBeLessThan(10);
  });

  test("that is not listed is not asked, whatever image names it", async () => {
    const prove = by(plain, { host: "registry.elsewhere.example" });
    const before = plain.requests.length;
    expect(await prove(signedIn(plain))).toBe("registry_not_listed");
    expect(plain.requests).toHaveLength(before);
  });

  test.each([
    ["a tag", `${HOST}/corp/agent:latest`],
    ["a path out of the repository", `${HOST}/../../admin@sha256:${"a".repeat(64)}`],
    ["a query", `${HOST}/a?x=1@sha256:${"a".repeat(64)}`],
    ["another digest", `${HOST}/corp/agent@md5:${"a".repeat(32)}`],
  ])("is not asked about an image with %s", async (_, image) => {
    const before = plain.requests.length;
    expect(await by(plain)(image)).toBe("image_without_registry_or_digest");
    expect(plain.requests).toHaveLength(before);
  });

  test("is Docker Hub where an image names none, by Docker's own rule", async () => {
    const digest = `sha256:${"a".repeat(64)}`;
    expect([readImageName(`nginx@${digest}`), readImageName(`corp/agent:1@${digest}`)]).toEqual([
      { registry: "docker.io", repository: "library/nginx", digest },
      { registry: "docker.io", repository: "corp/agent", digest },
    ]);
    expect(await by(plain)(`corp/agent@${digest}`)).toBe("registry_not_listed");
  });

  test("at an address that may not be dialled is not dialled", async () => {
    expect(await by(plain, { allowedNetworks: [] })(signedIn(plain))).toBe("registry_address_prohibited");
  });

  test("with another certificate is not believed", async () => {
    const other = { host: "registry.other.example", url: "https://registry.other.example" };
    const image = signedIn(plain).replace(HOST, other.host);
    expect(await by(plain, other)(image)).toBe("registry_tls_untrusted");
  });

  test("without the referrers API is read by the tag that stands in for it", async () => {
    const image = old.addImage("corp/agent");
    old.addReferrer(image, BUNDLE_TYPE, [
      signBundle(platformKey, statement(digestOf(image), SIGN_PREDICATE)),
    ]);
    expect(await by(old)(image)).toEqual(PROVED);
  });
});

describe("a registry that wants to know who reads", () => {
  test("gives a token for the password of the file, for reading this repository only", async () => {
    expect(await by(guarded, { credentialFile })(signedIn(guarded))).toEqual(PROVED);
    const asked = guarded.requests.filter(({ target }) => target.startsWith("/token"));
    expect(asked.length).toBeGreaterThan(0);
    for (const { authorization, target } of asked) {
      expect(authorization).toBe(`Basic ${auth}`);
      expect(new URL(target, "https://r").searchParams.getAll("scope")).toEqual([
        "repository:corp/agent:pull",
      ]);
    }
    const read = guarded.requests.filter(({ target }) => target.startsWith("/v2/"));
    expect(read.some(({ authorization }) => authorization?.includes(auth))).toBe(false);
  });

  test("and says that tokens are elsewhere does not learn the password", async () => {
    const image = signedIn(guarded);
    guarded.setFault("token-elsewhere");
    const before = guarded.requests.length;
    expect(await by(guarded, { credentialFile })(image)).toBe("registry_token_elsewhere");
    expect(await by(guarded, { credentialFile, tokenUrl: `https://${HOST}/token` })(image)).toBe(
      "registry_token_elsewhere",
    );
    guarded.setFault(undefined);
    expect(guarded.requests.slice(before).some(({ authorization }) => authorization !== undefined)).toBe(
      false,
    );
  });

  test.each<[string, unknown, string]>([
    ["for another host", { auths: { "other.example": { auth } } }, "credential_file_without_host"],
    [
      "for a host that only begins alike",
      { auths: { [`${HOST}.evil.example`]: { auth } } },
      "credential_file_without_host",
    ],
    ["with a helper program", { credHelpers: { [HOST]: "evil" } }, "credential_file_malformed"],
    [
      "that says two things",
      `{"auths":{"${HOST}":{"auth":"${auth}"},"${HOST}":{"auth":"AAAA"}}}`,
      "credential_file_malformed",
    ],
    [
      "with a line end in the password",
      { auths: { [HOST]: { auth: `${auth}\r\nX: y` } } },
      "credential_file_malformed",
    ],
    ["with another password", { auths: { [HOST]: { auth: "AAAA" } } }, "registry_token_denied"],
  ])("does not read a file %s", async (name, content, reason) => {
    expect(
      await by(guarded, { credentialFile: file(name.replaceAll(" ", "-"), content) })(signedIn(guarded)),
    ).toBe(reason);
  });

  test("is refused without a file, and with one that is gone", async () => {
    const image = signedIn(guarded);
    expect(await by(guarded)(image)).toBe("registry_token_denied");
    expect(await by(guarded, { credentialFile: join(folder, "gone") })(image)).toBe(
      "credential_file_unreadable",
    );
  });
});

describe("a redirect", () => {
  const image = signedIn(spread);
  blobs.putTag(image, "sig", [signSimply(platformKey, simpleSigningPayload(digestOf(image)))]);

  test("to a host that is not listed is not followed", async () => {
    expect(await by(spread, { credentialFile })(image)).toBe("registry_redirects");
    expect(await by(spread, { credentialFile, redirectHosts: ["127.0.0.1"] })(image)).toBe(
      "registry_redirects",
    );
    expect(blobs.requests).toEqual([]);
  });

  test("to a listed host is followed without token and password", async () => {
    expect(await by(spread, { credentialFile, redirectHosts: [BLOBS] })(image)).toEqual(PROVED);
    expect(blobs.requests.length).toBeGreaterThan(0);
    expect(blobs.requests.every(({ authorization }) => authorization === undefined)).toBe(true);
    expect(spread.requests.some(({ authorization }) => authorization !== undefined)).toBe(true);
  });

  test("to a listed host at an address that may not be dialled is not followed", async () => {
    const far = await startRegistry({ blobHost: "127.0.0.2:443" });
    const refusal = "registry_address_prohibited";
    expect(await by(far, { redirectHosts: ["127.0.0.2"] })(signedIn(far))).toBe(refusal);
    await far.close();
  });
});
