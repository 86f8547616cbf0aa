// SPDX-License-Identifier: Apache-2.0
/** A go-spiffe client outside of a run calls an API through the gateway by mTLS, through a rotation and up to a cut. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { StatusResponse } from "@postern/contract";
import { type Postern, type StandIns, startPostern, startStandIns } from "@postern/testkit";

interface Line {
  readonly event: "ready" | "called" | "error";
  readonly id?: string;
  readonly refused?: boolean;
  readonly status?: number;
  readonly serial?: string;
}

const AGENT = "go-agent";
const ID = "spiffe://corp/services/go-agent";

/** Throws where the client does not see what it should. */
export async function tryThroughGateway(folder: string, program: string): Promise<void> {
  const socket = join(folder, "workload.sock");
  const standIns = await startStandIns();
  const postern = await startPostern({
    args: ["--trust-domain", "corp", "--gateway-listen", "127.0.0.1:0", "--workload-api-socket", socket],
  });
  let client: ChildProcess | undefined;
  try {
    await register(postern, standIns, program);
    const { stdout } = await postern.postern(["status", "--json"]);
    const { gateway } = JSON.parse(stdout) as StatusResponse;
    const env = { ...process.env, SPIFFE_ENDPOINT_SOCKET: `unix://${socket}` };
    client = spawn(program, [`https://${gateway}/openai/v1/chat/completions`], {
      ...{ env, stdio: ["pipe", "pipe", "inherit"] },
    });
    await story(postern, standIns, client);
  } finally {
    client?.kill();
    await postern.stop();
    await standIns.close();
  }
}

async function register(postern: Postern, standIns: StandIns, program: string): Promise<void> {
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  const documents = standIns.resources({ agents: [AGENT] }).split(/^---\n/m);
  const others = documents.filter((text) => !text.startsWith("kind: Agent\n")).join("---\n");
  const selectors = [`process:uid=${process.getuid!()}`, `process:path=${program}`];
  const spec = { trustProvider: "local", selectors, spiffeId: ID };
  await postern.apply(
    `${others}---\n${JSON.stringify({ kind: "Agent", metadata: { name: AGENT }, spec })}\n`,
  );
}

async function story(postern: Postern, standIns: StandIns, client: ChildProcess): Promise<void> {
  const lines = createInterface({ input: client.stdout! })[Symbol.asyncIterator]();
  const next = async (): Promise<Line> => {
    const { value } = (await lines.next()) as { value: string | undefined };
    if (value === undefined) throw new Error("the client has ended");
    return JSON.parse(value) as Line;
  };
  const call = (): Promise<Line> => {
    client.stdin!.write("call\n");
    return next();
  };
  const operator = async (...words: string[]): Promise<void> => {
    const { code, stderr } = await postern.postern(words);
    if (code !== 0) throw new Error(`${words.join(" ")}: ${stderr}`);
  };
  // Whoever expects another gateway does not talk to this one.
  expectSeen("the identity", await next(), { event: "ready", id: ID, refused: true });
  const first = await call();
  expectSeen("a call", first, { event: "called", status: 200 });
  if (standIns.openai.requests.length !== 1) throw new Error("the call did not come to the API");
  for (const words of [
    ["prepare", "x509"],
    ["activate", "x509-2", "--force"],
    ["taint", "x509-1"],
  ])
    await operator("ca", ...words);
  await operator("ca", "revoke", "x509-1");
  const second = await call();
  expectSeen("a call after a rotation", second, { event: "called", status: 200 });
  if (second.serial === first.serial) throw new Error("the identity was not rotated");
  await operator("cut", AGENT);
  expectSeen("a call after the cut", await call(), { event: "called", status: 403 });
}

function expectSeen(when: string, seen: Line, wanted: Partial<Line>): void {
  for (const [name, value] of Object.entries(wanted))
    if (seen[name as keyof Line] !== value)
      throw new Error(`${when}: expected ${JSON.stringify(wanted)}, the client saw ${JSON.stringify(seen)}`);
}
