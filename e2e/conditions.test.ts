// SPDX-License-Identifier: Apache-2.0
/** Conditions of policies: what is allowed while they hold is refused when they do not, and what is open is cut. */
import { copyFileSync, existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  outsideData,
  POSTERN,
  type Postern,
  type StandIns,
  startPostern,
  startStandIns,
} from "@postern/testkit";
import { type AgentConnection, RunningAgent } from "./run-agent.ts";
import { SocketAgent } from "./run-websocket-agent.ts";

const FAKETIME = ["x86_64", "aarch64"]
  .map((arch) => `/usr/lib/${arch}-linux-gnu/faketime/libfaketimeMT.so.1`)
  .find((path) => existsSync(path));
const geoip = outsideData("geoip", "https://github.com/maxmind/MaxMind-DB, folder test-data");

const AGENTS = ["an-agent", "socket-agent"] as const;

let standIns: StandIns;
let scratch: string;
let postern: Postern;
let agent: RunningAgent;
let sockets: SocketAgent;

beforeAll(async () => {
  standIns = await startStandIns({ endlessInterval: 10 });
  scratch = mkdtempSync(join(tmpdir(), "postern-conditions-"));
  if (geoip !== undefined) placeFile("GeoIP2-Country-Test.mmdb");
  shift("+0");
  postern = await startPostern({
    args: ["--geoip-file", join(scratch, "geoip.mmdb"), "--public-address", "81.2.69.142"],
    ...(FAKETIME === undefined ? {} : { env: faked(FAKETIME) }),
  });
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(standIns.resources({ agents: AGENTS }));
  agent = await RunningAgent.start({ folder: postern.folder, agent: AGENTS[0] });
  sockets = await SocketAgent.start({ folder: postern.folder, agent: AGENTS[1] });
});

afterAll(async () => {
  await Promise.all([agent?.stop(), sockets?.stop()]);
  await postern?.stop();
  await standIns?.close();
  if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
});

beforeEach(() => {
  standIns.openai.forgetRequests();
  shift("+0");
});

const faked = (library: string) => ({
  LD_PRELOAD: library,
  FAKETIME_TIMESTAMP_FILE: join(scratch, "time"),
  FAKETIME_NO_CACHE: "1",
  FAKETIME_DONT_FAKE_MONOTONIC: "1",
});

/** Of the server's clock, from the real one. */
const shift = (text: string): void => writeFileSync(join(scratch, "time"), `${text}\n`);

/** The server's clock shows `instant` from now on. */
const showTime = (instant: number): void =>
  shift(`${instant < Date.now() ? "" : "+"}${Math.round((instant - Date.now()) / 1000)}`);

function placeFile(name: string): void {
  copyFileSync(join(geoip!, name), join(scratch, "geoip.new"));
  renameSync(join(scratch, "geoip.new"), join(scratch, "geoip.mmdb"));
}

/** The agent's policy for OpenAI, under one condition of this spec. */
async function under(
  spec: object,
  conditions: readonly string[] = ["wanted"],
  isEverything = false,
): Promise<void> {
  const resources = standIns
    .resources({ agents: AGENTS })
    .replace(
      /(metadata: \{ name: agents-may-use-openai \}\nspec:\n(?: .*\n)*?)( {2}allow:.*\n)/,
      (_all, before: string, allow: string) =>
        `${before}  conditions: ${JSON.stringify(conditions)}\n${isEverything ? "  allow: { everything: true }\n" : allow}`,
    );
  const condition = JSON.stringify({ kind: "AccessCondition", metadata: { name: "wanted" }, spec });
  await postern.apply(`${resources}---\n${condition}\n`);
}

function chat(more: object | string = {}, model = "gpt-4o-mini"): string {
  const messages = [{ role: "user", content: "hi" }];
  const body = typeof more === "string" ? more : JSON.stringify({ model, messages, ...more });
  return `POST /openai/v1/chat/completions HTTP/1.1\r\nHost: ${agent.authority}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

async function ask(more: object | string = {}) {
  const answer = await agent.send(chat(more));
  return { ...answer, said: answer.code ?? answer.status };
}

async function openStream(): Promise<AgentConnection> {
  const connection = agent.connect();
  connection.write(chat({}, "stand-in-endless"));
  await connection.until((bytes) => bytes.includes("data: "));
  return connection;
}

async function lastEvents(lines = 10): Promise<Record<string, unknown>[]> {
  const { stdout } = await postern.postern(["audit", "tail", "--json", "-n", String(lines)]);
  return stdout
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { unmapped: Record<string, unknown> }).unmapped);
}

const lastOf = async (kind: string): Promise<Record<string, unknown> | undefined> =>
  (await lastEvents()).findLast((event) => event["kind"] === kind);

async function why(headers: Readonly<Record<string, string>>): Promise<string> {
  return (await postern.postern(["why", headers["postern-audit-id"]!])).stdout;
}

const clockText = (instant: number): string => new Date(instant).toISOString().slice(11, 16);
const MINUTE = 60_000;

describe("time", () => {
  it("allows in its hours, refuses outside of them, and why says what was seen", async () => {
    const now = Date.now();
    await under({ kind: "time", zone: "UTC", hours: [`${clockText(now)}-${clockText(now + 10 * MINUTE)}`] });
    expect((await ask()).said).toBe(200);
    await under({
      kind: "time",
      zone: "UTC",
      hours: [`${clockText(now + 60 * MINUTE)}-${clockText(now + 120 * MINUTE)}`],
    });
    standIns.openai.forgetRequests();
    const refused = await ask();
    expect(refused).toMatchObject({ status: 403, code: "access_denied" });
    expect(refused.body.toString()).toContain("condition `wanted` does not hold");
    expect(standIns.openai.requests).toEqual([]);
    const decision = await lastOf("decision");
    expect(decision).toMatchObject({
      outcome: "deny",
      reasons: ["no_matching_policy", "condition_unmet"],
      conditions: [{ name: "wanted", holds: false, saw: expect.stringMatching(/^it is \w+day 2/) as string }],
    });
  });

  it.skipIf(FAKETIME === undefined)("cuts a stream when business hours end", async () => {
    const end = Math.ceil(Date.now() / MINUTE) * MINUTE + 5 * MINUTE;
    await under({
      kind: "time",
      zone: "UTC",
      hours: [`${clockText(end - 30 * MINUTE)}-${clockText(end)}`],
    });
    showTime(end - 4000);
    const stream = await openStream();
    const opened = performance.now();
    await stream.closed();
    const lasted = performance.now() - opened;
    expect(lasted).toBeGreaterThan(1000);
    expect(lasted).toBeLessThan(20_000);
    expect((await ask()).said).toBe("access_denied");
    const outcome = (await lastEvents()).find((event) => event["ended"] === "cut");
    expect(outcome).toMatchObject({
      kind: "outcome",
      code: "access_denied",
      reasons: expect.arrayContaining(["condition_lapsed", "wanted"]) as string[],
    });
  });

  it.skipIf(FAKETIME === undefined)("follows the clocks of its zone over a change", async () => {
    // 2027-03-28 in Berlin: 02:00 is followed by 03:00, at 01:00Z.
    await under({ kind: "time", zone: "Europe/Berlin", hours: ["02:00-03:00"] });
    const decided = async (instant: string): Promise<unknown> => {
      showTime(Date.parse(instant));
      await ask();
      return (await lastOf("decision"))?.["outcome"];
    };
    expect(await decided("2027-03-27T01:30:00Z")).toBe("allow");
    expect(await decided("2027-03-28T00:30:00Z")).toBe("deny");
    expect(await decided("2027-03-28T01:30:00Z")).toBe("deny");
    expect(await decided("2027-03-29T00:30:00Z")).toBe("allow");
    // 2027-10-31: 03:00 is followed by 02:00, at 01:00Z. The clock can be set to a second.
    expect(await decided("2027-10-31T00:30:00Z")).toBe("allow");
    expect(await decided("2027-10-31T01:30:00Z")).toBe("allow");
    expect(await decided("2027-10-31T02:00:05Z")).toBe("deny");
  });
});

describe.skipIf(geoip === undefined)("region", () => {
  const british = { kind: "region", countries: ["GB"] };

  it("allows where the machine is, refuses another country, and why says both", async () => {
    await under(british);
    expect((await ask()).said).toBe(200);
    await under({ kind: "region", countries: ["FR", "DE"] });
    const refused = await ask();
    expect(refused.said).toBe("access_denied");
    const id = /[0-9a-f]{8}-[0-9a-f-]{27}/.exec(refused.body.toString())![0];
    expect(await why({ "postern-audit-id": id })).toContain(
      "condition `wanted` was not met: 81.2.69.142 is in GB, EU; wanted FR, DE",
    );
    await under({ kind: "region", networks: ["81.2.69.0/24"] });
    expect((await ask()).said).toBe(200);
  });

  it("that becomes unknown cuts what is open and allows nothing, until it is known again", async () => {
    await under(british);
    const stream = await openStream();
    rmSync(join(scratch, "geoip.mmdb"));
    await stream.closed();
    expect((await ask()).said).toBe("access_denied");
    expect(await lastOf("decision")).toMatchObject({ conditions: [{ holds: false, unknown: true }] });
    placeFile("GeoIP2-City-Test.mmdb");
    await expect.poll(async () => (await ask()).said, { timeout: 10_000 }).toBe(200);
  });
});

describe("attested", () => {
  it("allows who is attested to be what is wanted, and refuses who is not or shows nothing", async () => {
    await under({ kind: "attested", allOf: ["process:agent=an-agent"] });
    expect((await ask()).said).toBe(200);
    await under({ kind: "attested", noneOf: ["process:agent=an-agent"] });
    expect((await ask()).said).toBe("access_denied");
    await under({ kind: "attested", noneOf: ["kubernetes:namespace=dev"] });
    expect((await ask()).said).toBe("access_denied");
    expect(await lastOf("decision")).toMatchObject({ conditions: [{ unknown: true }] });
  });
});

describe("delegation", () => {
  it("of an agent in its own name has depth 0", async () => {
    await under({ kind: "delegation", maxDepth: 0 });
    expect((await ask()).said).toBe(200);
    await under({ kind: "delegation", minDepth: 1 });
    expect((await ask()).said).toBe("access_denied");
  });
});

/** Gives up all capabilities, opens a stream, and takes the capabilities back by starting a program anew: root may. */
const TURNS_PRIVILEGED = `import ctypes,os,socket,sys,time
host,port=os.environ["POSTERN_GATE"][7:].split(":")
def ask(model):
  s=socket.create_connection((host,int(port)))
  s.settimeout(20)
  body='{"model":"%s","messages":[]}' % model
  s.sendall(("POST /openai/v1/chat/completions HTTP/1.1\\r\\nHost: %s:%s\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (host,port,len(body),body)).encode())
  return s
def status(s):
  return s.recv(65536).split(b" ")[1].decode()
if len(sys.argv)==1:
  print("with", status(ask("gpt-4o-mini")), flush=True)
  header=(ctypes.c_uint32*2)(0x20080522,0)
  libc=ctypes.CDLL(None,use_errno=True)
  if libc.capset(header,(ctypes.c_uint32*6)())!=0: sys.exit(os.strerror(ctypes.get_errno()))
  time.sleep(1.1)
  s=ask("stand-in-endless")
  print("without", status(s), flush=True)
  until=time.monotonic()+2.5
  while time.monotonic()<until:
    if s.recv(65536)==b"": sys.exit("cut while it was as wanted")
  os.set_inheritable(s.fileno(),True)
  os.execv(sys.executable,[sys.executable,"-c",os.environ["PROGRAM"],str(s.fileno())])
s=socket.socket(fileno=int(sys.argv[1]))
s.settimeout(20)
started=time.monotonic()
try:
  while s.recv(65536)!=b"": pass
except ConnectionResetError: pass
print("cut", time.monotonic()-started<5, flush=True)
print("again", status(ask("gpt-4o-mini")), flush=True)
`;

describe.skipIf(process.getuid?.() !== 0)("runtime", () => {
  it("that turns privileged loses what is open, and gets nothing more", async () => {
    await under({ kind: "runtime", capabilities: [] });
    const program = [
      "env",
      "-u",
      "LD_PRELOAD",
      `PROGRAM=${TURNS_PRIVILEGED}`,
      "python3",
      "-c",
      TURNS_PRIVILEGED,
    ];
    const result = await postern.postern(["run", "--no-isolate", "--agent", AGENTS[0], "--", ...program]);
    expect(result).toMatchObject({
      stderr: expect.not.stringContaining("Traceback") as string,
      stdout: "with 403\nwithout 200\ncut True\nagain 403\n",
    });
    const outcome = (await lastEvents()).find((event) => event["ended"] === "cut");
    expect(outcome).toMatchObject({
      reasons: expect.arrayContaining(["condition_lapsed", "wanted"]) as string[],
    });
  });
});

describe("request", () => {
  const modest = {
    kind: "request",
    body: [
      { pointer: "/temperature", max: 1, orAbsent: true },
      { pointer: "/tools", absent: true },
    ],
  };

  it("allows values that are wanted, and the body arrives as it was sent", async () => {
    await under(modest);
    const body = `{ "model":"gpt-4o-mini",\t"temperature": 1.0, "messages":[{"role":"user","content":"\\u0068i"}] }`;
    expect((await ask(body)).said).toBe(200);
    expect(standIns.openai.requests.at(-1)?.body.toString()).toBe(body);
    expect((await ask({ temperature: 0.2 })).said).toBe(200);
  });

  it.each<[string, object | string]>([
    ["a value beyond its bounds", { temperature: 1.5 }],
    ["one that must be absent", { tools: [] }],
    ["a value twice", `{"model":"gpt-4o-mini","temperature":0,"temperature":2,"messages":[]}`],
    ["a value in another spelling", `{"model":"gpt-4o-mini","Temperature":2,"messages":[]}`],
    [
      "a number that rounds to what is allowed",
      `{"model":"gpt-4o-mini","temperature":1.0000000000000000001}`,
    ],
  ])("refuses %s", async (_name, body) => {
    await under(modest);
    expect((await ask(body)).said).toBe("access_denied");
    expect(standIns.openai.requests).toEqual([]);
  });

  describe("whose body", () => {
    beforeAll(() => under(modest, ["wanted"], true));

    /** A body under headers of its own, to an operation that needs no model, so that nothing but the condition reads it. */
    async function sendAs(
      headers: readonly string[],
      body: Buffer,
    ): Promise<{ status: number; code: string | undefined }> {
      const framing = headers.some((header) => header.startsWith("Transfer-Encoding"))
        ? []
        : [`Content-Length: ${body.length}`];
      const head = ["POST /openai/v1/elsewhere HTTP/1.1", `Host: ${agent.authority}`, ...framing, ...headers];
      const { status, code } = await agent.send(
        Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), body]),
      );
      return { status, code };
    }
    const JSON_TYPE = "Content-Type: application/json";
    const fitting = Buffer.from(`{"temperature":0.5}`);

    it.each<[string, readonly string[], Buffer]>([
      ["compressed", [JSON_TYPE, "Content-Encoding: gzip"], gzipSync(fitting)],
      ["said to be compressed, and is not", [JSON_TYPE, "Content-Encoding: gzip"], fitting],
      ["of two encodings", [JSON_TYPE, "Content-Encoding: identity, deflate"], fitting],
      ["of an encoding without a name", [JSON_TYPE, "Content-Encoding:"], fitting],
      [
        "in another character set",
        ["Content-Type: application/json; charset=utf-16"],
        Buffer.from(fitting.toString(), "utf16le"),
      ],
      ["in another character set without saying so", [JSON_TYPE], Buffer.from(fitting.toString(), "utf16le")],
      ["a form", ["Content-Type: application/x-www-form-urlencoded"], Buffer.from("temperature=0.5")],
      ["JSON, and said to be a form", ["Content-Type: application/x-www-form-urlencoded"], fitting],
      [
        "of several parts, one of them JSON",
        ["Content-Type: multipart/form-data; boundary=b"],
        Buffer.from(`--b\r\nContent-Disposition: form-data; name="temperature"\r\n\r\n0.5\r\n--b--\r\n`),
      ],
      ["plain text", ["Content-Type: text/plain"], fitting],
      ["of a type that two readers take for two", ["Content-Type: application/json, text/plain"], fitting],
      ["lines of JSON", [JSON_TYPE], Buffer.from(`${fitting.toString()}\n{"temperature":2}`)],
      ["JSON behind a byte order mark", [JSON_TYPE], Buffer.concat([Buffer.from("\ufeff"), fitting])],
      ["JSON with a comment", [JSON_TYPE], Buffer.from(`{"temperature":0.5/*,"temperature":2*/}`)],
      [
        "too deep",
        [JSON_TYPE],
        Buffer.from(`{"temperature":0.5,"x":${"[".repeat(5000)}${"]".repeat(5000)}}`),
      ],
      ["none", [JSON_TYPE], Buffer.alloc(0)],
    ])("is %s is refused before anything leaves", async (_name, headers, body) => {
      expect(await sendAs(headers, body)).toMatchObject({ status: 403, code: "access_denied" });
      expect(standIns.openai.requests).toEqual([]);
      expect(await lastOf("decision")).toMatchObject({ conditions: [{ holds: false, unknown: true }] });
    });

    it.each<[string, readonly string[], number]>([
      [
        "two encodings in two lines",
        [JSON_TYPE, "Content-Encoding: identity", "Content-Encoding: gzip"],
        400,
      ],
      ["two types in two lines", [JSON_TYPE, "Content-Type: text/plain"], 400],
    ])("has %s is refused", async (_name, headers, status) => {
      expect((await sendAs(headers, fitting)).status).toBe(status);
      expect(standIns.openai.requests).toEqual([]);
    });

    it("comes in pieces is judged as one, and sent as it came", async () => {
      const pieces = (text: string): Buffer =>
        Buffer.from(
          `${Array.from(text)
            .map((character) => `1\r\n${character}\r\n`)
            .join("")}0\r\n\r\n`,
        );
      const framing = [JSON_TYPE, "Transfer-Encoding: chunked"];
      const text = `{"\\u0074emperature" :0.5}`;
      await sendAs(framing, pieces(text));
      expect(standIns.openai.requests.at(-1)?.body.toString()).toBe(text);
      standIns.openai.forgetRequests();
      expect((await sendAs(framing, pieces(`{"temperature":1.5}`))).code).toBe("access_denied");
      expect(standIns.openai.requests).toEqual([]);
    });
  });

  it("that hides a secret of the vault in a value does not bring it into the log", async () => {
    await under({ kind: "request", body: [{ pointer: "/user", equals: "nobody" }] });
    const secret = standIns.secrets["openai-key"]!;
    expect((await ask({ user: secret })).said).toBe("access_denied");
    expect(JSON.stringify(await lastEvents())).not.toContain(secret);
  });
});

describe("posture", () => {
  const healthy = { kind: "posture", sources: ["edr"], facts: [{ name: "edr.healthy", equals: true }] };
  const report = (validFor: string, ...facts: string[]) =>
    postern.postern(["posture", "report", "machine", "--source", "edr", "--for", validFor, ...facts]);

  it("is unknown before anybody looked; what is healthy passes, and why says by whose word", async () => {
    await under(healthy);
    expect((await ask()).said).toBe("access_denied");
    expect(await lastOf("decision")).toMatchObject({
      conditions: [{ holds: false, unknown: true, saw: "nobody has said anything of edr.healthy" }],
    });
    expect((await report("10m", "edr.healthy=true")).code).toBe(0);
    const allowed = await ask();
    expect(allowed.said).toBe(200);
    expect(await why(allowed.headers)).toContain("edr.healthy is true (edr)");
    expect((await postern.postern(["posture", "list"])).stdout).toContain("machine  edr  edr.healthy=true");
    expect(await lastEvents(50)).toContainEqual(
      expect.objectContaining({ kind: "posture", name: "machine", facts: ["edr.healthy=true"] }),
    );
  });

  it("that turns bad cuts what is open, and so does word that grows too old", async () => {
    await under(healthy);
    await report("10m", "edr.healthy=true");
    const infected = await openStream();
    await report("10m", "edr.healthy=false");
    await infected.closed();
    expect((await ask()).said).toBe("access_denied");
    expect(await lastOf("decision")).toMatchObject({
      conditions: [{ holds: false, saw: "edr.healthy is false (edr); wanted true" }],
    });
    await report("2s", "edr.healthy=true");
    const stale = await openStream();
    await stale.closed();
    const late = await ask();
    expect(late.said).toBe("access_denied");
    await report("10m", "edr.healthy=true");
    expect((await ask()).said).toBe(200);
  });

  it("by the word of somebody else, of the agent itself, or by a report that has expired is nobody's", async () => {
    await under(healthy);
    await report("10m");
    const said = ["posture", "report", "machine", "--for", "10m"];
    await postern.postern([...said, "--source", "anybody", "edr.healthy=true"]);
    const command = [POSTERN, ...said, "--data", postern.folder, "--source", "edr", "edr.healthy=true"];
    const own = await postern.postern(["run", "--agent", AGENTS[0], "--no-isolate", "--", ...command]);
    expect(own).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("no agent says how it is") as string,
    });
    const old = await postern.postern([
      ...[...said, "--source", "edr", "edr.healthy=true"],
      ...["--observed-at", "2026-01-01T00:00:00Z"],
    ]);
    expect(old).toMatchObject({ code: 1, stderr: expect.stringContaining("expired already") as string });
    expect((await ask()).said).toBe("access_denied");
  });

  it("is what a scanner found, by its own clock", async () => {
    await under({ kind: "posture", facts: [{ name: "vulnerabilities.critical", max: 0 }] });
    const scan = join(scratch, "scan.json");
    const imported = async (severity: string, time: Date) => {
      const found = [{ VulnerabilityID: "CVE-2026-1", Severity: severity }];
      const Results = [{ Class: "os-pkgs", Vulnerabilities: found }];
      writeFileSync(scan, JSON.stringify({ SchemaVersion: 2, CreatedAt: time.toISOString(), Results }));
      const flags = ["--format", "trivy", "--subject", "machine", "--for", "24h"];
      return await postern.postern(["posture", "import", scan, ...flags]);
    };
    const first = Date.now();
    expect((await imported("LOW", new Date(first))).code).toBe(0);
    expect((await ask()).said).toBe(200);
    expect((await imported("CRITICAL", new Date(first - 1000))).stderr).toContain("seen later");
    expect((await imported("CRITICAL", new Date())).code).toBe(0);
    expect((await ask()).said).toBe("access_denied");
  });
});

describe("an operator", () => {
  it("who changes a condition cuts what it no longer allows", async () => {
    await under({ kind: "delegation", maxDepth: 0 });
    const stream = await openStream();
    await under({ kind: "delegation", minDepth: 1 });
    await stream.closed();
    const outcome = (await lastEvents()).find((event) => event["ended"] === "cut");
    expect(outcome).toMatchObject({
      reasons: expect.arrayContaining(["condition_lapsed", "wanted"]) as string[],
    });
  });

  it("who changes a condition cuts a silent WebSocket, which is told why", async () => {
    await under({ kind: "delegation", maxDepth: 0 });
    const socket = await sockets.open("/v1/realtime?model=gpt-realtime");
    await socket.next("message");
    await under({ kind: "delegation", minDepth: 1 });
    const closed = await socket.next("closed");
    expect(closed).toMatchObject({ code: 1008, reason: expect.stringContaining("`wanted`") as string });
  });

  it("cannot delete a condition that a policy names, nor name one that is not there", async () => {
    await under({ kind: "delegation", maxDepth: 0 });
    const deleted = await postern.postern(["delete", "AccessCondition", "wanted"]);
    expect(deleted).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("still referred to") as string,
    });
    await expect(under({ kind: "delegation", maxDepth: 0 }, ["wnated"])).rejects.toThrow(
      "did you mean `wanted`?",
    );
  });
});
