// SPDX-License-Identifier: Apache-2.0
/** The Broker API: who gets identities on behalf of which processes, who does not, and when it ends. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ConnectionOptions } from "node:tls";
import type { StatusResponse } from "@postern/contract";
import { type Postern, startPostern } from "@postern/testkit";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { field, fieldsOf, svidOf, WorkloadClient } from "./workload-client.ts";

const UID = process.getuid!();
const BROKER = "spiffe://corp/mesh/broker";
/** Of the trust domain whose SVIDs end soon. */
const BRIEF = "spiffe://partner/mesh/broker";
const WORKER = "spiffe://corp/mesh/worker";
const SLEEP = ["-e", "console.log(process.pid); setInterval(() => {}, 1000)"];
const TYPE = "type.googleapis.com/spiffe.broker.WorkloadPIDReference";

const resources = (trustDomain: string): string => `
kind: TrustProvider
metadata: { name: local }
spec: { kind: process }
---
kind: Agent
metadata: { name: broker }
spec:
  trustProvider: local
  selectors: ["process:uid=${UID}", "process:path=${process.execPath}"]
  spiffeId: spiffe://${trustDomain}/mesh/broker
---
kind: Agent
metadata: { name: worker }
spec:
  trustProvider: local
  selectors: ["process:uid=${UID}", "process:path=/usr/bin/sleep"]
  spiffeId: spiffe://${trustDomain}/mesh/worker
---
kind: Agent
metadata: { name: shell }
spec:
  trustProvider: local
  selectors: ["process:uid=${UID}", "process:path=${join(folder, "shell")}"]
  spiffeId: spiffe://${trustDomain}/mesh/shell
---
kind: Agent
metadata: { name: in-a-run }
spec:
  trustProvider: local
  selectors: ["process:agent=in-a-run"]
  spiffeId: spiffe://${trustDomain}/runs/{process.agent}
`;

let folder: string;
let corp: Postern;
let partner: Postern;
let broker: WorkloadClient;
let worker: ChildProcess;
const clients: WorkloadClient[] = [];
const at = (name: string): string => join(folder, `${name}.sock`);

/** An int32 as it is on the wire: negative ones have ten bytes. */
function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let left = BigInt.asUintN(64, value);
  for (; left >= 128n; left >>= 7n) bytes.push(Number(left & 127n) | 128);
  return Buffer.from([...bytes, Number(left)]);
}
const pidMessage = (pid: number): Buffer => Buffer.concat([Buffer.from([8]), varint(BigInt(pid))]);
const any = (type: string, value: Buffer): Buffer => Buffer.concat([field(1, type), field(2, value)]);
const reference = (pid: number): Buffer => field(1, field(1, any(TYPE, pidMessage(pid))));

const HEADER = { "broker.spiffe.io": "true" };

/** The first message, or the status that it ended with. */
function ask(
  client: WorkloadClient,
  request: Buffer,
  method = "SubscribeToX509SVID",
  headers: Record<string, string> = HEADER,
): Promise<Buffer | string | undefined> {
  return new Promise((resolve) => {
    client.call(`/spiffe.broker.API/${method}`, request, { message: resolve, end: resolve }, headers);
  });
}

/** SPIFFE ID of the first SVID, or the status. */
async function idFor(client: WorkloadClient, pid: number): Promise<string | undefined> {
  const answer = await ask(client, reference(pid));
  return typeof answer === "object" ? svidOf(answer).id : answer;
}

/** Follows a stream; `next` is a message, or the status at the end. */
function follow(client: WorkloadClient, pid: number) {
  const said: (Buffer | string | undefined)[] = [];
  const note = (each: Buffer | string | undefined): void => void said.push(each);
  const path = "/spiffe.broker.API/SubscribeToX509SVID";
  client.call(path, reference(pid), { message: note, end: note }, HEADER);
  return {
    next: async (): Promise<Buffer | string | undefined> => {
      await expect.poll(() => said.length, { timeout: 10_000 }).toBeGreaterThan(0);
      return said.shift();
    },
  };
}

const pem = (kind: string, der: Buffer): string =>
  `-----BEGIN ${kind}-----\n${der.toString("base64")}\n-----END ${kind}-----\n`;

/** Those that stand one after the other; each begins with its length in two bytes. */
const certificatesOf = (all: Buffer): Buffer[] => {
  if (all.length === 0) return [];
  const end = 4 + all.readUInt16BE(2);
  return [all.subarray(0, end), ...certificatesOf(all.subarray(end))];
};

/** As go-spiffe does it: the server's certificate must be of the trust domain, and have the ID that is expected. */
function secureBy({ certificate, key, bundle }: ReturnType<typeof svidOf>): ConnectionOptions {
  return {
    cert: pem("CERTIFICATE", certificate),
    key: pem("PRIVATE KEY", key),
    ca: certificatesOf(bundle).map((each) => pem("CERTIFICATE", each)),
    checkServerIdentity: (_, { subjectaltname }) =>
      subjectaltname?.includes("URI:spiffe://corp/postern/gateway") === true
        ? undefined
        : new Error(`not the server: ${subjectaltname}`),
  };
}

function connect(secure: ConnectionOptions, to = "broker"): WorkloadClient {
  const client = new WorkloadClient(at(to), secure);
  clients.push(client);
  return client;
}

async function ownSvid(name: string): Promise<ReturnType<typeof svidOf>> {
  const client = new WorkloadClient(at(name));
  clients.push(client);
  const answer = await client.first("FetchX509SVID");
  if (typeof answer !== "object") throw new Error(`no SVID: ${answer}`);
  return svidOf(answer);
}

async function events(): Promise<Record<string, unknown>[]> {
  const { stdout } = await corp.postern(["audit", "tail", "--json", "--lines", "50"]);
  const lines = stdout.trim().split("\n");
  return lines.map((each) => (JSON.parse(each) as { unmapped?: Record<string, unknown> }).unmapped ?? {});
}
const lastRefusal = async () => (await events()).findLast(({ change }) => change === "refuse");

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-brokers-"));
  chmodSync(folder, 0o755);
  copyFileSync("/bin/sh", join(folder, "shell"));
  const start = (name: string, ...more: string[]): Promise<Postern> =>
    startPostern({ args: ["--trust-domain", name, "--workload-api-socket", at(name), ...more] });
  [corp, partner] = await Promise.all([
    start("corp", "--broker-socket", at("broker"), "--broker", BROKER),
    start("partner", "--x509-svid-ttl", "2", "--broker-socket", at("brief"), "--broker", BRIEF),
  ]);
  await corp.apply(resources("corp"));
  await partner.apply(resources("partner"));
}, 60_000);

beforeEach(async () => {
  broker = connect(secureBy(await ownSvid("corp")));
  worker = spawn("/usr/bin/sleep", ["600"], { stdio: "ignore" });
  await once(worker, "spawn");
});

afterEach(() => {
  worker.kill("SIGKILL");
  for (const client of clients.splice(0)) client.close();
});

afterAll(async () => {
  await Promise.all([corp?.stop(), partner?.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

describe("who is no broker gets nothing", () => {
  it("without a certificate", async () => {
    const { ca, checkServerIdentity } = secureBy(await ownSvid("corp"));
    expect(await idFor(connect({ ca: ca!, checkServerIdentity: checkServerIdentity! }), worker.pid!)).toBe(
      undefined,
    );
    await expect
      .poll(async () => (await lastRefusal())?.["reasons"], { timeout: 15_000 })
      .toEqual(["broker: chain_empty"]);
  });

  it("with an SVID of this trust domain that no operator has named", async () => {
    const answer = await ask(broker, reference(worker.pid!));
    const stranger = connect(secureBy(svidOf(answer as Buffer)));
    expect(await idFor(stranger, worker.pid!)).toBe(undefined);
    const refusal = { broker: WORKER, reasons: ["broker: not_a_broker"] };
    await expect.poll(lastRefusal, { timeout: 15_000 }).toMatchObject(refusal);
  });

  it("with an SVID of the same path in another trust domain", async () => {
    const foreign = secureBy(await ownSvid("partner"));
    const { ca } = secureBy(await ownSvid("corp"));
    expect(await idFor(connect({ ...foreign, ca: ca! }), worker.pid!)).toBe(undefined);
    const reasons = ["broker: trust_domain_unknown"];
    await expect.poll(async () => (await lastRefusal())?.["reasons"], { timeout: 15_000 }).toEqual(reasons);
  });

  it("once its own agent is cut, and what is open ends", async () => {
    const stream = follow(broker, worker.pid!);
    expect(svidOf((await stream.next()) as Buffer).id).toBe(WORKER);
    await corp.postern(["cut", "broker"]);
    expect(await stream.next()).toBe("7");
    expect(await idFor(broker, worker.pid!)).toBe("7");
    expect(await lastRefusal()).toMatchObject({ broker: BROKER, reasons: ["broker: agent_cut"] });
    await corp.postern(["restore", "broker"]);
    expect(await idFor(broker, worker.pid!)).toBe(WORKER);
  });
});

it("a broker whose SVID ends has to come in anew, with the next one", async () => {
  // Whose certificate the server shows was verified in the other tests.
  const enter = async () =>
    connect({ ...secureBy(await ownSvid("partner")), checkServerIdentity: () => undefined }, "brief");
  const stream = follow(await enter(), worker.pid!);
  expect(svidOf((await stream.next()) as Buffer).id).toBe("spiffe://partner/mesh/worker");
  let last: Buffer | string | undefined;
  do last = await stream.next();
  while (typeof last === "object");
  expect(last).toBe(undefined);
  expect(await idFor(await enter(), worker.pid!)).toBe("spiffe://partner/mesh/worker");
});

describe("a broker gets nothing", () => {
  it.each([{}, { "broker.spiffe.io": "True" }, { "broker.spiffe.io": "1" }])(
    "without the security header: %o",
    async (headers) => {
      expect(await ask(broker, reference(worker.pid!), "SubscribeToX509SVID", headers)).toBe("3");
    },
  );

  it.each<[string, () => Buffer]>([
    ["no reference", () => Buffer.alloc(0)],
    ["an empty reference", () => field(1, Buffer.alloc(0))],
    [
      "another type",
      () =>
        field(
          1,
          field(
            1,
            any("type.googleapis.com/spiffe.broker.KubernetesObjectReference", pidMessage(worker.pid!)),
          ),
        ),
    ],
    ["no number", () => field(1, field(1, any(TYPE, Buffer.alloc(0))))],
    ["0", () => reference(0)],
    ["a negative number", () => reference(-1)],
    ["a number that wraps around to the worker's", () => reference(worker.pid! + 2 ** 32)],
    ["two references", () => Buffer.concat([reference(worker.pid!), reference(process.pid)])],
    ["bytes that are no message", () => Buffer.from([0xff, 0xff, 0xff])],
  ])("for %s", async (_, request) => {
    for (const method of ["SubscribeToX509SVID", "SubscribeToX509Bundles", "SubscribeToJWTBundles"])
      expect(await ask(broker, request(), method)).toBe("3");
    expect(await ask(broker, Buffer.concat([request(), field(2, "api")]), "FetchJWTSVID")).toBe("3");
  });

  it("for a message that is too large, and goes on", async () => {
    expect(await ask(broker, Buffer.concat([reference(worker.pid!), field(9, Buffer.alloc(200_000))]))).toBe(
      "8",
    );
    expect(await idFor(broker, worker.pid!)).toBe(WORKER);
  });

  it("of the methods of the Workload API", async () => {
    expect(await broker.first("FetchX509SVID")).toBe("12");
  });

  it("for a process that has ended, and is told so", async () => {
    worker.kill("SIGKILL");
    await once(worker, "exit");
    const seen = Promise.withResolvers<unknown>();
    const stream = broker.call("/spiffe.broker.API/SubscribeToX509SVID", reference(worker.pid!), {}, HEADER);
    stream.on("response", (headers) => seen.resolve(headers));
    const headers = (await seen.promise) as Record<string, string>;
    const status = fieldsOf(Buffer.from(headers["grpc-status-details-bin"]!, "base64"));
    const info = fieldsOf(fieldsOf(status.get(3)![0]!).get(2)![0]!);
    const [reason, domain] = [1, 2].map((number) => String(info.get(number)![0]));
    expect([headers["grpc-status"], reason, domain]).toEqual(["5", "WORKLOAD_NOT_FOUND", "spiffe.io"]);
  });

  it("for the first process of the machine, for the server, for a broker", async () => {
    const { pid } = JSON.parse((await corp.postern(["status", "--json"])).stdout) as StatusResponse;
    for (const each of [1, pid]) {
      expect(await idFor(broker, each)).toBe("7");
      const reasons = ["this process is nobody's to act for"];
      expect(await lastRefusal()).toMatchObject({ broker: BROKER, pid: each, reasons });
    }
    expect(await idFor(broker, process.pid)).toBe("7");
    const reasons = ["a broker is nobody's to act for"];
    expect(await lastRefusal()).toMatchObject({ broker: BROKER, pid: process.pid, reasons });
  });

  it("for a process of a run", async () => {
    const words = ["run", "--agent", "in-a-run", "--no-isolate", "--"];
    const program = corp.start([...words, process.execPath, ...SLEEP]);
    const pid = Number(await program.line((each) => /^\d+$/.test(each)));
    expect(await idFor(broker, pid)).toBe("7");
    const reasons = ["the process belongs to a run, which has a Workload API of its own"];
    expect(await lastRefusal()).toMatchObject({ broker: BROKER, pid, reasons });
    await program.stop();
  });

  it("of an ID that is not the workload's", async () => {
    const request = Buffer.concat([reference(worker.pid!), field(2, "api"), field(3, BROKER)]);
    expect(await ask(broker, request, "FetchJWTSVID")).toBe("7");
    expect(await ask(broker, reference(worker.pid!), "FetchJWTSVID")).toBe("3");
  });
});

describe("a broker", () => {
  it("gets what the workload would get, and the log says for whom and through whom", async () => {
    expect(await idFor(broker, worker.pid!)).toBe(WORKER);
    const issued = (await events()).findLast(({ change }) => change === "issue");
    const about = { agent: "worker", broker: BROKER, pid: worker.pid, spiffe_id: WORKER };
    expect(issued).toMatchObject({ ...about, document: "X.509-SVID" });
    const request = Buffer.concat([reference(worker.pid!), field(2, "api")]);
    const token = fieldsOf(fieldsOf((await ask(broker, request, "FetchJWTSVID")) as Buffer).get(1)![0]!);
    expect(String(token.get(1)![0])).toBe(WORKER);
    const claims = JSON.parse(
      Buffer.from(String(token.get(2)![0]).split(".")[1]!, "base64url").toString(),
    ) as object;
    expect(claims).toMatchObject({ sub: WORKER, aud: ["api"] });
    expect((await events()).findLast(({ change }) => change === "issue")).toMatchObject({
      ...about,
      document: "JWT-SVID",
    });
    for (const [method, number] of [
      ["SubscribeToX509Bundles", 2],
      ["SubscribeToJWTBundles", 1],
    ] as const) {
      const answer = await ask(broker, reference(worker.pid!), method);
      const entry = fieldsOf(fieldsOf(answer as Buffer).get(number)![0]!);
      expect(String(entry.get(1)![0])).toBe("spiffe://corp");
    }
  });

  it("is told when the workload is cut, and when authorities change", async () => {
    const stream = follow(broker, worker.pid!);
    const first = svidOf((await stream.next()) as Buffer);
    await corp.postern(["ca", "prepare", "x509"]);
    const second = svidOf((await stream.next()) as Buffer);
    expect(second.bundle.length).toBeGreaterThan(first.bundle.length);
    expect(second.key).not.toEqual(first.key);
    await corp.postern(["cut", "worker"]);
    expect(await stream.next()).toBe("7");
    await corp.postern(["restore", "worker"]);
  });

  it("loses the workload with its process, and nothing else", async () => {
    const other = spawn("/usr/bin/sleep", ["600"], { stdio: "ignore" });
    await once(other, "spawn");
    const stream = follow(broker, other.pid!);
    expect(svidOf((await stream.next()) as Buffer).id).toBe(WORKER);
    other.kill("SIGKILL");
    expect(await stream.next()).toBe("5");
    expect(await idFor(broker, worker.pid!)).toBe(WORKER);
  });

  it("does not follow a process into another program", async () => {
    const shell = spawn(join(folder, "shell"), ["-c", "read line; exec /usr/bin/sleep 600"], {
      stdio: ["pipe", "ignore", "ignore"],
    });
    await once(shell, "spawn");
    const stream = follow(broker, shell.pid!);
    expect(svidOf((await stream.next()) as Buffer).id).toBe("spiffe://corp/mesh/shell");
    shell.stdin.write("go\n");
    expect(await stream.next()).toBe("5");
    // Whoever asks anew asks for what it is now.
    expect(await idFor(broker, shell.pid!)).toBe(WORKER);
    shell.kill("SIGKILL");
  });
});
