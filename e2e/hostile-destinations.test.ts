// SPDX-License-Identifier: Apache-2.0
/** Where a request may go: whatever an agent writes, a name server says or an operator mistypes, no credential strays. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startPostern, startStandIns, type Postern, type StandIns } from "@postern/testkit";
import { startNameServer, type NameAnswer, type NameServer } from "./name-server.ts";
import { RunningAgent } from "./run-agent.ts";

const OPENAI = "api.openai.com";
const scratch = mkdtempSync(join(tmpdir(), "postern-destinations-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe("what an agent writes", () => {
  let standIns: StandIns;
  let postern: Postern;
  let agent: RunningAgent;

  beforeAll(async () => {
    standIns = await startStandIns();
    postern = await startPostern();
    for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
    await postern.apply(standIns.resources());
    agent = await RunningAgent.start({ folder: postern.folder, agent: "demo-agent" });
  });

  afterAll(async () => {
    await agent?.stop();
    await postern?.stop();
    await standIns?.close();
  });

  beforeEach(() => {
    for (const standIn of [standIns.openai, standIns.anthropic, standIns.gemini]) standIn.forgetRequests();
  });

  const arrived = (): number =>
    standIns.openai.requests.length + standIns.anthropic.requests.length + standIns.gemini.requests.length;

  const BODY = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hi" }] });
  const call = (target: string, host: string): string =>
    `POST ${target} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`;

  /** A tunnel to the API, with a client that takes any certificate, so that the server name can be any. */
  async function tunnel(serverName: string | undefined) {
    const connection = agent.connect();
    connection.write(`CONNECT ${OPENAI}:443 HTTP/1.1\r\nHost: ${OPENAI}:443\r\n\r\n`);
    await connection.until((bytes) => bytes.includes("\r\n\r\n"));
    connection.take();
    connection.tls(serverName, ["http/1.1"], true);
    await connection.secure();
    return connection;
  }

  const AGREE = [OPENAI, "API.OpenAI.com", undefined] as const;
  const EVIL = "evil.example";
  const KNOWN = "api.anthropic.com";

  it("passes where CONNECT, server name, absolute form and Host agree", async () => {
    for (const serverName of AGREE)
      for (const target of ["", `https://${OPENAI}`, `HTTPS://API.openai.com:443`]) {
        const connection = await tunnel(serverName);
        connection.write(call(`${target}/v1/chat/completions`, `${OPENAI}:443`));
        expect(await connection.answer()).toMatchObject({ status: 200 });
        connection.destroy();
      }
    expect(arrived()).toBe(9);
  });

  it.each(
    [OPENAI, EVIL, KNOWN].flatMap((serverName) =>
      [OPENAI, EVIL, KNOWN, undefined].flatMap((absolute) =>
        [OPENAI, EVIL, KNOWN, `${OPENAI}:8443`, `${OPENAI}:0443`, `${OPENAI}.`, `x@${OPENAI}`]
          .filter((host) => !(serverName === OPENAI && (absolute ?? OPENAI) === OPENAI && host === OPENAI))
          .map((host) => [serverName, absolute, host] as const),
      ),
    ),
  )(
    "is refused in a tunnel with server name %s, absolute form %s and Host %s",
    async (serverName, absolute, host) => {
      const connection = await tunnel(serverName);
      const origin = absolute === undefined ? "" : `https://${absolute}`;
      connection.write(call(`${origin}/v1/chat/completions`, host));
      expect(await connection.answer()).toMatchObject({ status: 400, code: "target_not_canonical" });
      expect(arrived()).toBe(0);
      connection.destroy();
    },
  );

  it.each([
    // Two other places that agree: not a riddle, but not registered either.
    [`${OPENAI}:8443`, 403, "server_workload_unknown"],
    ["openai.com:443", 403, "server_workload_unknown"],
    [`x.${OPENAI}:443`, 403, "server_workload_unknown"],
    ["localhost:443", 403, "server_workload_unknown"],
    ["localhost.localdomain:443", 403, "server_workload_unknown"],
    ["0x7f.1:443", 403, "server_workload_unknown"],
    ["0:443", 403, "server_workload_unknown"],
    ["[::]:443", 403, "server_workload_unknown"],
    ["[64:ff9b::7f00:1]:443", 403, "server_workload_unknown"],
    ["xn--pi-6kc.openai.com:443", 403, "server_workload_unknown"],
    [`${"a".repeat(63)}.example:443`, 403, "server_workload_unknown"],
    [`${"a".repeat(64)}.example:443`, 400, "target_not_canonical"],
    [`${"a.".repeat(127)}aa:443`, 400, "target_not_canonical"],
    ["api_openai.com:443", 400, "target_not_canonical"],
    ["-api.openai.com:443", 400, "target_not_canonical"],
    [`${OPENAI}:0443`, 400, "target_not_canonical"],
    [`*.openai.com:443`, 400, "target_not_canonical"],
    ["api%2eopenai.com:443", 400, "target_not_canonical"],
    ["[fe80::1%25lo]:443", 400, "target_not_canonical"],
    [`${OPENAI}:443,${EVIL}:443`, 400, "target_not_canonical"],
  ] as const)("is answered to CONNECT %s with %i %s", async (target, status, code) => {
    expect(await agent.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`)).toMatchObject({
      status,
      code,
    });
    if (status === 400) return;
    const absolute = await agent.send(call(`https://${target}/v1/chat/completions`, target));
    expect(absolute).toMatchObject({ status, code });
    expect(arrived()).toBe(0);
  });

  it.each([
    ["Cyrillic", "\u0430pi.openai.com"],
    ["full-width digits", "\uff18.8.8.8"],
    ["a full stop of another script", "api\u3002openai\u3002com"],
    ["a soft hyphen", "api.openai\u00ad.com"],
    ["bytes of no encoding", "api.openai\xff.com"],
  ])("is refused with %s in CONNECT, absolute form and Host", async (_name, host) => {
    const raw = Buffer.from(host).toString("latin1");
    for (const bytes of [
      `CONNECT ${raw}:443 HTTP/1.1\r\nHost: ${raw}:443\r\n\r\n`,
      call(`https://${raw}/v1/chat/completions`, raw),
      call("/openai/v1/chat/completions", raw),
    ]) {
      const answer = await agent.send(bytes);
      expect(answer.status).toBe(400);
      expect(["target_not_canonical", "request_malformed"]).toContain(answer.code);
    }
    expect(arrived()).toBe(0);
  });

  it("is refused by apply where an operator writes such a host, at its place and with a proposal", async () => {
    const file = join(scratch, "hosts.yaml");
    const hosts = [
      "API.openai.com",
      "*.openai.azure.com",
      "api.openai.com:8443",
      "0x7f.1",
      "straße.de",
      "localhost",
    ];
    const text = `kind: ServerWorkload
metadata: { name: w }
spec:
  profile: http
  injection: { kind: bearer }
  hosts:
${hosts.map((host) => `    - "${host}"`).join("\n")}
`;
    writeFileSync(file, text);
    const shape = await postern.postern(["apply", "-f", file]);
    expect(shape.code).not.toBe(0);
    for (const said of [
      "hosts.yaml:7:7 spec.hosts[0]: is not in lower case; write one form, such as `api.openai.com`",
      "hosts.yaml:8:7 spec.hosts[1]: is a wildcard, but a credential is bound to exact hosts; write each one out, such as `my-name.openai.azure.com`",
      "hosts.yaml:9:7 spec.hosts[2]: holds a port; write `port: 8443` beside hosts, and here the host, such as `api.openai.com`",
      "hosts.yaml:10:7 spec.hosts[3]: is an IP address or may be read as one",
      "hosts.yaml:11:7 spec.hosts[4]: holds U+00DF, which is not ASCII; write the name as DNS has it, such as `xn--strae-oqa.de`",
    ])
      expect(shape.stdout + shape.stderr).toContain(said);
    writeFileSync(file, text.replace(/ {4}- "(?!local).*\n/g, ""));
    const meaning = await postern.postern(["apply", "-f", file]);
    expect(meaning.code).not.toBe(0);
    expect(meaning.stdout + meaning.stderr).toContain(
      "hosts.yaml:7:7 spec.hosts[0]: means the machine itself",
    );
  });
});

/** The server gets a name server of ours, in a mount namespace of its own: that needs root. */
const canMount =
  process.getuid?.() === 0 && spawnSync("unshare", ["-m", "--propagation", "private", "true"]).status === 0;

describe.skipIf(!canMount)("what a name server says", () => {
  /** Port 53 is the only one that a resolver asks: two tests at once need two addresses. */
  const NAME_SERVER = `127.53.${(process.pid >> 8) & 255}.${process.pid & 255}`;
  const GOOD = "127.0.0.5";
  const BAD = "127.0.0.6";
  let standIns: StandIns;
  let postern: Postern;
  let agent: RunningAgent;
  let names: NameServer;
  const upstreams: Server[] = [];
  /** Addresses that were called, in order. */
  const called: string[] = [];

  const ANSWERS: Readonly<Record<string, (before: number) => NameAnswer | undefined>> = {
    good: () => ({ addresses: [GOOD] }),
    alias: () => ({ cname: "elsewhere.example", addresses: [GOOD] }),
    mixed: () => ({ addresses: [BAD, GOOD] }),
    metadata: () => ({ addresses: ["169.254.169.254"] }),
    loopback: () => ({ addresses: [BAD] }),
    "loopback-alias": () => ({ cname: "elsewhere.example", addresses: [BAD] }),
    mapped: () => ({ addresses: [`::ffff:${BAD}`] }),
    nat64: () => ({ addresses: [`64:ff9b::${BAD}`] }),
    sixtofour: () => ({ addresses: ["2002:7f00:6::1"] }),
    compatible: () => ({ addresses: [`::${BAD}`] }),
    many: () => ({ addresses: Array.from({ length: 25 }, (_, i) => `10.0.0.${i}`) }),
    empty: () => ({ addresses: [] }),
    absent: () => undefined,
    rebinds: (before) => ({ addresses: [before === 0 ? GOOD : BAD] }),
    silent: () => ({ silence: true }),
  };
  const hostOf = (name: string): string => `${name}.dest.example`;

  beforeAll(async () => {
    standIns = await startStandIns();
    names = await startNameServer(NAME_SERVER, (name, before) =>
      ANSWERS[name.replace(".dest.example", "")]?.(before),
    );
    const { certificate, privateKey } = await standIns.authority.issue(Object.keys(ANSWERS).map(hostOf));
    let port = 0;
    for (const address of [GOOD, BAD]) {
      const server = createServer({ cert: certificate, key: privateKey }, (request, response) => {
        called.push(`${address} ${request.headers.host}`);
        response.writeHead(200, { connection: "close", "content-length": 2 }).end("ok");
      });
      upstreams.push(server);
      // oxlint-disable-next-line no-await-in-loop
      await new Promise<void>((resolve) => server.listen(port, address, resolve));
      port = (server.address() as { port: number }).port;
    }
    const resolvConf = join(scratch, "resolv.conf");
    writeFileSync(resolvConf, `nameserver ${NAME_SERVER}\noptions timeout:30 attempts:1\n`);
    const script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"';
    postern = await startPostern({
      through: ["unshare", "-m", "--propagation", "private", "sh", "-c", script, resolvConf],
    });
    await postern.setSecret("key", "sk-destinations-0123456789");
    const documents = [
      { kind: "TrustProvider", metadata: { name: "local" }, spec: { kind: "process" } },
      {
        kind: "Agent",
        metadata: { name: "a" },
        spec: { trustProvider: "local", selectors: ["process:agent=a"] },
      },
      {
        kind: "ServerWorkload",
        metadata: { name: "dest" },
        spec: {
          profile: "http",
          hosts: Object.keys(ANSWERS).map(hostOf),
          port,
          injection: { kind: "bearer" },
          allowedNetworks: [`${GOOD}/32`],
          caCertificates: standIns.authority.certificate,
        },
      },
      {
        kind: "CredentialProvider",
        metadata: { name: "c" },
        spec: { kind: "vault", secret: "key", serverWorkloads: ["dest"] },
      },
      {
        kind: "AccessPolicy",
        metadata: { name: "p" },
        spec: { agents: ["a"], serverWorkload: "dest", credentialProvider: "c", allow: { everything: true } },
      },
    ];
    await postern.apply(documents.map((document) => JSON.stringify(document)).join("\n---\n"));
    agent = await RunningAgent.start({ folder: postern.folder, agent: "a" });
    get = (name) => {
      const authority = `${hostOf(name)}:${port}`;
      return agent.send(`GET https://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    };
  });

  let get: (name: string) => ReturnType<RunningAgent["send"]>;

  afterAll(async () => {
    await agent?.stop();
    await postern?.stop();
    await standIns?.close();
    names?.close();
    for (const server of upstreams) server.close();
  });

  beforeEach(() => void called.splice(0));

  it.each(["good", "alias", "mixed"])("is followed to a permitted address: %s", async (name) => {
    expect((await get(name)).status).toBe(200);
    expect(called).toEqual([expect.stringContaining(`${GOOD} ${hostOf(name)}`)]);
  });

  it.each([
    ...["metadata", "loopback", "loopback-alias", "mapped", "nat64", "sixtofour", "compatible", "many"].map(
      (name) => [name, 403, "destination_prohibited"] as const,
    ),
    ["empty", 502, "upstream_unreachable"],
    ["absent", 502, "upstream_unreachable"],
  ] as const)("is refused: %s gets %i %s, and nobody is called", async (name, status, code) => {
    expect(await get(name)).toMatchObject({ status, code });
    expect(names.asked.some((question) => question.startsWith(hostOf(name)))).toBe(true);
    expect(called).toEqual([]);
  });

  it("may change from one connection to the next, and is checked each time", async () => {
    expect((await get("rebinds")).status).toBe(200);
    expect(await get("rebinds")).toMatchObject({ status: 403, code: "destination_prohibited" });
    expect(called).toHaveLength(1);
  });

  it("may never come: that costs its caller ten seconds, and nobody else's names wait", async () => {
    const slow = Array.from({ length: 20 }, () => get("silent"));
    await expect.poll(() => names.asked.filter((question) => question.startsWith("silent"))).not.toEqual([]);
    expect((await get("good")).status).toBe(200);
    expect((await get("absent")).code).toBe("upstream_unreachable");
    for (const answer of await Promise.all(slow))
      expect(answer).toMatchObject({ status: 504, code: "upstream_timeout" });
  });
});
