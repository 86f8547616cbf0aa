// SPDX-License-Identifier: Apache-2.0
/**
 * The Workload API for processes that no run was opened for: who gets an identity there and calls an API with it, who does
 * not, and what nobody can break.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  createSigstore,
  type OciRegistry,
  type Postern,
  type Sigstore,
  signSimply,
  simpleSigningPayload,
  type StandIns,
  startOciRegistry,
  startPostern,
  startStandIns,
} from "@postern/testkit";
import { gatewayPort } from "./gateway-client.ts";
import { svidOf, WorkloadClient } from "./workload-client.ts";

const SCRIPT = fileURLToPath(new URL("remote-workload.ts", import.meta.url));
const UID = process.getuid!();
const isRoot = UID === 0;
const RELEASE = "https://github.com/corp/agent/.github/workflows/release.yml@refs/heads/main";
const ISSUER = "https://token.actions.githubusercontent.com";
/** Engine → a container of it, and how its control groups are named. */
const ENGINES = {
  docker: {
    container: "3f".repeat(32),
    version1: "3f".repeat(32),
    version2: `docker-${"3f".repeat(32)}.scope`,
  },
  podman: {
    container: "4e".repeat(32),
    version1: `libpod-${"4e".repeat(32)}`,
    version2: `libpod-${"4e".repeat(32)}.scope`,
  },
} as const;
type Engine = keyof typeof ENGINES;
const KINDS = Object.keys(ENGINES) as Engine[];

let standIns: StandIns;
let postern: Postern;
let gateway: string;
let folder: string;
let socket: string;
const engines = new Map<Engine, Server>();
/** Host process → what the engines say is the first of the container. */
let firstProcess = 0;
/** What the engine says of the container. */
let team = "support";
let pulledBy: readonly string[] = [];
let registry: OciRegistry;
let sigstore: Sigstore;

const containerAgent = (engine: Engine): string => `
kind: TrustProvider
metadata: { name: ${engine}-containers }
spec:
  kind: ${engine}
  engineSocket: ${join(folder, engine)}
  sigstore:
    registries:
      - host: registry.corp
        connectTo: { address: 127.0.0.1, port: ${registry.port} }
        allowedNetworks: [127.0.0.1/32]
        caCertificates: ${JSON.stringify(standIns.authority.certificate)}
    trustedRoot: ${JSON.stringify(sigstore.trustedRoot)}
    signers: [{ name: release, identity: "${RELEASE}", issuer: "${ISSUER}" }]
---
kind: Agent
metadata: { name: in-${engine} }
spec:
  trustProvider: ${engine}-containers
  selectors: ["${engine}:label=team=support", "${engine}:image=registry.corp/agent:1.4"]
  spiffeId: spiffe://corp/containers/${engine}
---
kind: Agent
metadata: { name: released-${engine} }
spec:
  trustProvider: ${engine}-containers
  selectors: ["${engine}:label=team=release", "sigstore:signed-by=release"]
  spiffeId: spiffe://corp/released/${engine}
---`;

beforeAll(async () => {
  standIns = await startStandIns();
  sigstore = await createSigstore();
  registry = await startOciRegistry({ authority: standIns.authority, host: "registry.corp" });
  folder = mkdtempSync(join(tmpdir(), "postern-local-"));
  // Other accounts have to come as far as the socket.
  chmodSync(folder, 0o755);
  socket = join(folder, "api.sock");
  const listeners = ["--gateway-listen", "127.0.0.1:0", "--workload-api-socket", socket];
  postern = await startPostern({ args: ["--trust-domain", "corp", ...listeners] });
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  for (const engine of KINDS) await startEngine(engine);
  const agents = ["service", ...KINDS.flatMap((engine) => [`in-${engine}`, `released-${engine}`])];
  const documents = standIns.resources({ agents }).split(/^---\n/m);
  // The trust provider `local` is among them.
  const others = documents.filter((text) => !text.startsWith("kind: Agent\n")).join("---\n");
  await postern.apply(`${others}---
kind: Agent
metadata: { name: service }
spec:
  trustProvider: local
  selectors: ["process:uid=${UID}", "process:path=${process.execPath}"]
  spiffeId: spiffe://corp/local/service
---
kind: Agent
metadata: { name: in-a-run }
spec:
  trustProvider: local
  selectors: ["process:agent=in-a-run"]
  spiffeId: spiffe://corp/runs/{process.agent}
---${KINDS.map(containerAgent).join("")}`);
  gateway = `https://127.0.0.1:${await gatewayPort(postern)}`;
});

afterAll(async () => {
  for (const engine of engines.values()) engine.close();
  await postern?.stop();
  await registry?.close();
  await standIns?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function startEngine(kind: Engine): Promise<void> {
  const { container } = ENGINES[kind];
  const engine = createServer((request, response) => {
    const image = `sha256:${"11".repeat(32)}`;
    const answer =
      request.url === `/containers/${container}/json`
        ? {
            Id: container,
            State: { Status: "running", Running: true, Pid: firstProcess, StartedAt: "2026-11-21T10:00:00Z" },
            Image: kind === "docker" ? image : image.replace("sha256:", ""),
            Config: { Image: "registry.corp/agent:1.4", Labels: { team } },
          }
        : request.url === `/images/${image}/json`
          ? { Id: image, RepoDigests: pulledBy }
          : undefined;
    response.writeHead(answer === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(answer ?? { message: "no such container" }));
  });
  engines.set(kind, engine);
  engine.listen(join(folder, kind));
  await once(engine, "listening");
}

async function idOf(client: WorkloadClient): Promise<string | undefined> {
  const answer = await client.first("FetchX509SVID");
  return Buffer.isBuffer(answer) ? svidOf(answer).id : answer;
}

/** One line of the workload, whose program is started by `command`. */
async function line(
  command: readonly string[],
  pattern: RegExp,
  node: string = process.execPath,
): Promise<string> {
  const [program, ...words] = [...command, node, SCRIPT];
  const child = spawn(program, words, {
    env: { PATH: process.env["PATH"], SPIFFE_ENDPOINT_SOCKET: `unix://${socket}`, GATEWAY: gateway },
    stdio: ["ignore", "pipe", "inherit"],
    cwd: "/",
  });
  let said = "";
  for await (const chunk of child.stdout) {
    said += String(chunk);
    if (pattern.test(said)) break;
  }
  child.kill("SIGKILL");
  return said;
}

/** The workload has called an API, the real key was put in, and the log says by what it was known. */
async function expectInjected(said: string, agent: string, spiffeId: string): Promise<void> {
  const called = said.split("\n").find((each) => each.startsWith('{"called"')) ?? said;
  expect(called).toContain('"called":200');
  const { audit } = JSON.parse(called) as { audit: string };
  const { stdout } = await postern.postern(["why", audit, "--json"]);
  const { decision } = JSON.parse(stdout) as { decision: { unmapped: object } };
  expect(decision.unmapped).toMatchObject({ agent, outcome: "allow", spiffe_id: spiffeId });
  const [request, ...more] = standIns.openai.requests;
  expect(more).toEqual([]);
  expect(request!.rawHeaders.join()).toContain(standIns.secrets["openai-key"]);
  expect(request!.rawHeaders.join()).not.toContain("placeholder");
}
beforeEach(() => standIns.openai.forgetRequests());

/** Why the last one that was refused a certificate was. */
async function lastReasons(): Promise<unknown> {
  const { stdout } = await postern.postern(["audit", "tail", "--json", "--lines", "50"]);
  const unmapped = stdout
    .trim()
    .split("\n")
    .map((each) => (JSON.parse(each) as { unmapped?: Record<string, unknown> }).unmapped ?? {})
    .findLast((each) => each["change"] === "refuse" && each["document"] === "X.509-SVID");
  return unmapped?.["reasons"];
}

describe("a process of the machine", () => {
  it("calls an API with the identity that the kernel's word has got it", async () => {
    await expectInjected(await line([], /"called"/), "service", "spiffe://corp/local/service");
  });

  it("gets the identity of the agent that it matches, and loses it with the agent", async () => {
    const client = new WorkloadClient(socket);
    expect(await idOf(client)).toBe("spiffe://corp/local/service");
    const over = new Promise((resolve) => {
      client.call("/SpiffeWorkloadAPI/FetchX509SVID", Buffer.alloc(0), {
        message: () => void postern.postern(["cut", "service"]),
        end: resolve,
      });
    });
    expect(await over).toBe("7");
    expect(await idOf(client)).toBe("7");
    await postern.postern(["restore", "service"]);
    expect(await idOf(client)).toBe("spiffe://corp/local/service");
    client.close();
  });

  it.skipIf(!isRoot)("of another account gets nothing", async () => {
    const other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    expect(await line(other, /FetchX509SVID","status/)).toContain('"status":"7"');
    expect(await lastReasons()).toEqual(["no_agent_matches"]);
  });

  it("that runs a copy of the program gets nothing", async () => {
    const copy = join(folder, "copy");
    copyFileSync(process.execPath, copy);
    expect(await line([], /FetchX509SVID","status/, copy)).toContain('"status":"7"');
    expect(await lastReasons()).toEqual(["no_agent_matches"]);
    expect(await line([], /certificate|FetchX509SVID","status/)).toContain("spiffe://corp/local/service");
  });
});

it("a process of a run is sent to the run's own Workload API", async () => {
  const words = ["run", "--agent", "in-a-run", "--no-isolate", "--", "env"];
  const program = postern.start([
    ...words,
    `SPIFFE_ENDPOINT_SOCKET=unix://${socket}`,
    process.execPath,
    SCRIPT,
  ]);
  await program.line((each) => each.includes('"FetchX509SVID","status":"7"'));
  await program.stop();
  const { stdout } = await postern.postern(["audit", "tail", "--json"]);
  expect(stdout).toContain("belongs to a run");
});

describe.each(KINDS)("a container of %s", (kind) => {
  const { version1, version2: scope } = ENGINES[kind];
  const version2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
  const root = version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/pids";
  const groupAt = (parent: string): string => join(root, parent, version2 ? scope : version1);
  const make = (parent: string): boolean => {
    try {
      mkdirSync(groupAt(parent), { recursive: true });
      return true;
    } catch {
      return false;
    }
  };
  const canMake = isRoot && make("postern-test") && make("postern-spoof");

  afterAll(() => {
    for (const parent of canMake ? ["postern-test", "postern-spoof"] : [])
      for (const group of [groupAt(parent), join(root, parent)])
        try {
          rmdirSync(group);
        } catch {
          // A process of it may end a moment later; an empty group harms nobody.
        }
  });

  /** A process that is the first of a process namespace and in a control group; ends with the test. */
  async function startInit(parent: string): Promise<{ pid: number; stop(): void }> {
    const child = spawn("unshare", ["--pid", "--fork", "--kill-child", "sleep", "60"], { stdio: "ignore" });
    writeFileSync(join(groupAt(parent), "cgroup.procs"), String(child.pid));
    const children = (): string =>
      readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim();
    await expect.poll(children).not.toBe("");
    const pid = Number(children());
    writeFileSync(join(groupAt(parent), "cgroup.procs"), String(pid));
    return { pid, stop: () => void child.kill("SIGKILL") };
  }

  /** In the control group and the process namespace of a process, as `docker exec` does it. */
  const inside = (parent: string, pid: number): readonly string[] => [
    ...["sh", "-c", `echo $$ > ${groupAt(parent)}/cgroup.procs && exec "$@"`, "sh"],
    ...["nsenter", "--pid", "--target", String(pid), "--"],
  ];

  it.skipIf(!canMake)("loses its identity with its image's signature, and the log says why", async () => {
    const init = await startInit("postern-test");
    const simply = async (identity: string, digest: string) =>
      signSimply(
        await sigstore.byCertificate({ identity, issuer: ISSUER }),
        simpleSigningPayload(digest),
        sigstore.log,
      );
    try {
      firstProcess = init.pid;
      team = "release";
      const image = registry.addImage("corp/agent");
      const digest = image.slice(image.indexOf("@") + 1);
      pulledBy = [image];
      const ask = () => line(inside("postern-test", init.pid), /certificate|"FetchX509SVID","status":"\d+"/);
      const expectRefused = async (status: string, reason: string): Promise<void> => {
        expect(await ask()).toContain(`"status":"${status}"`);
        const { stdout } = await postern.postern(["audit", "tail", "--json", "--lines", "5"]);
        expect(stdout).toContain(`image ${image}: ${reason}`);
      };
      await expectRefused("7", "unsigned");
      registry.putTag(image, "sig", [await simply(RELEASE, digest)]);
      expect(await ask()).toContain(`spiffe://corp/released/${kind}`);
      registry.putTag(image, "sig", [await simply(RELEASE.replace("corp", "c0rp"), digest)]);
      await expectRefused("7", "signer_not_listed");
      registry.putTag(image, "sig", [await simply(RELEASE, `sha256:${"0".repeat(64)}`)]);
      await expectRefused("7", "signature_of_another_image");
      registry.putTag(image, "sig", [await simply(RELEASE, digest)]);
      expect(await ask()).toContain(`spiffe://corp/released/${kind}`);
      registry.removeSignatures(image);
      await expectRefused("7", "unsigned");
      registry.setFault("error");
      await expectRefused("14", "registry_status_503");
    } finally {
      registry.setFault(undefined);
      [team, pulledBy] = ["support", []];
      init.stop();
    }
  });

  it.skipIf(!canMake)("gives its processes what its engine says, and nobody else", async () => {
    const [init, spoof] = [await startInit("postern-test"), await startInit("postern-spoof")];
    try {
      firstProcess = init.pid;
      const said = await line(inside("postern-test", init.pid), /"called"|"FetchX509SVID","status/);
      await expectInjected(said, `in-${kind}`, `spiffe://corp/containers/${kind}`);
      expect(await line(inside("postern-spoof", spoof.pid), /"FetchX509SVID","status/)).toContain(
        '"status":"7"',
      );
      expect(await lastReasons()).toEqual([expect.stringContaining("caller_in_other_control_groups")]);
      engines.get(kind)!.close();
      engines.get(kind)!.closeAllConnections();
      expect(await line(inside("postern-test", init.pid), /"FetchX509SVID","status/)).toContain(
        '"status":"14"',
      );
      expect(await lastReasons()).toEqual(["engine_unreachable"]);
    } finally {
      init.stop();
      spoof.stop();
    }
  });
});

describe("a hostile client", () => {
  it("ends its own connections only, while 2,000 streams are open that all hear of a change", async () => {
    const clients = Array.from({ length: 20 }, () => new WorkloadClient(socket));
    let received = 0;
    for (const client of clients)
      for (let stream = 0; stream < 100; stream++)
        client.call("/SpiffeWorkloadAPI/FetchX509Bundles", Buffer.alloc(0), { message: () => received++ });
    await expect.poll(() => received, { timeout: 60_000 }).toBe(2000);
    const garbage = [
      Buffer.from("GET / HTTP/1.1\r\n\r\n"),
      Buffer.alloc(100_000, 0xff),
      Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.alloc(50_000, 0x01)]),
    ];
    await Promise.all(
      garbage.map(async (bytes) => {
        const hostile = connect(socket);
        hostile.on("error", () => {});
        hostile.resume().write(bytes);
        await new Promise((resolve) => hostile.once("close", resolve));
      }),
    );
    expect((await postern.postern(["ca", "prepare", "x509"])).code).toBe(0);
    await expect.poll(() => received, { timeout: 60_000 }).toBe(4000);
    for (const client of clients) client.close();
  }, 120_000);
});

it("a second server does not take the socket of one that serves", async () => {
  await expect(
    startPostern({ args: ["--trust-domain", "corp", "--workload-api-socket", socket] }),
  ).rejects.toThrow("served by another program");
});
