// SPDX-License-Identifier: Apache-2.0
import { afterAll, describe, expect, test } from "vitest";
import { issuerUnderTest } from "../token/attest-token.fixture.ts";

const TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const OTHER = "11111111-2222-3333-4444-555555555555";
const LOGIN = "login.microsoftonline.com";
const spec = { kind: "azure", audience: "api://postern", tenantId: TENANT, tokenVersion: 1 } as const;
const first = await issuerUnderTest(spec, `https://sts.windows.net/${TENANT}/`, [LOGIN]);
const second = await issuerUnderTest({ ...spec, tokenVersion: 2 }, `https://${LOGIN}/${TENANT}/v2.0`);
afterAll(() => Promise.all([first.issuer.close(), second.issuer.close()]));

const machine = `/subscriptions/${OTHER}/resourcegroups/agents/providers/Microsoft.Compute/virtualMachines/Agent-1`;
/** As a managed identity gets it from the metadata service. */
const claims = {
  aud: "api://postern",
  aio: "k2JgYNhT+4t",
  appid: "aaaaaaaa-0000-0000-0000-000000000001",
  appidacr: "2",
  idp: `https://sts.windows.net/${TENANT}/`,
  idtyp: "app",
  oid: "bbbbbbbb-0000-0000-0000-000000000002",
  sub: "bbbbbbbb-0000-0000-0000-000000000002",
  tid: TENANT,
  ver: "1.0",
  xms_mirid: machine,
};

describe("a token of Azure", () => {
  test.each<[string, object, string]>([
    ["that names another tenant", { tid: OTHER }, "tenant_wrong"],
    [
      "of another tenant's issuer",
      { iss: `https://sts.windows.net/${OTHER}/`, tid: OTHER },
      "token_issuer_wrong",
    ],
    ["of the issuer of all tenants", { iss: "https://sts.windows.net/common/" }, "token_issuer_wrong"],
    ["for Azure's own management", { aud: "https://management.azure.com/" }, "token_audience_wrong"],
    ["of a user through an application", { scp: "user_impersonation" }, "token_of_a_user"],
    ["of a user without scopes", { scp: "" }, "token_of_a_user"],
    ["of a user with scopes in a list", { scp: ["user_impersonation"] }, "token_of_a_user"],
    ["that says it is a user's", { idtyp: "user" }, "token_of_a_user"],
    ["that says what it is in a list", { idtyp: ["app"] }, "token_of_a_user"],
    ["whose subject is a user's name for the application", { sub: "AAAAAGxK0n2" }, "token_of_a_user"],
    ["of a user", { appid: undefined }, "ids_missing"],
    ["of nobody", { oid: undefined, sub: undefined }, "ids_missing"],
  ])("%s is refused", async (_, change, reason) => {
    expect(await first.attest(first.issuer.sign({ ...claims, ...change }))).toBe(reason);
  });

  test("of version 2 is refused where version 1 is set: its issuer is another one", async () => {
    expect(await first.attest(second.issuer.sign({ ...claims, ver: "2.0" }))).toBe("token_issuer_wrong");
  });

  test("with the hints on certificates that Azure sends proves the machine, in lower case", async () => {
    const token = first.issuer.sign(claims, { x5t: "nOo3ZDrODXEK1jKWhXslHR_KXEg" });
    expect(await first.attest(token)).toEqual([
      `azure:application-id=${claims.appid}`,
      `azure:object-id=${claims.oid}`,
      "azure:resource-group=agents",
      `azure:resource-id=${machine.toLowerCase()}`,
      `azure:subscription-id=${OTHER}`,
      `azure:tenant-id=${TENANT}`,
    ]);
  });

  test("of version 2 proves its application", async () => {
    const { appid, xms_mirid: _, ...rest } = claims;
    const selectors = await second.attest(second.issuer.sign({ ...rest, azp: appid, ver: "2.0" }));
    expect(selectors).toEqual([
      `azure:application-id=${appid}`,
      `azure:object-id=${claims.oid}`,
      `azure:tenant-id=${TENANT}`,
    ]);
  });
});
