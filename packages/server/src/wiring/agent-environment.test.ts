// SPDX-License-Identifier: Apache-2.0
import type { Resource } from "@postern/contract";
import { describe, expect, it } from "vitest";
import { PLACEHOLDER_MARKER } from "../guard/placeholder.ts";
import { Secret } from "../kernel/secret.ts";
import { loadProfiles } from "../profiles/profile.ts";
import { ResourceSet } from "../resources/resource-set.ts";
import { addedVariables, removedVariables } from "./agent-environment.ts";

const profiles = loadProfiles();
const secret = "sk-proj-4f9c2e71b0a8d653";
const removed = (environment: Record<string, string>, keep: string[] = []) =>
  removedVariables(environment, keep, [Secret.fromUtf8(secret)], profiles.values());

describe("variables that do not reach the agent", () => {
  it.each([
    ["as it is", secret],
    ["inside a sentence", `the key is ${secret}, keep it`],
    ["inside a URL", `https://x.example/?k=${secret}&y=1`],
    ["as a URL's password", `https://u:${encodeURIComponent(secret)}@x.example/`],
    ["in base64", Buffer.from(secret).toString("base64")],
    ["in base64 of something longer", Buffer.from(`user:${secret}\n`).toString("base64")],
    ["in base64url", Buffer.from(`xx${secret}`).toString("base64url")],
    ["in hexadecimal", Buffer.from(secret).toString("hex").toUpperCase()],
    ["inside JSON", JSON.stringify({ key: secret })],
    ["over several lines", `-----\n${secret}\n-----`],
  ])("are those that hold a secret %s, even where they should be kept", (_how, value) => {
    expect(removed({ HARMLESS: value, OTHER: "x" }, ["HARMLESS"])).toEqual(["HARMLESS"]);
  });

  it.each([
    ...[
      "OPENAI_API_KEY",
      "ANTHROPIC_AUTH_TOKEN",
      "GEMINI_API_KEY",
      "GOOGLE_GENAI_API_KEY",
      "AWS_ACCESS_KEY_ID",
    ],
    ...[
      "AWS_SECRET_ACCESS_KEY",
      "AWS_SESSION_TOKEN",
      "GITHUB_TOKEN",
      "GH_PAT",
      "HF_TOKEN",
      "STRIPE_SECRET_KEY",
    ],
    ...[
      "AZURE_OPENAI_KEY",
      "DEEPL_AUTH_KEY",
      "PGPASSWORD",
      "MYSQL_PWD",
      "DB_PASSWORD",
      "REDISCLI_AUTH",
      "SSHPASS",
    ],
    ...[
      "npm_config__authToken",
      "SENTRY_DSN",
      "CLIENT_SECRET",
      "GPG_PASSPHRASE",
      "my_api_key",
      "APIKEY",
      "TOKEN",
    ],
    ...["AZURE_STORAGE_CONNECTION_STRING", "GOOGLE_CREDENTIALS"],
  ])("are those whose name says so: %s, unless they are to be kept", (name) => {
    expect(removed({ [name]: "x" })).toEqual([name]);
    expect(removed({ [name]: "x" }, [name])).toEqual([]);
  });

  it.each([
    ...[
      "HTTPS_PROXY",
      "https_proxy",
      "NO_PROXY",
      "no_proxy",
      "ALL_PROXY",
      "grpc_proxy",
      "GOOGLE_APPLICATION_CREDENTIALS",
    ],
    ...[
      "ANTHROPIC_CUSTOM_HEADERS",
      "ANTHROPIC_IDENTITY_TOKEN_FILE",
      "OPENAI_ORGANIZATION",
      "GOOGLE_GENAI_USE_VERTEXAI",
    ],
  ])("are those that lead around the gateway: %s, even where they should be kept", (name) => {
    expect(removed({ [name]: "x" }, [name])).toEqual([name]);
  });

  it("are URLs with a password of any kind", () => {
    expect(
      removed({
        A: "postgres://u:p@db/x",
        B: "redis://:p@h",
        C: "postgres://u@db/x",
        D: "https://x.example:8443/a@b",
      }),
    ).toEqual(["A", "B"]);
  });

  it("are not those of everyday work", () => {
    const names = [
      "PATH",
      "HOME",
      "PWD",
      "OLDPWD",
      "LANG",
      "TERM",
      "SHELL",
      "KEYBOARD",
      "MONKEY",
      "TOKENIZERS_PARALLELISM",
      "SSH_PUBLIC_KEY",
      "PATIENCE",
    ];
    expect(removed(Object.fromEntries(names.map((name) => [name, "x"])))).toEqual([]);
  });

  it("are found where no secret is set at all", () => {
    expect(removedVariables({ A: "x", B_TOKEN: "y" }, [], [], profiles.values())).toEqual(["B_TOKEN"]);
  });
});

describe("variables that are added", () => {
  const workload = (name: string, profile: string): Resource => ({
    kind: "ServerWorkload",
    metadata: { name },
    spec: { profile, port: 443 },
  });
  const policy = (agent: string, serverWorkload: string): Resource =>
    ({
      kind: "AccessPolicy",
      metadata: { name: `${agent}-${serverWorkload}` },
      spec: { agents: [agent], serverWorkload },
    }) as unknown as Resource;
  const files = { authority: "/run/ca.pem", bundle: "/run/bundle.pem", doorSocket: "/run/door.sock" };
  const resources = new ResourceSet([
    workload("a-openai", "openai"),
    workload("b-openai", "openai"),
    workload("gemini", "gemini"),
    policy("mine", "b-openai"),
  ]);
  const added = (agent?: string) => addedVariables(resources, profiles, agent, files);

  it("hold placeholders instead of keys, and base URLs of what the agent's policies name", () => {
    const variables = added("mine");
    expect(variables["OPENAI_API_KEY"]).toContain(PLACEHOLDER_MARKER);
    expect(variables["OPENAI_BASE_URL"]).toBe("http://127.0.0.1:{port}/b-openai/v1");
    expect(added("another")["OPENAI_BASE_URL"]).toBe("http://127.0.0.1:{port}/a-openai/v1");
    expect(variables["GOOGLE_GEMINI_BASE_URL"]).toBe("http://127.0.0.1:{port}/gemini");
    expect(variables).not.toHaveProperty("ANTHROPIC_API_KEY");
  });

  it("send everything through the gate, but for the gate itself", () => {
    const variables = added();
    for (const name of ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
      expect(variables[name]).toBe("http://127.0.0.1:{port}");
    expect(variables["NO_PROXY"]).toBe("127.0.0.1,localhost");
    expect(variables["SSL_CERT_FILE"]).toBe("/run/bundle.pem");
    expect(variables["NODE_EXTRA_CA_CERTS"]).toBe("/run/ca.pem");
    expect(variables["POSTERN_DOOR"]).toBe("/run/door.sock");
  });

  it("replace what was taken out by name, so that no key of the user's own is left", () => {
    for (const { environment, secretVariables } of profiles.values())
      for (const name of Object.keys(environment).filter((each) => each.endsWith("_KEY")))
        expect(secretVariables).toContain(name);
  });
});
