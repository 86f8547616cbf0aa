// SPDX-License-Identifier: Apache-2.0
/** The Workload API for processes that no run was opened for: who gets an identity there, and what nobody can break. */
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
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createSigstore,
  createTestAuthority,
  type OciRegistry,
  type Postern,
  type Sigstore,
  signSimply,
  simpleSigningPayload,
  startOciRegistry,
  startPostern,
} from "@postern/testkit";
import { svidOf, WorkloadClient } from "./workload-client.ts";

const SCRIPT = fileURLToPath(new URL("remote-workload.ts", import.meta.url));
const UID = process.getuid!();
const isRoot = UID === 0;
const CONTAINER = "3f".repeat(32);
const RELEASE = "https://github.com/corp/agent/.github/workflows/release.yml@refs/heads/main";
const ISSUER = "https://token.actions.githubusercontent.com";

let postern: Postern;
let folder: string;
let socket: string;
let engineSocket: string;
let engine: Server;
/** Host process → what the engine says is the first of the container. */
let firstProcess = 0;
/** What the engine says of the container. */
let team = "support";
let pulledBy: readonly string[] = [];
let registry: OciRegistry;
let sigstore: Sigstore;

beforeAll(async () => {
  const authority = await createTestAuthority();
  sigstore = await createSigstore();
  registry = await startOciRegistry({ authority, host: "registry.corp" });
  folder = mkdtempSync(join(tmpdir(), "postern-local-"));
  // Other accounts have to come as far as the socket.
  chmodSync(folder, 0o755);
  socket = join(folder, "api.sock");
  engineSocket = join(folder, "docker.sock");
  postern = await startPostern({ args: ["--trust-domain", "corp", "--workload-api-socket", socket] });
  await startEngine();
  await postern.apply(`
kind: TrustProvider
metadata: { name: local }
spec: { kind: process }
---
kind: TrustProvider
metadata: { name: containers }
spec:
  kind: docker
  engineSocket: ${engineSocket}
  sigstore:
    registries:
      - host: registry.corp
        connectTo: { address: 127.0.0.1, port: ${registry.port} }
        allowedNetworks: [127.0.0.1/32]
        caCertificates: ${JSON.stringify(authority.certificate)}
    trustedRoot: ${JSON.stringify(sigstore.trustedRoot)}
    signers: [{ name: release, identity: "${RELEASE}", issuer: "${ISSUER}" }]
---
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
---
kind: Agent
metadata: { name: support }
spec:
  trustProvider: containers
  selectors: ["docker:label=team=support", "docker:image=registry.corp/agent:1.4"]
  spiffeId: spiffe://corp/containers/support
---
kind: Agent
metadata: { name: released }
spec:
  trustProvider: containers
  selectors: ["docker:label=team=release", "sigstore:signed-by=release"]
  spiffeId: spiffe://corp/containers/released
`);
});

afterAll(async () => {
  engine?.close();
  await postern?.stop();
  await registry?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function startEngine(): Promise<void> {
  engine = createServer((request, response) => {
    const image = `sha256:${"11".repeat(32)}`;
    const answer =
      request.url === `/containers/${CONTAINER}/json`
        ? {
            Id: CONTAINER,
            State: { Status: "running", Running: true, Pid: firstProcess, StartedAt: "2026-11-21T10:00:00Z" },
            Image: image,
            Config: { Image: "registry.corp/agent:1.4", Labels: { team } },
          }
        : request.url === `/images/${image}/json`
          ? { Id: image, RepoDigests: pulledBy }
          : undefined;
    response.writeHead(answer === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(answer ?? { message: "no such container" }));
  });
  engine.listen(engineSocket);
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
    env: { PATH: process.env["PATH"], SPIFFE_ENDPOINT_SOCKET: `unix://${socket}` },
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

describe("a process of the machine", () => {
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
  });

  it("that runs a copy of the program gets nothing", async () => {
    const copy = join(folder, "copy");
    copyFileSync(process.execPath, copy);
    expect(await line([], /FetchX509SVID","status/, copy)).toContain('"status":"7"');
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

describe("a container", () => {
  const version2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
  const root = version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/pids";
  const groupAt = (parent: string): string =>
    join(root, parent, version2 ? `docker-${CONTAINER}.scope` : CONTAINER);
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
      expect(await ask()).toContain("spiffe://corp/containers/released");
      registry.putTag(image, "sig", [await simply(RELEASE.replace("corp", "c0rp"), digest)]);
      await expectRefused("7", "signer_not_listed");
      registry.putTag(image, "sig", [await simply(RELEASE, `sha256:${"0".repeat(64)}`)]);
      await expectRefused("7", "signature_of_another_image");
      registry.putTag(image, "sig", [await simply(RELEASE, digest)]);
      expect(await ask()).toContain("spiffe://corp/containers/released");
      registry.removeSignatures(image);
      await expectRefused("7", "unsigned");
      registry.setFault("error");
      await expectRefused("14", "registry_status_503");
    } finally {
      [team, pulledBy] = ["support", []];
      init.stop();
    }
  });

  it.skipIf(!canMake)("gives its processes what its engine says, and nobody else", async () => {
    const [init, spoof] = [await startInit("postern-test"), await startInit("postern-spoof")];
    try {
      firstProcess = init.pid;
      expect(await line(inside("postern-test", init.pid), /certificate|"FetchX509SVID","status/)).toContain(
        "spiffe://corp/containers/support",
      );
      expect(await line(inside("postern-spoof", spoof.pid), /"FetchX509SVID","status/)).toContain(
        '"status":"7"',
      );
      const { stdout } = await postern.postern(["audit", "tail", "--json"]);
      expect(stdout).toContain("caller_in_other_control_groups");
      engine.close();
      engine.closeAllConnections();
      expect(await line(inside("postern-test", init.pid), /"FetchX509SVID","status/)).toContain(
        '"status":"14"',
      );
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
