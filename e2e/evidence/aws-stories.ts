// SPDX-License-Identifier: Apache-2.0
/** The stories of AWS: a request that the workload has signed, and the identity document of an instance. */
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type AwsPrincipal,
  outsideData,
  presignUrl,
  startAwsSts,
  type TestAuthority,
} from "@postern/testkit";
import { AUDIENCE, type Break, breaks, NOWHERE, reach, type Story } from "./story.ts";

const ACCOUNT = "123456789012";

interface SignedChange {
  readonly parameters?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly expires?: number;
  readonly date?: Date;
  /** What is presented with the URL, if not what was signed. */
  readonly nonce?: string;
}

const WHERE = { host: "sts.eu-west-1.amazonaws.com", region: "eu-west-1", service: "sts" };
const PARAMETERS = { Action: "GetCallerIdentity", Version: "2011-06-15" };

function signed(who: AwsPrincipal, change: SignedChange = {}): string {
  const signedNonce = randomUUID();
  const { date = new Date(), expires = 60, nonce = signedNonce, parameters = PARAMETERS } = change;
  const headers = { "x-postern-audience": AUDIENCE, "x-postern-nonce": signedNonce, ...change.headers };
  return `${presignUrl(who, { ...WHERE, date, expires, headers, parameters })}#${nonce}`;
}

export async function signedRequest(authority: TestAuthority): Promise<Story> {
  const sts = await startAwsSts(authority);
  const role = sts.assumeRole("agents", "i-0123456789abcdef0");
  const edited = (from: string | RegExp, to: string) => () => signed(role).replace(from, to);
  const answered = (name: string, answer: Parameters<typeof sts.setAnswer>[0], reason: string): Break => ({
    ...{ name, reason, outcome: "unavailable" },
    evidence: () => (sts.setAnswer(answer), signed(role)),
    after: () => sts.setAnswer(undefined),
  });
  const arn = `arn:aws:sts::${ACCOUNT}:assumed-role/agents/x`;
  return {
    spec: {
      ...{ kind: "aws-iam", audience: AUDIENCE, accountIds: [ACCOUNT], regions: ["eu-west-1"] },
      ...reach(authority, sts.port),
    },
    selectors: ["aws-iam:role=agents"],
    path: ["roles/{aws-iam.role}", "roles/agents"],
    evidence: () => signed(role),
    down: NOWHERE,
    breaks: [
      ...breaks([
        [
          "for another action, whose answer its caller writes (CVE-2020-16250)",
          () => signed(role, { parameters: { ...PARAMETERS, Action: "GetSessionToken" } }),
          "request_parameter_malformed",
        ],
        [
          "with a parameter twice (CVE-2022-2385)",
          edited("#", "&Action=GetCallerIdentity#"),
          "request_parameter_twice",
        ],
        ["with a parameter in another case", edited("#", "&action=AssumeRole#"), "request_parameter_unknown"],
        ["with a parameter more", edited("#", "&RoleArn=x#"), "request_parameter_unknown"],
        ["with a name in escapes", edited("Action=", "%41ction="), "request_parameter_unknown"],
        ["for an attacker's host", edited(WHERE.host, "evil.example"), "request_host_refused"],
        ["for a host that only begins alike", edited(".com/", ".com.evil.example/"), "request_host_refused"],
        ["for the global endpoint", edited("sts.eu-west-1", "sts"), "request_host_refused"],
        ["for another region", edited("sts.eu-west-1", "sts.us-east-1"), "request_host_refused"],
        ["for another path", edited(".com/?", ".com/x?"), "request_host_refused"],
        ["with a header in its nonce", edited(/$/, "\r\nhost: evil.example"), "request_host_refused"],
        [
          "that does not sign the audience",
          edited("%3Bx-postern-audience", ""),
          "request_parameter_malformed",
        ],
        [
          "that signs another header too",
          () => signed(role, { headers: { "x-amz-target": "evil" } }),
          "request_parameter_malformed",
        ],
        [
          "made for another service",
          () => signed(role, { headers: { "x-postern-audience": "https://other.example" } }),
          "request_refused_by_aws",
        ],
        ["with a fresh nonce", () => signed(role, { nonce: randomUUID() }), "request_refused_by_aws"],
        [
          "signed by a key that AWS does not know",
          () => signed({ ...role, secretKey: "guessed" }),
          "request_refused_by_aws",
        ],
        ["for longer than a minute", () => signed(role, { expires: 61 }), "request_lives_too_long"],
        ["that has expired", () => signed(role, { date: new Date(Date.now() - 61_000) }), "request_expired"],
        [
          "from the future",
          () => signed(role, { date: new Date(Date.now() + 60_000) }),
          "request_not_yet_valid",
        ],
        [
          "of another account",
          () => signed(sts.assumeRole("agents", "s", "210987654321")),
          "account_not_listed",
        ],
        [
          "of another role whose session has the role's name",
          () => signed(sts.assumeRole("guest", "agents")),
          "no_agent_matches",
        ],
        [
          "of the root of the account",
          () => signed(sts.addUser(`arn:aws:iam::${ACCOUNT}:root`, ACCOUNT, "1")),
          "principal_refused",
        ],
        [
          "that is a token, which nobody has set up",
          () => "eyJhbGciOiJSUzI1NiJ9.e30.AA",
          "evidence_of_another_form",
        ],
      ]),
      answered(
        "that AWS answers with a redirect",
        { status: 302, type: "text/html", body: "" },
        "authority_redirects",
      ),
      answered(
        "whose answer has an identity where its caller put it",
        {
          status: 200,
          type: "application/json",
          body: JSON.stringify({ GetSessionTokenResponse: { Arn: arn } }),
        },
        "authority_answer_malformed",
      ),
      answered(
        "whose answer is XML",
        { status: 200, type: "text/xml", body: `<Arn>${arn}</Arn>` },
        "authority_answer_malformed",
      ),
      {
        ...{ name: "that was used before", reason: "evidence_used_before", isReplay: true },
        evidence: () => signed(role),
      },
    ],
    close: () => sts.close(),
  };
}

/** As the metadata service answers to `/rsa2048`: CMS by openssl, with the certificate of the region in the settings. */
export async function identityDocument(): Promise<Story> {
  const folder = mkdtempSync(join(tmpdir(), "postern-ec2-"));
  const openssl = (...words: string[]): Buffer =>
    execFileSync("openssl", words, { stdio: ["ignore", "pipe", "ignore"] });
  const signer = (name: string) => {
    const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
    const subject = ["-subj", "/C=US/ST=Washington State/L=Seattle/O=Stand-in"];
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", ...subject, "-keyout", key, "-out", certificate);
    return {
      certificate: readFileSync(certificate, "utf8"),
      sign: (document: string, ...more: string[]): Buffer => {
        const content = join(folder, "document.json");
        writeFileSync(content, document);
        const words = ["-signer", certificate, "-inkey", key, "-in", content, "-nodetach", "-binary"];
        return openssl("cms", "-sign", ...words, "-outform", "DER", "-md", "sha256", ...more);
      },
    };
  };
  const [east, west, stranger] = [signer("east"), signer("west"), signer("stranger")];
  const good = (): string => base64(east.sign(documentOf()));
  return {
    spec: {
      ...{ kind: "aws-ec2", accountIds: [ACCOUNT], regions: ["us-east-1", "eu-west-1"] },
      certificates: { "us-east-1": east.certificate, "eu-west-1": west.certificate },
    },
    selectors: [`aws-ec2:account-id=${ACCOUNT}`, "aws-ec2:region=us-east-1"],
    path: ["ec2/{aws-ec2.account-id}", `ec2/${ACCOUNT}`],
    evidence: good,
    breaks: [
      ...breaks([
        [
          "signed by a stranger, whose certificate is in the message",
          () => base64(stranger.sign(documentOf())),
          "message_signature_wrong",
        ],
        [
          "changed by one digit",
          () => base64(oneDigitOff(east.sign(documentOf()))),
          "message_signature_wrong",
        ],
        [
          "of one region, signed with the key of another",
          () => base64(west.sign(documentOf())),
          "region_wrong",
        ],
        [
          "of a region that is not listed",
          () => base64(east.sign(documentOf({ region: "us-west-2" }))),
          "region_wrong",
        ],
        [
          "of another account",
          () => base64(east.sign(documentOf({ accountId: "210987654321" }))),
          "account_not_listed",
        ],
        [
          "that names its account twice",
          () => base64(east.sign(documentOf().replace("{", `{"accountId":"${ACCOUNT}",`))),
          "document_malformed",
        ],
        [
          "of an instance that started last year",
          () => base64(east.sign(documentOf({ pendingTime: "2025-03-25T20:07:16Z" }))),
          "document_too_old",
        ],
        [
          "of an instance that starts in a while",
          () => base64(east.sign(documentOf({ pendingTime: "2099-03-25T20:07:16Z" }))),
          "document_not_yet_valid",
        ],
        [
          "signed with SHA-1",
          () => base64(east.sign(documentOf(), "-md", "sha1")),
          "message_algorithm_refused",
        ],
        [
          "with an RSA-1024 signature",
          () => JSON.stringify({ document: documentOf(), signature: "AAAA" }),
          "message_algorithm_refused",
        ],
        [
          "with bytes after it",
          () => base64(Buffer.concat([east.sign(documentOf()), Buffer.alloc(1)])),
          "message_malformed",
        ],
        ["of more than 16 KiB", () => "A".repeat(20_000), "evidence_too_large"],
      ]),
      {
        ...{ name: "that another process of the instance has used", reason: "evidence_used_before" },
        ...{ evidence: good, isReplay: true },
      },
    ],
    close: () => rmSync(folder, { recursive: true }),
  };
}

const base64 = (der: Buffer): string => der.toString("base64").replaceAll(/(.{64})/g, "$1\n");

let instances = 0;
/** As the metadata service writes it: four spaces of indentation. */
function documentOf(change: object = {}): string {
  const document = {
    ...{ accountId: ACCOUNT, architecture: "x86_64", availabilityZone: "us-east-1b" },
    ...{ imageId: "ami-0c02fb55956c7d316", instanceId: `i-${String(++instances).padStart(17, "0")}` },
    ...{ instanceType: "t2.micro", kernelId: null, pendingTime: `${new Date().toISOString().slice(0, 19)}Z` },
    ...{ privateIp: "172.31.84.238", region: "us-east-1", version: "2017-09-30", ...change },
  };
  return JSON.stringify(document, null, 4);
}

function oneDigitOff(message: Buffer): Buffer {
  const changed = Buffer.from(message);
  changed[changed.indexOf(ACCOUNT)] = 0x39;
  return changed;
}

/** One that AWS has signed and somebody has published: by the key that AWS publishes it would be taken, were it new. */
export function publishedDocuments(): Pick<Story, "spec" | "breaks"> | undefined {
  const folder = outsideData("aws", "https://github.com/coder/coder, awsidentity_test.go");
  if (folder === undefined) return undefined;
  const read = (name: string): string => readFileSync(join(folder, name), "utf8");
  const document = read("sample-document.json");
  const pair = (text: string) => () =>
    JSON.stringify({ document: text, signature: read("sample-document.sig.b64") });
  return {
    spec: {
      ...{ kind: "aws-ec2", accountIds: ["628783029487"], regions: ["us-east-1"], allowRsa1024: true },
      maxDocumentAge: 31_536_000,
    },
    breaks: breaks([
      ["of 2022", pair(document), "document_too_old"],
      [
        "of another instance than was signed",
        pair(document.replace("i-076e9b91f7c420782", "i-076e9b91f7c420783")),
        "message_signature_wrong",
      ],
    ]),
  };
}
