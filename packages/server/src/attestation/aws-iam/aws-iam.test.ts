// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from "node:crypto";
import {
  type AwsPrincipal,
  createTestAuthority,
  type Presign,
  presignUrl,
  startAwsSts,
} from "@postern/testkit";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { attestBy } from "../attest-spec.fixture.ts";
import { issuerUnderTest } from "../token/attest-token.fixture.ts";

const authority = await createTestAuthority();
const sts = await startAwsSts(authority);
const ISSUER = "https://a103a2cc-b461-473d-84fe-6c4f6d45af88.tokens.sts.global.api.aws";
const spec = {
  kind: "aws-iam" as const,
  audience: "https://postern.example",
  accountIds: ["123456789012"],
};
const token = await issuerUnderTest({ ...spec, issuer: ISSUER }, ISSUER);
afterEach(() => sts.setAnswer(undefined));
afterAll(() => Promise.all([sts.close(), token.issuer.close()]));

const reach = {
  allowedNetworks: ["127.0.0.1/32"],
  caCertificates: authority.certificate,
  connectTo: { address: "127.0.0.1", port: sts.port },
};
const attest = attestBy({ ...spec, regions: ["eu-west-1"], ...reach });
const role = sts.assumeRole("agents", "i-0123456789abcdef0");
const sign = (principal: AwsPrincipal, change: Partial<Presign> = {}) => {
  const nonce = randomUUID();
  const url = presignUrl(principal, {
    ...{
      host: "sts.eu-west-1.amazonaws.com",
      region: "eu-west-1",
      service: "sts",
      date: new Date(),
      expires: 60,
    },
    headers: { "x-postern-audience": spec.audience, "x-postern-nonce": nonce },
    parameters: { Action: "GetCallerIdentity", Version: "2011-06-15" },
    ...change,
  });
  return `${url}#${nonce}`;
};

describe("a signed request of GetCallerIdentity", () => {
  test("proves the role and its id, and not the session's name, which the caller chose", async () => {
    const selectors = await attest(sign(role));
    expect(selectors).toEqual([
      "aws-iam:account-id=123456789012",
      "aws-iam:region=eu-west-1",
      expect.stringMatching(/^aws-iam:role-id=AROA[0-9A-F]{17}$/),
      "aws-iam:role=agents",
    ]);
    const disguised = sts.assumeRole("agents", "admin");
    expect(String(await attest(sign(disguised)))).not.toContain("admin");
  });

  test("made for another service is refused by AWS, because the audience is signed", async () => {
    const nonce = randomUUID();
    const headers = { "x-postern-audience": "https://other.example", "x-postern-nonce": nonce };
    const [url] = sign(role, { headers }).split("#");
    expect(await attest(`${url}#${nonce}`)).toBe("request_refused_by_aws");
  });

  test("with one character of the signature or of the nonce changed is refused by AWS", async () => {
    const text = sign(role);
    const flip = (at: number) => text.slice(0, at) + (text[at] === "0" ? "1" : "0") + text.slice(at + 1);
    expect(await attest(flip(text.indexOf("#") - 1))).toBe("request_refused_by_aws");
    expect(await attest(flip(text.length - 1))).toBe("request_refused_by_aws");
  });

  test("signed by a key that AWS does not know is refused", async () => {
    expect(await attest(sign({ ...role, accessKeyId: "ASIAAAAAAAAAAAAAAAAA" }))).toBe(
      "request_refused_by_aws",
    );
    expect(await attest(sign({ ...role, sessionToken: "b3RoZXI=" }))).toBe("request_refused_by_aws");
  });

  test("counts once", async () => {
    const url = sign(role);
    expect(await attest(`${url}\n`)).toBeInstanceOf(Array);
    expect(await attest(url)).toBe("evidence_used_before");
  });

  test.each<[string, () => AwsPrincipal, string]>([
    ["of another account", () => sts.assumeRole("agents", "s", "999999999999"), "account_not_listed"],
    [
      "of the root of the account",
      () => sts.addUser("arn:aws:iam::123456789012:root", "123456789012", "1"),
      "principal_refused",
    ],
    [
      "of a federated user",
      () => sts.addUser("arn:aws:sts::123456789012:federated-user/x", "123456789012", "1"),
      "principal_refused",
    ],
    [
      "whose ARN and account differ",
      () => sts.addUser("arn:aws:iam::123456789012:user/x", "999999999999", "1"),
      "account_inconsistent",
    ],
  ])("%s is refused", async (_, principal, reason) => {
    expect(await attest(sign(principal()))).toBe(reason);
  });

  test("of a user proves the user, without its path", async () => {
    const user = sts.addUser(
      "arn:aws:iam::123456789012:user/division/bob",
      "123456789012",
      "AIDACKCEVSQ6C2EXAMPLE",
    );
    expect(await attest(sign(user))).toEqual([
      "aws-iam:account-id=123456789012",
      "aws-iam:region=eu-west-1",
      "aws-iam:user-id=AIDACKCEVSQ6C2EXAMPLE",
      "aws-iam:user=bob",
    ]);
  });

  test("must meet the conditions, as every evidence must", async () => {
    const strict = attestBy({
      ...{ ...spec, regions: ["eu-west-1"], ...reach },
      conditions: [{ claim: "Arn", oneOf: ["arn:aws:sts::123456789012:assumed-role/agents/one"] }],
    });
    expect(await strict(sign(role))).toBe("condition_not_met");
    expect(await strict(sign(sts.assumeRole("agents", "one")))).toBeInstanceOf(Array);
  });

  test("is not tried in another way: a token where only requests are set up, and the other way round", async () => {
    expect(await attest("eyJhbGciOiJSUzI1NiJ9.e30.AA")).toBe("evidence_of_another_form");
    expect(await token.attest(sign(role))).toBe("evidence_of_another_form");
  });
});

describe("an answer of STS", () => {
  const json = (identity: unknown) =>
    JSON.stringify({ GetCallerIdentityResponse: { GetCallerIdentityResult: identity } });
  const arn = "arn:aws:sts::123456789012:assumed-role/agents/s";

  test.each<[string, { status: number; type: string; body: string }, string]>([
    [
      "that is XML",
      { status: 200, type: "text/xml", body: `<Arn>${arn}</Arn>` },
      "authority_answer_malformed",
    ],
    [
      "that says it is XML",
      { status: 200, type: "text/xml", body: json({ Arn: arn, Account: "123456789012" }) },
      "authority_answer_malformed",
    ],
    [
      "that reflects an identity elsewhere in it (CVE-2020-16250)",
      {
        status: 200,
        type: "application/json",
        body: `{"GetSessionTokenResponse":{"x":${JSON.stringify(json({ Arn: arn }))}}}`,
      },
      "authority_answer_malformed",
    ],
    [
      "that names two identities",
      {
        status: 200,
        type: "application/json",
        body: `{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Arn":"${arn}","Arn":"${arn}"}}}`,
      },
      "authority_answer_malformed",
    ],
    ["without an identity", { status: 200, type: "application/json", body: json({}) }, "principal_refused"],
    [
      "with a list of identities",
      { status: 200, type: "application/json", body: json([{ Arn: arn }]) },
      "authority_answer_malformed",
    ],
    ["that is a redirect", { status: 302, type: "text/html", body: "" }, "authority_redirects"],
    ["that says slow down", { status: 429, type: "application/json", body: "{}" }, "authority_status_429"],
    ["that is a fault", { status: 500, type: "application/json", body: "{}" }, "authority_status_500"],
  ])("%s lets nobody in", async (_, answer, reason) => {
    sts.setAnswer(answer);
    expect(await attest(sign(role))).toBe(reason);
  });
});

describe("a token of GetWebIdentityToken", () => {
  /** As AWS documents it. */
  const aws = {
    aws_account: "123456789012",
    source_region: "us-east-1",
    org_id: "o-abc1234567",
    ou_path: "o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/",
    principal_tags: { environment: "production" },
    lambda_source_function_arn: "arn:aws:lambda:us-east-1:123456789012:function:process-data",
    request_tags: { "role-id": "AROAFORGED", "job-id": "job-2024-001" },
  };
  const claims = {
    aud: spec.audience,
    sub: "arn:aws:iam::123456789012:role/data/DataProcessingRole",
    "https://sts.amazonaws.com/": aws,
  };
  const within = (change: object) => ({ "https://sts.amazonaws.com/": { ...aws, ...change } });

  test.each<[string, object, string]>([
    [
      "of another account",
      { sub: "arn:aws:iam::999999999999:role/x", ...within({ aws_account: "999999999999" }) },
      "account_not_listed",
    ],
    [
      "whose subject is of another account",
      { sub: "arn:aws:iam::999999999999:role/x" },
      "account_inconsistent",
    ],
    ["whose account is of another subject", within({ aws_account: "999999999999" }), "account_inconsistent"],
    ["without account", within({ aws_account: undefined }), "account_inconsistent"],
    ["of the root", { sub: "arn:aws:iam::123456789012:root" }, "principal_refused"],
    ["of a name that is no ARN", { sub: "DataProcessingRole" }, "principal_refused"],
    ["of another account's issuer", { iss: "https://other.tokens.sts.global.api.aws" }, "token_issuer_wrong"],
    ["without jti", { jti: undefined }, "token_id_missing"],
  ])("%s is refused", async (_, change, reason) => {
    expect(await token.attest(token.issuer.sign({ ...claims, ...change }))).toBe(reason);
  });

  test("proves role, function and organization, and nothing that the caller asked to have in it", async () => {
    expect(await token.attest(token.issuer.sign(claims))).toEqual([
      "aws-iam:account-id=123456789012",
      "aws-iam:lambda-function=arn:aws:lambda:us-east-1:123456789012:function:process-data",
      "aws-iam:organization-id=o-abc1234567",
      "aws-iam:region=us-east-1",
      "aws-iam:role-arn=arn:aws:iam::123456789012:role/data/DataProcessingRole",
      "aws-iam:role=DataProcessingRole",
    ]);
  });

  test("counts once", async () => {
    const text = token.issuer.sign(claims);
    await token.attest(text);
    expect(await token.attest(text)).toBe("evidence_used_before");
  });
});
