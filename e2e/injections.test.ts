// SPDX-License-Identifier: Apache-2.0
/** Every way in which a credential is placed in a request to an API that has no profile of its own. */
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import {
  createTestAuthority,
  findSecrets,
  newMarkedSecret,
  type Postern,
  startPostern,
} from "@postern/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const secret = newMarkedSecret("tok-");

let upstream: Server;
let postern: Postern;
/** Target and headers of the request that arrived last. */
let arrived: { target: string; headers: Record<string, unknown> } | undefined;

const injections = {
  bearer: { kind: "bearer" },
  header: { kind: "header", name: "x-token", value: "Token {secret}" },
  basic: { kind: "basic", username: "robot" },
  query: { kind: "query", name: "auth" },
  path: { kind: "path", placeholder: "TOKEN-PLACE" },
};

beforeAll(async () => {
  const authority = await createTestAuthority();
  const names = Object.keys(injections);
  const { certificate, privateKey } = await authority.issue(names.map((name) => `${name}.example`));
  upstream = createServer({ cert: certificate, key: privateKey }, (request, response) => {
    arrived = { target: request.url!, headers: request.headers };
    // It sends everything back, as an error page of a framework does.
    response.end(JSON.stringify(arrived));
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  postern = await startPostern();
  await postern.setSecret("token", secret);
  const { port } = upstream.address() as AddressInfo;
  const documents = [
    { kind: "TrustProvider", metadata: { name: "local" }, spec: { kind: "process" } },
    {
      kind: "Agent",
      metadata: { name: "a" },
      spec: { trustProvider: "local", selectors: ["process:agent=a"] },
    },
    {
      kind: "CredentialProvider",
      metadata: { name: "c" },
      spec: { kind: "vault", secret: "token", serverWorkloads: names },
    },
    ...Object.entries(injections).flatMap(([name, injection]) => [
      {
        kind: "ServerWorkload",
        metadata: { name },
        spec: {
          profile: "http",
          hosts: [`${name}.example`],
          injection,
          connectTo: { address: "127.0.0.1", port },
          allowedNetworks: ["127.0.0.0/8"],
          caCertificates: authority.certificate,
        },
      },
      {
        kind: "AccessPolicy",
        metadata: { name },
        spec: { agents: ["a"], serverWorkload: name, credentialProvider: "c", allow: { methods: ["GET"] } },
      },
    ]),
  ];
  await postern.apply(documents.map((document) => JSON.stringify(document)).join("\n---\n"));
});

afterAll(async () => {
  await postern.stop();
  upstream.close();
});

/** Calls the URL with curl, by base URL (`/name/…`) or through the proxy. */
async function call(name: string, path: string, ...more: string[]): Promise<string> {
  arrived = undefined;
  const script = `curl -sS --globoff "$@" "$POSTERN_GATE/${name}${path}"; echo; curl -sS --globoff "$@" "https://${name}.example${path}"`;
  const result = await postern.postern(["run", "--agent", "a", "--", "sh", "-c", script, "sh", ...more]);
  expect(result.stderr).toBe("");
  return result.stdout;
}

describe("an injection of kind", () => {
  it.each([
    ["bearer", "/v1/thing", { authorization: `Bearer ${secret}` }],
    ["header", "/v1/thing", { "x-token": `Token ${secret}` }],
    ["basic", "/v1/thing", { authorization: `Basic ${Buffer.from(`robot:${secret}`).toString("base64")}` }],
  ])("%s puts it in one header and nowhere else", async (name, path, headers) => {
    const answer = await call(name, path, "-H", "authorization: Bearer mine", "-H", "x-token: mine");
    expect(arrived?.target).toBe(path);
    expect(arrived?.headers).toMatchObject(headers);
    expect(JSON.stringify(arrived)).not.toContain("mine");
    expect(findSecrets("answer", answer, { token: secret })).toEqual([]);
  });

  it("query sets exactly one parameter, whatever the agent put there", async () => {
    const answer = await call("query", "/v1/thing?a=1&auth=mine&%61uth=mine&b=2");
    expect(arrived?.target).toBe(`/v1/thing?a=1&b=2&auth=${secret}`);
    expect(findSecrets("answer", answer, { token: secret })).toEqual([]);
  });

  it("path puts it where the placeholder stands", async () => {
    const answer = await call("path", "/botTOKEN-PLACE/getMe");
    expect(arrived?.target).toBe(`/bot${secret}/getMe`);
    expect(findSecrets("answer", answer, { token: secret })).toEqual([]);
  });

  it("path refuses a request without the placeholder, or with two", async () => {
    for (const path of ["/bot/getMe", "/TOKEN-PLACE/TOKEN-PLACE"]) {
      const answer = await call("path", path);
      expect(answer).toContain('"code":"injection_failed"');
      expect(arrived).toBe(undefined);
    }
  });
});
