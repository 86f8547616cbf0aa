// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TrustProviderSpec } from "@postern/contract";
import { outsideData } from "@postern/testkit";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock.ts";
import { attestEvidence } from "../attest-evidence.ts";
import { attestBy } from "../attest-spec.fixture.ts";
import { makeTrustProvider } from "../make-trust-provider.ts";
import { readBer } from "./ber.ts";
import { regionKeys } from "./region-keys.ts";
import { verifySignedData } from "./signed-data.ts";
import { documentSigners } from "./sign-document.fixture.ts";

type Spec = Extract<TrustProviderSpec, { kind: "aws-ec2" }>;

const signers = documentSigners();
afterAll(() => signers.remove());
const [east, west, stranger, weak] = [
  signers.signer(2048),
  signers.signer(2048),
  signers.signer(2048),
  signers.signer(1024),
];
const spec: Spec = {
  ...{ kind: "aws-ec2", accountIds: ["123456789012"], regions: ["us-east-1", "eu-west-1"] },
  ...{ maxDocumentAge: 600, allowRsa1024: false },
  certificates: { "us-east-1": east.certificate, "eu-west-1": west.certificate },
};
const attest = attestBy(spec);
let instances = 0;
/** As the metadata service writes it: members in order, four spaces of indentation. */
const documentOf = (change: object = {}) =>
  JSON.stringify(
    {
      accountId: "123456789012",
      architecture: "x86_64",
      availabilityZone: "us-east-1b",
      billingProducts: null,
      devpayProductCodes: null,
      marketplaceProductCodes: null,
      imageId: "ami-0c02fb55956c7d316",
      instanceId: `i-${String(++instances).padStart(17, "0")}`,
      instanceType: "t2.micro",
      kernelId: null,
      pendingTime: new Date(Date.now() - 60_000).toISOString().replace(/\.\d+/, ""),
      privateIp: "172.31.84.238",
      ramdiskId: null,
      region: "us-east-1",
      version: "2017-09-30",
      ...change,
    },
    null,
    4,
  );
const lines = (der: Buffer) => der.toString("base64").replaceAll(/(.{64})/g, "$1\n");

describe("an identity document", () => {
  test.each<[string, readonly string[]]>([
    ["with signed attributes", []],
    ["without them", ["-noattr"]],
    ["in lengths that are not known ahead, as AWS writes it", ["-stream", "-indef"]],
    ["without certificates in the message", ["-nocerts"]],
  ])("%s proves the instance", async (_, words) => {
    const document = documentOf();
    const { instanceId } = JSON.parse(document) as { instanceId: string };
    expect(await attest(lines(east.sign(document, words)))).toEqual([
      "aws-ec2:account-id=123456789012",
      "aws-ec2:availability-zone=us-east-1b",
      "aws-ec2:image-id=ami-0c02fb55956c7d316",
      `aws-ec2:instance-id=${instanceId}`,
      "aws-ec2:instance-type=t2.micro",
      "aws-ec2:region=us-east-1",
    ]);
  });

  test.each<[string, () => Buffer, string]>([
    [
      "signed by a stranger, whose certificate is in the message",
      () => stranger.sign(documentOf()),
      "message_signature_wrong",
    ],
    ["of one region signed by another", () => west.sign(documentOf()), "region_wrong"],
    ["of a region that is not listed", () => east.sign(documentOf({ region: "us-west-2" })), "region_wrong"],
    ["of another account", () => east.sign(documentOf({ accountId: "999999999999" })), "account_not_listed"],
    [
      "of an account in a list",
      () => east.sign(documentOf({ accountId: ["123456789012"] })),
      "document_malformed",
    ],
    [
      "that names the account twice",
      () => east.sign(documentOf().replace("{", '{"accountId":"123456789012",')),
      "document_malformed",
    ],
    [
      "of an instance that started long ago",
      () => east.sign(documentOf({ pendingTime: "2022-03-25T20:07:16Z" })),
      "document_too_old",
    ],
    [
      "of an instance that starts tomorrow",
      () => east.sign(documentOf({ pendingTime: "2099-03-25T20:07:16Z" })),
      "document_not_yet_valid",
    ],
    ["without a time", () => east.sign(documentOf({ pendingTime: undefined })), "document_malformed"],
    ["with a time in words", () => east.sign(documentOf({ pendingTime: "now" })), "document_not_yet_valid"],
    ["that is no JSON", () => east.sign("hello"), "document_malformed"],
    ["signed with SHA-1", () => east.sign(documentOf(), ["-md", "sha1"]), "message_algorithm_refused"],
    [
      "signed with PSS",
      () => east.sign(documentOf(), ["-keyopt", "rsa_padding_mode:pss"]),
      "message_algorithm_refused",
    ],
    ["beside its signature", () => detached(documentOf()), "message_malformed"],
    ["with two signers", () => twoSigners(documentOf()), "message_malformed"],
    ["cut off", () => east.sign(documentOf()).subarray(0, -10), "message_malformed"],
    [
      "with bytes after it",
      () => Buffer.concat([east.sign(documentOf()), Buffer.alloc(1)]),
      "message_malformed",
    ],
  ])("%s is refused", async (_, message, reason) => {
    expect(await attest(lines(message()))).toBe(reason);
  });

  const detached = (document: string): Buffer => {
    const whole = east.sign(document, ["-noattr"]);
    const at = whole.indexOf(document);
    return Buffer.concat([whole.subarray(0, at - 8), whole.subarray(at + document.length)]);
  };
  const twoSigners = (document: string): Buffer =>
    east.sign(document, ["-signer", stranger.path, "-inkey", stranger.keyPath]);

  test("changed by one digit is refused, wherever the digit is", async () => {
    const document = documentOf();
    for (const words of [[], ["-noattr"]]) {
      const message = east.sign(document, words);
      const at = message.indexOf("123456789012");
      message[at] = 0x39;
      // eslint-disable-next-line no-await-in-loop
      expect(await attest(lines(message))).toMatch(/^message_(malformed|signature_wrong)$/);
    }
  });

  test("counts once for each start of an instance, in whatever form it comes", async () => {
    const document = documentOf();
    expect(await attest(lines(east.sign(document)))).toBeInstanceOf(Array);
    expect(await attest(lines(east.sign(document)))).toBe("evidence_used_before");
    expect(await attest(east.sign(document, ["-noattr"]).toString("base64"))).toBe("evidence_used_before");
  });

  test("is remembered for as long as any document may be old, so that it does not come back with a longer age", async () => {
    const uses: [string, number][] = [];
    const useOnce = async (digest: string, until: number) => uses.push([digest, until]) > 0;
    const document = Buffer.from(lines(east.sign(documentOf())));
    const attestedBy = async (maxDocumentAge: number) =>
      attestEvidence(
        makeTrustProvider(
          { ...spec, maxDocumentAge },
          { clock: systemClock, joinTokens: { redeem: async () => undefined } },
        )!,
        document,
        { kind: "aws-ec2", provider: "p", clock: systemClock, useOnce },
      );
    expect(await attestedBy(600)).toMatchObject({ ok: true });
    expect(await attestedBy(86_400)).toMatchObject({ ok: true });
    expect(uses[1]).toEqual(uses[0]);
    expect(uses[0]![1]).toBeGreaterThanOrEqual(Date.now() + 31_000_000_000);
  });

  test("cannot be made of the attributes of another signature", async () => {
    const root = readBer(east.sign(documentOf()));
    const signer = root.children[1]!.children[0]!.children.at(-1)!.children[0]!;
    const attributes = Buffer.concat([Buffer.from([0x31]), signer.children[3]!.whole.subarray(1)]);
    const object = (hex: string) => tlv(0x06, Buffer.from(hex, "hex"));
    const sha256 = tlv(0x30, object("608648016503040201"));
    const rsa = tlv(0x30, object("2a864886f70d010101"));
    const one = tlv(0x02, Buffer.from([1]));
    const who = tlv(0x30, tlv(0x30), one);
    const forgedSigner = tlv(0x30, one, who, sha256, rsa, tlv(0x04, signer.children[5]!.content));
    const content = tlv(0x30, object("2a864886f70d010701"), tlv(0xa0, tlv(0x04, attributes)));
    const data = tlv(0x30, one, tlv(0x31, sha256), content, tlv(0x31, forgedSigner));
    const message = tlv(0x30, object("2a864886f70d010702"), tlv(0xa0, data));
    // RFC 5652 §11.1: the signature holds for these bytes as well; they are no document.
    expect(verifySignedData(message, keysOf("us-east-1"))).toMatchObject({ ok: true });
    expect(await attest(lines(message))).toBe("document_malformed");
  });

  const tlv = (tag: number, ...parts: Buffer[]): Buffer => {
    const content = Buffer.concat(parts);
    return Buffer.concat([Buffer.from([tag, 0x82, content.length >> 8, content.length & 0xff]), content]);
  };
  const keysOf = (region: string) => [...regionKeys("rsa2048", [region], spec.certificates).values()];

  test("with any byte changed is refused, or says the same: not all of a message is signed", () => {
    const message = east.sign(documentOf());
    let refused = 0;
    for (let at = 0; at < message.length; at++) {
      const changed = Buffer.from(message);
      changed[at]! ^= 0xff;
      const verified = verifySignedData(changed, keysOf("us-east-1"));
      if (verified.ok) expect(verified.value.content).toEqual(contentOf(message));
      else refused++;
    }
    expect(refused).toBeGreaterThan(500);
  });

  const contentOf = (message: Buffer): Buffer => {
    const verified = verifySignedData(message, keysOf("us-east-1"));
    if (!verified.ok) throw new Error(verified.reason);
    return verified.value.content;
  };

  test.each(["", "no base64!", "AAAA", "{}", '{"document":"a"}', "MIAGCSqGSIb3DQEHAqCAMIACAQEx"])(
    "that is %j is refused",
    async (evidence) => {
      expect(await attest(evidence)).toMatch(/^(evidence_empty|message_(malformed|algorithm_refused))$/);
    },
  );

  test("is refused without a fault, whatever the bytes are", () => {
    const message = east.sign(documentOf());
    const keys = keysOf("us-east-1");
    fc.assert(
      fc.property(fc.nat(message.length), fc.uint8Array({ maxLength: 12 }), fc.nat(8), (at, bytes, cut) => {
        const changed = Buffer.concat([message.subarray(0, at), bytes, message.subarray(at + cut)]);
        const verified = verifySignedData(changed, keys);
        if (verified.ok) expect(verified.value.content).toEqual(contentOf(message));
      }),
      { numRuns: 1000 },
    );
  });
});

describe("an RSA-1024 signature", () => {
  const published = outsideData(
    "aws",
    "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/regions-certs.html",
  );

  test("is not taken unless an operator says so, not even in the strong form", async () => {
    const pair = JSON.stringify({ document: documentOf(), signature: "AAAA" });
    expect(await attest(pair)).toBe("message_algorithm_refused");
    const certificates = { "us-east-1": weak.certificate };
    const lenient = attestBy({ ...spec, certificates, allowRsa1024: true });
    expect(await lenient(lines(weak.sign(documentOf())))).toBe("message_signature_wrong");
  });

  test.skipIf(published === undefined)(
    "of a real instance is verified with the key that AWS publishes",
    async () => {
      const read = (name: string) => readFileSync(join(published!, name), "utf8");
      const evidence = (document: string) =>
        JSON.stringify({ document, signature: read("sample-document.sig.b64") });
      const document = read("sample-document.json");
      const clock = { now: () => Date.parse("2022-03-25T20:08:00Z") };
      const real: Spec = {
        ...spec,
        accountIds: ["628783029487"],
        regions: ["us-east-1"],
        certificates: {},
        allowRsa1024: true,
      };
      const parts = { kind: "aws-ec2", provider: "p", clock, useOnce: async () => true };
      const check = (text: string) =>
        attestEvidence(
          makeTrustProvider(real, { clock, joinTokens: { redeem: async () => undefined } })!,
          Buffer.from(evidence(text)),
          parts,
        );
      expect(await check(document)).toMatchObject({
        ok: true,
        value: {
          attributes: {
            "aws-ec2.instance-id": "i-076e9b91f7c420782",
            "aws-ec2.image-id": "ami-0c02fb55956c7d316",
          },
        },
      });
      expect(await check(document.replace("628783029487", "628783029488"))).toMatchObject({
        reason: { reason: "message_signature_wrong" },
      });
    },
  );
});

test("the keys of all regions are strong, and each region has its own", () => {
  const regions =
    "us-east-1 us-east-2 us-west-1 us-west-2 eu-west-1 eu-central-1 cn-north-1 us-gov-west-1 ap-south-1".split(
      " ",
    );
  const keys = regionKeys("rsa2048", regions, {});
  expect([...keys.keys()].toSorted()).toEqual(regions.toSorted());
  expect(new Set([...keys.values()].map((key) => key.export({ type: "spki", format: "pem" }))).size).toBe(
    regions.length,
  );
  for (const key of keys.values()) expect(key.asymmetricKeyDetails?.modulusLength).toBe(2048);
});
