// SPDX-License-Identifier: Apache-2.0
import { resourceSchema } from "@postern/contract";
import { expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { FORBIDDEN_MODELS, standInResources } from "./stand-in-resources.ts";
import type { StandIn } from "./stand-in/tls-stand-in.ts";
import { createTestAuthority } from "./test-authority.ts";

it("writes resources that the contract accepts, with the certificate unharmed and one model left out", async () => {
  const { certificate } = await createTestAuthority();
  const standIn = (name: string, host: string) => ({ name, port: 4321, hosts: [host] }) as unknown as StandIn;
  const text = standInResources(
    certificate,
    [standIn("openai", "api.openai.com"), standIn("git", "git.example.com")],
    {
      agents: ["one", "two"],
    },
  );
  const resources = parseAllDocuments(text).map((document) => resourceSchema.parse(document.toJS()));
  expect(resources.map(({ kind, metadata }) => `${kind}/${metadata.name}`)).toEqual([
    "TrustProvider/local",
    "Agent/one",
    "Agent/two",
    "ServerWorkload/openai",
    "CredentialProvider/openai-credential",
    "AccessPolicy/agents-may-use-openai",
    "ServerWorkload/git",
    "CredentialProvider/git-credential",
    "AccessPolicy/agents-may-use-git",
  ]);
  expect(resources[3]).toMatchObject({ spec: { caCertificates: certificate, connectTo: { port: 4321 } } });
  const allowed = JSON.stringify(resources[5]!.spec);
  expect(allowed).toContain('"gpt-4o-mini"');
  expect(allowed).not.toContain(`"${FORBIDDEN_MODELS.openai}"`);
});
