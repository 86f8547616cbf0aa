// SPDX-License-Identifier: Apache-2.0
/** Agents that are elsewhere: evidence in, an identity out, and calls through the gateway with it. */
import { request as httpsRequest, type RequestOptions } from "node:https";
import type { AttestResponse, IssuedIdentity, StatusResponse } from "@postern/contract";
import { type Postern, type StandIns, startPostern, startStandIns } from "@postern/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

let standIns: StandIns;
let postern: Postern;
let port: number;
let authorities: string;

beforeAll(async () => {
  standIns = await startStandIns();
  postern = await startPostern({ args: ["--trust-domain", "corp", "--gateway-listen", "127.0.0.1:0"] });
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(
    `${standIns.resources({ agents: ["local-agent", "joined", "other"] }).replaceAll(/kind: Agent\n[^]*?---\n/g, "")}---
kind: TrustProvider
metadata: { name: by-hand }
spec: { kind: join-token }
---
kind: Agent
metadata: { name: joined }
spec: { trustProvider: by-hand, selectors: [join-token:name=web-1], spiffeId: spiffe://corp/agents/web-1 }
---
kind: Agent
metadata: { name: other }
spec: { trustProvider: by-hand, selectors: [join-token:name=web-2], spiffeId: spiffe://corp/agents/web-2 }
---
kind: Agent
metadata: { name: local-agent }
spec: { trustProvider: local, selectors: [process:agent=local-agent] }
`,
  );
  const status = JSON.parse((await postern.postern(["status", "--json"])).stdout) as StatusResponse;
  port = Number(status.gateway!.split(":")[1]);
  authorities = (await identityOf("web-1")).authorities;
});
beforeEach(() => standIns.openai.forgetRequests());
afterAll(async () => {
  await postern?.stop();
  await standIns?.close();
});

interface Answer {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: string;
}

function call(options: RequestOptions, body = ""): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      { host: "127.0.0.1", port, method: "POST", ca: authorities, agent: false, ...options },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.once("error", reject);
        response.once("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString("utf8"),
          }),
        );
      },
    );
    request.once("error", reject);
    request.end(body);
  });
}

async function joinToken(name: string): Promise<string> {
  return (await postern.postern(["join", "token", name, "--provider", "by-hand"])).stdout.trim();
}

async function attest(evidence: string, want: object = { x509: {}, jwt: { audience: [] } }) {
  const body = { provider: "by-hand", evidence: Buffer.from(evidence).toString("base64"), want };
  const trust = authorities === undefined ? { rejectUnauthorized: false } : {};
  return call({ path: "/v1/attest", ...trust }, JSON.stringify(body));
}

async function identityOf(name: string, want?: object): Promise<IssuedIdentity> {
  const answer = await attest(await joinToken(name), want);
  expect(answer.status, answer.body).toBe(200);
  return (JSON.parse(answer.body) as AttestResponse).identity!;
}

const CHAT = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }] });
const certificateOf = ({ x509 }: IssuedIdentity) => ({ cert: x509!.certificate, key: x509!.privateKey! });

describe("an agent with an X.509-SVID", () => {
  it("calls an API by base URL, with the real key and not its own", async () => {
    const identity = await identityOf("web-1");
    const headers = { authorization: "Bearer placeholder", "content-type": "application/json" };
    const answer = await call(
      { path: "/openai/v1/chat/completions", headers, ...certificateOf(identity) },
      CHAT,
    );
    expect(answer.status, answer.body).toBe(200);
    expect(standIns.openai.requests).toHaveLength(1);
    const event = await postern.postern(["why", String(answer.headers["postern-audit-id"]), "--json"]);
    expect(JSON.parse(event.stdout)).toMatchObject({
      decision: {
        unmapped: { agent: "joined", spiffe_id: "spiffe://corp/agents/web-1", document: "X.509-SVID" },
      },
    });
  });
});
