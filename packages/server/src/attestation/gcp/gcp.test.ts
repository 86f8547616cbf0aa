// SPDX-License-Identifier: Apache-2.0
import { generateKeyPairSync, sign } from "node:crypto";
import { afterAll, describe, expect, test } from "vitest";
import { issuerUnderTest } from "../token/attest-token.fixture.ts";

const spec = { kind: "gcp", audience: "https://postern.example" } as const;
const { attest, issuer } = await issuerUnderTest(
  { ...spec, projectIds: ["my-project"] },
  "https://accounts.google.com",
);
afterAll(() => issuer.close());

/** As Google documents a token of a virtual machine, with `format=full`. */
const claims = {
  aud: "https://postern.example",
  azp: "113774264463038321964",
  email: "270-compute@developer.gserviceaccount.com",
  email_verified: true,
  sub: "113774264463038321964",
  google: {
    compute_engine: {
      instance_creation_timestamp: 1_546_300_800,
      instance_id: "152986662232938449",
      instance_name: "example",
      project_id: "my-project",
      project_number: 739419398126,
      zone: "us-west1-a",
    },
  },
};
const machine = (change: object) => ({
  google: { compute_engine: { ...claims.google.compute_engine, ...change } },
});

describe("a token of Google Cloud", () => {
  test.each<[string, object, string]>([
    ["of a machine of another project", machine({ project_id: "evil-project" }), "project_not_listed"],
    ["without a machine", { google: undefined }, "machine_missing"],
    ["with the project beside the machine", { google: { project_id: "my-project" } }, "machine_missing"],
    ["of a machine without id", machine({ instance_id: undefined }), "machine_missing"],
    ["with a list of projects", machine({ project_id: ["my-project"] }), "machine_missing"],
    ["of nobody", { sub: undefined }, "ids_missing"],
    ["of the issuer's old name", { iss: "accounts.google.com" }, "token_issuer_wrong"],
  ])("%s is refused", async (_, change, reason) => {
    expect(await attest(issuer.sign({ ...claims, ...change }))).toBe(reason);
  });

  test("signed with the key of a service account, which its owner has, is refused (CVE-2020-16251)", async () => {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const [head = "", body = ""] = issuer.sign(claims).split(".");
    const forged = (header: string) =>
      `${header}.${body}.${sign("sha256", Buffer.from(`${header}.${body}`), privateKey).toString("base64url")}`;
    expect(await attest(forged(head))).toBe("token_signature_wrong");
    const own = { alg: "RS256", typ: "JWT", kid: "key-of-a-service-account" };
    expect(await attest(forged(Buffer.from(JSON.stringify(own)).toString("base64url")))).toBe(
      "token_key_unknown",
    );
  });

  test("of a machine proves project, zone, instance and service account", async () => {
    expect(await attest(issuer.sign(claims))).toEqual([
      "gcp:instance-id=152986662232938449",
      "gcp:instance-name=example",
      "gcp:project-id=my-project",
      "gcp:project-number=739419398126",
      "gcp:service-account-id=113774264463038321964",
      "gcp:service-account=270-compute@developer.gserviceaccount.com",
      "gcp:zone=us-west1-a",
    ]);
  });

  test("proves no address that Google has not verified", async () => {
    const selectors = await attest(
      issuer.sign({ ...claims, email: "boss@corp.example", email_verified: false }),
    );
    expect(String(selectors)).not.toContain("boss");
  });

  test("of a service account counts where its unique id is listed; both lists must be met where both are given", async () => {
    const { google: _, ...account } = claims;
    const ids = { serviceAccountIds: [claims.sub] };
    expect(await attest(issuer.sign(account), { ...ids, projectIds: undefined })).toContain(
      `gcp:service-account-id=${claims.sub}`,
    );
    expect(await attest(issuer.sign({ ...account, sub: "1" }), { ...ids, projectIds: undefined })).toBe(
      "service_account_not_listed",
    );
    expect(await attest(issuer.sign(account), ids)).toBe("machine_missing");
    expect(await attest(issuer.sign({ ...claims, sub: "1" }), ids)).toBe("service_account_not_listed");
  });
});
