// SPDX-License-Identifier: Apache-2.0
/** Does an agent elsewhere get in with nothing but evidence: one identity for it, calls with that, and none once it is revoked? */
import { X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Check, Stage } from "./stage.ts";

const REMOTE_AGENT = "remote-agent";
const SPIFFE_ID = `spiffe://demo/agents/${REMOTE_AGENT}`;

const RESOURCES = `\
kind: TrustProvider
metadata: { name: by-hand }
spec: { kind: join-token }
---
kind: Agent
metadata: { name: ${REMOTE_AGENT} }
spec: { trustProvider: by-hand, selectors: ["join-token:name=${REMOTE_AGENT}"], spiffeId: "${SPIFFE_ID}" }
---
kind: AccessPolicy
metadata: { name: remote-agent-may-use-openai }
spec: { agents: [${REMOTE_AGENT}], serverWorkload: openai, credentialProvider: openai-credential, allow: { models: [gpt-4o-mini] } }
`;

const BODY = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "Say hello." }] });

/** Everything that the agent has: the gateway's address, and files in a folder. */
interface Elsewhere {
  readonly gateway: string;
  readonly folder: string;
}

export async function checkIdentity(stage: Stage): Promise<Check[]> {
  const folder = await mkdtemp(join(tmpdir(), "postern-demo-elsewhere-"));
  try {
    await stage.postern.apply(RESOURCES);
    const run = (...words: string[]) => stage.postern.postern(words);
    const port = /"gateway":"[^"]*:(\d+)"/.exec((await run("status", "--json")).stdout)?.[1];
    const there = { folder, gateway: `https://127.0.0.1:${port}` };
    await writeFile(join(folder, "gateway-ca.pem"), (await run("ca", "bundle", "--pem")).stdout);
    await writeFile(
      join(folder, "evidence"),
      (await run("join", "token", REMOTE_AGENT, "--provider", "by-hand")).stdout.trim(),
    );
    return [
      await judgeEvidence(stage, there),
      await judgeSecondUse(stage, there),
      await judgeCall(stage, there),
      await judgeRevoked(stage, there),
    ];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** `postern attest` as the agent runs it on its own machine. */
async function attest(stage: Stage, { folder, gateway }: Elsewhere): Promise<number> {
  const files = ["--evidence-file", join(folder, "evidence"), "--ca", join(folder, "gateway-ca.pem")];
  const words = ["attest", "--server", gateway, "--provider", "by-hand", ...files, "--write", folder];
  const { code, stderr, stdout } = await stage.postern.postern(words);
  stage.collected.push({ place: "output of attest", content: stdout + stderr });
  return code ?? 1;
}

async function judgeEvidence(stage: Stage, there: Elsewhere): Promise<Check> {
  const code = await attest(stage, there);
  const pem = await readFile(join(there.folder, "svid.pem")).catch(() => undefined);
  const names = pem === undefined ? "no certificate" : new X509Certificate(pem).subjectAltName;
  return {
    name: "evidence becomes a SPIFFE identity",
    ok: code === 0 && names === `URI:${SPIFFE_ID}`,
    detail: `code ${code}: ${names}`,
  };
}

async function judgeSecondUse(stage: Stage, there: Elsewhere): Promise<Check> {
  const known = await readFile(join(there.folder, "svid.pem"), "utf8").catch(() => undefined);
  const code = await attest(stage, there);
  const now = await readFile(join(there.folder, "svid.pem"), "utf8").catch(() => undefined);
  const ok = code === 1 && known !== undefined && now === known;
  return { name: "the same evidence a second time is refused", ok, detail: `code ${code}` };
}

async function judgeCall(stage: Stage, there: Elsewhere): Promise<Check> {
  const { openai } = stage.standIns;
  const before = openai.requests.length;
  const { body, status } = await callOpenAi(stage, there);
  const seen = openai.requests.slice(before).flatMap(({ credentials }) => credentials);
  const injected = seen.length === 1 && seen[0]!.value === stage.standIns.secrets["openai-key"];
  const detail = `status ${status}, ${injected ? "the real key arrived" : "no call with the real key"}`;
  const ok = status === 200 && body.includes("Hello from the stand-in.") && injected;
  return { name: "with it, and no key, an API is called", ok, detail };
}

async function judgeRevoked(stage: Stage, there: Elsewhere): Promise<Check> {
  const { openai } = stage.standIns;
  const cut = await stage.postern.postern(["cut", REMOTE_AGENT, "--reason", "demo"]);
  const before = openai.requests.length;
  const first = await callOpenAi(stage, there);
  // On a machine with too much else to do a call may end without any answer, which proves nothing: asked once more.
  const { body, status } = first.status === 0 ? await callOpenAi(stage, there) : first;
  const code = /"code":"(\w+)"/.exec(body)?.[1] ?? body.slice(0, 100);
  const ok = cut.code === 0 && status === 403 && openai.requests.length === before;
  return { name: "revoked, the identity opens nothing", ok, detail: `status ${status} ${code}` };
}

/** One call with the certificate alone; status 0 where it cannot be made. */
async function callOpenAi(
  stage: Stage,
  { folder, gateway }: Elsewhere,
): Promise<{ status: number; body: string }> {
  try {
    const read = (name: string) => readFile(join(folder, name));
    const [ca, cert, key] = await Promise.all(["gateway-ca.pem", "svid.pem", "svid_key.pem"].map(read));
    const answer = await post(`${gateway}/openai/v1/chat/completions`, { ca, cert, key });
    stage.collected.push({ place: "answer to the remote agent", content: answer.body });
    return answer;
  } catch (error) {
    return { status: 0, body: (error as Error).message };
  }
}

function post(url: string, tls: object): Promise<{ status: number; body: string }> {
  const headers = { "content-type": "application/json" };
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: "POST", agent: false, headers, ...tls }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => (body += text));
      response.once("error", reject);
      response.once("end", () => resolve({ status: response.statusCode ?? 0, body }));
    });
    sent.once("error", reject);
    sent.end(BODY);
  });
}
