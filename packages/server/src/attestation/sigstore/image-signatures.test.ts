// SPDX-License-Identifier: Apache-2.0
import type { SigstoreSigner } from "@postern/contract";
import {
  attestSimply,
  BUNDLE_TYPE,
  type CertificateWish,
  PROVENANCE,
  SIGN_PREDICATE,
  signBundle,
  type SignedLayer,
  signerByKey,
  signSimply,
  simpleSigningPayload,
  statement,
} from "@postern/testkit";
import { generateKeyPairSync } from "node:crypto";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import {
  elsewhere,
  ISSUER,
  platformKey,
  proofsBy,
  RELEASE,
  sigstore,
  specFor,
  startRegistry,
} from "./image-signatures.fixture.ts";

const registry = await startRegistry();
const prove = proofsBy(specFor(registry));
afterEach(() => registry.setFault(undefined));
afterAll(() => registry.close());

const digestOf = (image: string): string => image.slice(image.indexOf("@") + 1);
const byRelease = (more: Partial<CertificateWish> = {}) =>
  sigstore.byCertificate({ identity: RELEASE, issuer: ISSUER, ...more });
const BY_RELEASE = [`identity=${RELEASE}`, `issuer=${ISSUER}`, "signed-by=release"];
type CertificateSigner = Extract<SigstoreSigner, { issuer: string }>;
const OTHER = `sha256:${"0f".repeat(32)}`;

/** An image with these signatures in cosign's tag. */
async function signed(make: (digest: string) => SignedLayer[] | Promise<SignedLayer[]>): Promise<string> {
  const image = registry.addImage("corp/agent");
  registry.putTag(image, "sig", await make(digestOf(image)));
  return image;
}

const over = async (wish: Partial<CertificateWish>, digest: string): Promise<SignedLayer[]> => [
  signSimply(await byRelease(wish), simpleSigningPayload(digest), sigstore.log),
];

function withPayload(
  digest: string,
  change: (payload: Record<string, Record<string, unknown>>) => void,
): Buffer {
  const payload = JSON.parse(simpleSigningPayload(digest).toString()) as Record<
    string,
    Record<string, unknown>
  >;
  change(payload);
  return Buffer.from(JSON.stringify(payload));
}

describe("an image proves nothing by a signature", () => {
  test.each<[string, (digest: string) => SignedLayer[] | Promise<SignedLayer[]>, string]>([
    ["that is not there", () => [], "unsigned"],
    ["over another image", () => over({}, OTHER), "signature_of_another_image"],
    [
      "of somebody else",
      (digest) => over({ identity: RELEASE.replace("corp", "c0rp") }, digest),
      `signer_not_listed (${RELEASE.replace("corp", "c0rp")} of ${ISSUER})`,
    ],
    [
      "of that name at another issuer",
      (digest) => over({ issuer: "https://evil.example" }, digest),
      `signer_not_listed (${RELEASE} of https://evil.example)`,
    ],
    [
      "whose identity only begins alike",
      (digest) => over({ identity: `${RELEASE}x` }, digest),
      `signer_not_listed (${RELEASE}x of ${ISSUER})`,
    ],
    ["logged before its certificate began", (digest) => over({ loggedAt: -30 }, digest), "certificate_error"],
    ["logged after its certificate ended", (digest) => over({ from: -60 }, digest), "certificate_error"],
    [
      "whose certificate is in no log",
      (digest) => over({ logOfCertificates: "none" }, digest),
      "certificate_error",
    ],
    [
      "whose certificate has a forged promise of the log",
      (digest) => over({ logOfCertificates: "forged" }, digest),
      "certificate_error",
    ],
    [
      "by a certificate for servers",
      (digest) => over({ purpose: "server" }, digest),
      "certificate_for_something_else",
    ],
    [
      "by a certificate of an authority",
      (digest) => over({ purpose: "authority" }, digest),
      "certificate_for_something_else",
    ],
    [
      "without a log",
      async (digest) => [signSimply(await byRelease(), simpleSigningPayload(digest))],
      "timestamp_error",
    ],
    [
      "in a log that nobody trusts",
      async (digest) => [signSimply(await byRelease(), simpleSigningPayload(digest), elsewhere.log)],
      "tlog_inclusion_promise_error",
    ],
    [
      "by an authority that nobody trusts",
      async (digest) => [
        signSimply(
          await elsewhere.byCertificate({ identity: RELEASE, issuer: ISSUER }),
          simpleSigningPayload(digest),
          sigstore.log,
        ),
      ],
      "certificate_error",
    ],
    [
      "by a key that nobody trusts",
      (digest) => [signSimply(signerByKey(), simpleSigningPayload(digest))],
      "signature_error",
    ],
  ])("%s", async (_, make, reason) => {
    expect(await prove(await signed(make))).toBe(reason);
  });
});

describe("a signed text proves nothing", () => {
  test.each<[string, (payload: Record<string, Record<string, unknown>>) => void, string]>([
    ["of no image", ({ critical }) => void delete critical!["image"], "payload_malformed"],
    [
      "of an image without digest",
      ({ critical }) => void (critical!["image"] = {}),
      "signature_of_another_image",
    ],
    [
      "of a list of digests",
      ({ critical }) => void (critical!["image"] = { "docker-manifest-digest": [OTHER] }),
      "signature_of_another_image",
    ],
    ["of another type", ({ critical }) => void (critical!["type"] = "a blob"), "payload_of_another_type"],
    ["without what is critical", (payload) => void delete payload["critical"], "payload_malformed"],
  ])("%s", async (_, change, reason) => {
    const image = await signed((digest) => [signSimply(platformKey, withPayload(digest, change))]);
    expect(await prove(image)).toBe(reason);
  });

  test("that says two digests", async () => {
    const image = await signed((digest) => {
      const twice = `"docker-manifest-digest":"${digest}","docker-manifest-digest":"${OTHER}"`;
      const text = simpleSigningPayload(digest)
        .toString()
        .replace(/"docker-manifest-digest":"[^"]*"/, twice);
      return [signSimply(platformKey, Buffer.from(text))];
    });
    expect(await prove(image)).toBe("payload_malformed");
  });

  test("that is cut off, or longer than what was signed", async () => {
    const cut = await signed((digest) => {
      const layer = signSimply(platformKey, simpleSigningPayload(digest));
      return [{ ...layer, blob: layer.blob.subarray(0, -1) }];
    });
    expect(await prove(cut)).toBe("signature_error");
    const longer = await signed((digest) => {
      const layer = signSimply(platformKey, simpleSigningPayload(digest));
      return [{ ...layer, blob: Buffer.concat([layer.blob, Buffer.from(" ")]) }];
    });
    expect(await prove(longer)).toBe("signature_error");
  });

  test("whose log entry is of another signature", async () => {
    const image = await signed(async (digest) => {
      const [signer, payload] = [await byRelease(), simpleSigningPayload(digest)];
      const [one, two] = [
        signSimply(signer, payload, sigstore.log),
        signSimply(signer, payload, sigstore.log),
      ];
      const entry = two.annotations["dev.sigstore.cosign/bundle"]!;
      return [{ ...one, annotations: { ...one.annotations, "dev.sigstore.cosign/bundle": entry } }];
    });
    expect(await prove(image)).toBe("tlog_body_error");
  });

  test.each<[string, string, string, string]>([
    [
      "whose certificate is none",
      "dev.sigstore.cosign/certificate",
      "-----BEGIN CERTIFICATE-----",
      "certificate_malformed",
    ],
    ["whose log entry is no JSON", "dev.sigstore.cosign/bundle", "{", "log_entry_malformed"],
    [
      "whose log entry says something twice",
      "dev.sigstore.cosign/bundle",
      '{"Payload":{},"Payload":{}}',
      "log_entry_malformed",
    ],
    ["whose timestamp is none", "dev.sigstore.cosign/rfc3161timestamp", "{}", "timestamp_malformed"],
    [
      "whose timestamp is a word",
      "dev.sigstore.cosign/rfc3161timestamp",
      '{"SignedRFC3161Timestamp":"MAA="}',
      "bundle_malformed",
    ],
    ["whose signature is no Base64", "dev.cosignproject.cosign/signature", "~", "signature_missing"],
    ["whose certificate is empty, without a key", "dev.sigstore.cosign/certificate", "", "key_or_signature"],
  ])("%s", async (_, name, value, reason) => {
    const image = await signed(async (digest) => {
      const layer = signSimply(await byRelease(), simpleSigningPayload(digest), sigstore.log);
      return [{ ...layer, annotations: { ...layer.annotations, [name]: value } }];
    });
    expect(await prove(image)).toBe(reason === "key_or_signature" ? "signature_error" : reason);
  });
});

describe("a bundle proves nothing", () => {
  const referrer = async (
    payloadOf: (digest: string) => Buffer,
    change: (bundle: string) => string = (text) => text,
  ) => {
    const image = registry.addImage("corp/agent");
    const layer = signBundle(await byRelease(), payloadOf(digestOf(image)), sigstore.log);
    registry.addReferrer(image, BUNDLE_TYPE, [
      { ...layer, blob: Buffer.from(change(layer.blob.toString())) },
    ]);
    return prove(image);
  };
  const ours = (digest: string): Buffer => statement(digest, SIGN_PREDICATE);

  test.each<[string, (digest: string) => Buffer, string]>([
    ["about another image", () => statement(OTHER, SIGN_PREDICATE), "signature_of_another_image"],
    ["about nothing", (digest) => edited(ours(digest), { subject: [] }), "signature_of_another_image"],
    [
      "about a name",
      (digest) => edited(ours(digest), { subject: [{ name: digest }] }),
      "signature_of_another_image",
    ],
    [
      "of another type",
      (digest) => edited(ours(digest), { _type: "https://in-toto.io/Statement/v9" }),
      "payload_of_another_type",
    ],
    [
      "without a predicate type",
      (digest) => edited(ours(digest), { predicateType: undefined }),
      "payload_malformed",
    ],
    [
      "of a predicate that nobody is believed",
      (digest) => statement(digest, "https://cyclonedx.org/bom"),
      "predicate_not_listed",
    ],
    [
      "that says its subject twice",
      (digest) => Buffer.from(ours(digest).toString().replace("{", `{"subject":[],`)),
      "payload_malformed",
    ],
  ])("%s", async (_, payloadOf, reason) => {
    expect(await referrer(payloadOf)).toBe(reason);
  });

  test.each<[string, (bundle: string) => string, string]>([
    ["cut off", (bundle) => bundle.slice(0, -1), "bundle_malformed"],
    [
      "that says something twice",
      (bundle) => bundle.replace("{", '{"mediaType":"x",'),
      "json_duplicate_name",
    ],
    [
      "without its log entry",
      (bundle) => JSON.stringify(withMaterial(bundle, { tlogEntries: [] })),
      "timestamp_error",
    ],
    [
      "of another version",
      (bundle) => bundle.replace("bundle.v0.3+json", "bundle.v9+json"),
      "bundle_malformed",
    ],
    [
      "whose envelope says another type",
      (bundle) => bundle.replace("application/vnd.in-toto+json", "text/plain"),
      "signature_error",
    ],
    [
      "whose checkpoint is of another log",
      (bundle) => bundle.replaceAll("rekor.fulcio.example", "rekor.evil.example"),
      "tlog_inclusion_proof_error",
    ],
    [
      "with two signatures in one envelope",
      (bundle) => bundle.replace(/"signatures":\[(\{[^}]*\})\]/, '"signatures":[$1,$1]'),
      "bundle_malformed",
    ],
    [
      "whose log entry is there twice",
      (bundle) => bundle.replace(/"tlogEntries":\[(.*)\]\},"dsse/s, '"tlogEntries":[$1,$1]},"dsse'),
      "timestamp_error",
    ],
  ])("%s", async (_, change, reason) => {
    expect(await referrer(ours, change)).toBe(reason);
  });
});

const edited = (text: Buffer, change: object): Buffer =>
  Buffer.from(JSON.stringify({ ...(JSON.parse(text.toString()) as object), ...change }));
function withMaterial(bundle: string, change: object): object {
  const parsed = JSON.parse(bundle) as { verificationMaterial: object };
  return { ...parsed, verificationMaterial: { ...parsed.verificationMaterial, ...change } };
}

describe("a key counts", () => {
  const believing = (publicKey: string, requireLog = false) =>
    proofsBy(specFor(registry, { signers: [{ name: "key", publicKey, requireLog }] }));
  const ed25519 = signerByKey(generateKeyPairSync("ed25519").privateKey);
  const rsa = signerByKey(generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey);
  const weak = signerByKey(generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey);

  test.each([
    ["Ed25519", ed25519],
    ["RSA", rsa],
  ])("that is %s", async (_, signer) => {
    const image = registry.addImage("corp/agent");
    const payload = statement(digestOf(image), SIGN_PREDICATE);
    registry.addReferrer(image, BUNDLE_TYPE, [signBundle(signer, payload)]);
    expect(await believing(signer.publicKey)(image)).toEqual(["signed-by=key"]);
    expect(await believing(platformKey.publicKey)(image)).toBe("signature_error");
  });

  test.each([
    ["Ed25519", ed25519],
    ["RSA", rsa],
  ])("that is %s in cosign's own tag, over this payload only", async (_, signer) => {
    const image = await signed((digest) => [signSimply(signer, simpleSigningPayload(digest))]);
    expect(await believing(signer.publicKey)(image)).toEqual(["signed-by=key"]);
    const longer = await signed((digest) => {
      const layer = signSimply(signer, simpleSigningPayload(digest));
      return [{ ...layer, blob: Buffer.concat([layer.blob, Buffer.from(" ")]) }];
    });
    expect(await believing(signer.publicKey)(longer)).toBe("signature_error");
    const another = signerByKey(generateKeyPairSync("ed25519").privateKey);
    expect(await believing(another.publicKey)(image)).toBe("signature_error");
  });

  test("never with RSA below 2048 bits, though `postern apply` was passed by", async () => {
    const image = await signed((digest) => [signSimply(weak, simpleSigningPayload(digest))]);
    expect(await believing(weak.publicKey)(image)).toBe("key_not_listed");
  });

  test("with a log only, where that is demanded", async () => {
    const ask = believing(platformKey.publicKey, true);
    const image = await signed((digest) => [signSimply(platformKey, simpleSigningPayload(digest))]);
    expect(await ask(image)).toBe("tlog_error");
    const logged = await signed((digest) => [
      signSimply(platformKey, simpleSigningPayload(digest), sigstore.log),
    ]);
    expect(await ask(logged)).toEqual(["signed-by=key"]);
    const elsewhereLogged = await signed((digest) => [
      signSimply(platformKey, simpleSigningPayload(digest), elsewhere.log),
    ]);
    expect(await ask(elsewhereLogged)).toBe("tlog_inclusion_promise_error");
  });

  test("never in the place of a certificate, and no certificate in the place of a key", async () => {
    const signer = await byRelease();
    const image = await signed((digest) => [signSimply(signer, simpleSigningPayload(digest), sigstore.log)]);
    expect(await believing(signer.publicKey)(image)).toBe(`signer_not_listed (${RELEASE} of ${ISSUER})`);
  });
});

describe("whose identity", () => {
  const believing = (signer: Partial<CertificateSigner>) =>
    proofsBy(specFor(registry, { signers: [{ name: "corp", issuer: ISSUER, ...signer }] }));

  test("is told by a pattern, the whole of it", async () => {
    const ask = believing({ identityPattern: "https://github.com/corp/*/release.yml@refs/heads/main" });
    expect(await ask(await signed((digest) => over({}, digest)))).toContain("signed-by=corp");
    for (const identity of [
      `https://evil.example/?${RELEASE}`,
      RELEASE.replace("main", "main-2"),
      RELEASE.replace("release", "test"),
    ])
      expect(await ask(await signed((digest) => over({ identity }, digest)))).toMatch(/^signer_not_listed/);
  });

  test("is told by ids, where they are given", async () => {
    const ask = believing({ identity: RELEASE, repositoryId: "74", ownerId: "65" });
    const by = async (wish: Partial<CertificateWish>) => ask(await signed((digest) => over(wish, digest)));
    expect(await by({ repositoryId: "74", ownerId: "65" })).toContain("signed-by=corp");
    expect(await by({ repositoryId: "75", ownerId: "65" })).toMatch(/^signer_not_listed/);
    expect(await by({ repositoryId: "74" })).toMatch(/^signer_not_listed/);
    expect(await by({})).toMatch(/^signer_not_listed/);
  });

  test("is an address", async () => {
    const identity = "build@corp.example";
    const ask = believing({ identity });
    expect(await ask(await signed((digest) => over({ identity }, digest)))).toContain(`identity=${identity}`);
    expect(
      await ask(await signed((digest) => over({ identity: "build@corp.example.evil.example" }, digest))),
    ).toMatch(/^signer_not_listed/);
  });
});

describe("of several", () => {
  test("signatures the right one counts, wherever it stands", async () => {
    const image = await signed(async (digest) => [
      signSimply(signerByKey(), simpleSigningPayload(digest)),
      ...(await over({}, OTHER)),
      ...(await over({}, digest)),
      ...(await over({ logOfCertificates: "none" }, digest)),
    ]);
    expect(await prove(image)).toEqual(BY_RELEASE);
  });

  test("signatures no more than some are looked at, and somebody is told", async () => {
    const image = await signed((digest) => [
      ...Array.from({ length: 30 }, () => signSimply(signerByKey(), simpleSigningPayload(digest))),
      signSimply(platformKey, simpleSigningPayload(digest)),
    ]);
    expect(await prove(image)).toBe("too_many_signatures, signature_error");
  });

  test("images every one must have what is proved", async () => {
    const [one, two] = [
      await signed((digest) => [signSimply(platformKey, simpleSigningPayload(digest))]),
      await signed(async (digest) => [
        signSimply(platformKey, simpleSigningPayload(digest)),
        ...(await over({}, digest)),
      ]),
    ];
    expect(await prove(one, two)).toEqual(["signed-by=platform"]);
    expect(await prove(one, two, registry.addImage("corp/sidecar"))).toBe("unsigned");
    expect(await prove()).toBe("no_image");
  });

  test("signers of one name any is enough", async () => {
    const signers = [signerByKey(), signerByKey()];
    const ask = proofsBy(
      specFor(registry, {
        signers: signers.map(({ publicKey }) => ({ name: "any", publicKey, requireLog: false })),
      }),
    );
    const images = await Promise.all(
      signers.map((signer) => signed((digest) => [signSimply(signer, simpleSigningPayload(digest))])),
    );
    expect(await ask(...images)).toEqual(["signed-by=any"]);
  });
});

describe("an image proves who has signed it", () => {
  test("by a certificate, in cosign's own tag", async () => {
    expect(await prove(await signed((digest) => over({}, digest)))).toEqual(BY_RELEASE);
  });
  test("by a key, which needs no log", async () => {
    const image = await signed((digest) => [signSimply(platformKey, simpleSigningPayload(digest))]);
    expect(await prove(image)).toEqual(["signed-by=platform"]);
  });
  test("by a bundle among its referrers", async () => {
    const image = registry.addImage("corp/agent");
    const payload = statement(digestOf(image), SIGN_PREDICATE);
    registry.addReferrer(image, BUNDLE_TYPE, [signBundle(await byRelease(), payload, sigstore.log)]);
    expect(await prove(image)).toEqual(BY_RELEASE);
  });
  test("and what is attested of it", async () => {
    const image = registry.addImage("corp/agent");
    const payload = statement(digestOf(image), PROVENANCE, { buildDefinition: {} });
    registry.putTag(image, "att", [attestSimply(await byRelease(), payload, sigstore.log)]);
    expect(await prove(image)).toEqual(["attested-by=release", `predicate=${PROVENANCE}`]);
  });

  test("until its signature is gone, or another one is in its place", async () => {
    const image = await signed((digest) => over({}, digest));
    expect(await prove(image)).toEqual(BY_RELEASE);
    registry.putTag(image, "sig", await over({ identity: `${RELEASE}2` }, digestOf(image)));
    expect(await prove(image)).toMatch(/^signer_not_listed/);
    registry.removeSignatures(image);
    expect(await prove(image)).toBe("unsigned");
    registry.putTag(image, "sig", await over({}, digestOf(image)));
    expect(await prove(image)).toEqual(BY_RELEASE);
  });

  test("and a signature of a predicate is none of the image", async () => {
    const image = registry.addImage("corp/agent");
    const payload = statement(digestOf(image), PROVENANCE);
    registry.addReferrer(image, BUNDLE_TYPE, [signBundle(await byRelease(), payload, sigstore.log)]);
    expect(await prove(image)).not.toContain("signed-by=release");
  });
});
