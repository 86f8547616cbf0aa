// SPDX-License-Identifier: Apache-2.0
/** Raw bytes from inside a run: whatever could be read in two ways is refused, and nothing of it arrives. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startPostern, startStandIns, type Postern, type StandIns } from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

let standIns: StandIns;
let postern: Postern;
let agent: RunningAgent;
const OPENAI = "api.openai.com";

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

interface RequestParts {
  readonly line?: string;
  readonly host?: string;
  readonly headers?: readonly string[];
  readonly body?: string;
}

/** A request that would pass, with what the parts replace. */
function request({
  line = "POST /openai/v1/chat/completions HTTP/1.1",
  host = agent.authority,
  headers,
  body = BODY,
}: RequestParts = {}): string {
  const own = headers ?? [`Content-Length: ${Buffer.byteLength(body)}`];
  return [
    line,
    `Host: ${host}`,
    "Content-Type: application/json",
    "Authorization: Bearer x",
    ...own,
    "",
    body,
  ].join("\r\n");
}

const get = (path: string, more: readonly string[] = []): string =>
  request({ line: `GET ${path} HTTP/1.1`, headers: more, body: "" });

describe("a request that is as it should be", () => {
  it("passes, so that the refusals below mean something", async () => {
    const answer = await agent.send(request());
    expect(answer.status).toBe(200);
    expect(standIns.openai.requests).toHaveLength(1);
    expect(standIns.openai.requests[0]!.credentials).toEqual([
      { carrier: "bearer", value: standIns.secrets["openai-key"] },
    ]);
  });

  it("passes on the socket and through a tunnel too", async () => {
    expect((await agent.send(request({ host: "localhost" }), "door")).status).toBe(200);
    const tunnel = await agent.tunnel(OPENAI);
    tunnel.write(request({ line: "POST /v1/chat/completions HTTP/1.1", host: OPENAI }));
    expect((await tunnel.answer()).status).toBe(200);
    expect(arrived()).toBe(2);
  });

  it("passes in chunks, with what chunks may carry", async () => {
    const chunked = `5;name=value\r\n${BODY.slice(0, 5)}\r\n${(BODY.length - 5).toString(16)}\r\n${BODY.slice(5)}\r\n0\r\nx-trailer: 1\r\n\r\n`;
    const answer = await agent.send(request({ headers: ["Transfer-Encoding: chunked"], body: chunked }));
    expect(answer.status).toBe(200);
    expect(standIns.openai.requests[0]!.body.toString()).toBe(BODY);
    expect(standIns.openai.requests[0]!.headers).not.toHaveProperty("x-trailer");
  });
});

describe("framing", () => {
  const length = `Content-Length: ${Buffer.byteLength(BODY)}`;
  const chunked = `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`;
  it.each<[string, () => string]>([
    [
      "Content-Length and Transfer-Encoding",
      () => request({ headers: [length, "Transfer-Encoding: chunked"], body: chunked }),
    ],
    [
      "Transfer-Encoding and Content-Length",
      () => request({ headers: ["Transfer-Encoding: chunked", "Content-Length: 4"], body: chunked }),
    ],
    ["two equal Content-Lengths", () => request({ headers: [length, length] })],
    ["two different Content-Lengths", () => request({ headers: [length, "Content-Length: 5"] })],
    ["a Content-Length list", () => request({ headers: [`Content-Length: ${BODY.length}, ${BODY.length}`] })],
    ["a signed Content-Length", () => request({ headers: [`Content-Length: +${BODY.length}`] })],
    ["a hexadecimal Content-Length", () => request({ headers: ["Content-Length: 0x10"] })],
    [
      "a Content-Length beyond every number",
      () => request({ headers: ["Content-Length: 99999999999999999999"] }),
    ],
    [
      "two Transfer-Encodings",
      () => request({ headers: ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], body: chunked }),
    ],
    [
      "chunked that is not last",
      () => request({ headers: ["Transfer-Encoding: chunked, identity"], body: chunked }),
    ],
    [
      "another encoding before chunked",
      () => request({ headers: ["Transfer-Encoding: gzip, chunked"], body: chunked }),
    ],
    [
      "an unknown Transfer-Encoding",
      () => request({ headers: ["Transfer-Encoding: xchunked"], body: chunked }),
    ],
    [
      "a vertical tab before chunked",
      () => request({ headers: ["Transfer-Encoding: \x0bchunked"], body: chunked }),
    ],
    ["two Hosts", () => request({ headers: ["Host: evil.example", length] })],
    ["two equal Hosts", () => request({ headers: [`Host: ${agent.authority}`, length] })],
    ["no Host", () => request().replace(/Host: [^\r]*\r\n/, "")],
    ["two Content-Types", () => request({ headers: ["Content-Type: text/plain", length] })],
    ["bare line feeds", () => request().replaceAll("\r\n", "\n")],
    ["one bare line feed between headers", () => request().replace("\r\nContent-Type", "\nContent-Type")],
    ["a bare carriage return in a header", () => request({ headers: ["x-a: b\rc: d", length] })],
    ["a folded header", () => request({ headers: ["x-a: b", " c: d", length] })],
    ["a space before the colon", () => request({ headers: [`Content-Length : ${BODY.length}`] })],
    ["a header line without a colon", () => request({ headers: ["nothing", length] })],
    ["an empty header name", () => request({ headers: [": x", length] })],
    ["an underscore in a header name", () => request({ headers: ["x_api_key: x", length] })],
    ["NUL in a header", () => request({ headers: ["x-a: b\0c", length] })],
    ["a control character in a header", () => request({ headers: ["x-a: b\x01c", length] })],
    ["a header above the limit", () => request({ headers: [`x-a: ${"a".repeat(70_000)}`, length] })],
    [
      "more headers than are read",
      () => request({ headers: [length, ...Array.from({ length: 300 }, (_, i) => `x-${i}: 1`)] }),
    ],
    [
      "a chunk size that is no number",
      () => request({ headers: ["Transfer-Encoding: chunked"], body: "zz\r\nabc\r\n0\r\n\r\n" }),
    ],
    [
      "a chunk size beyond every number",
      () =>
        request({ headers: ["Transfer-Encoding: chunked"], body: "fffffffffffffffff\r\nabc\r\n0\r\n\r\n" }),
    ],
    [
      "a negative chunk size",
      () => request({ headers: ["Transfer-Encoding: chunked"], body: "-1\r\nabc\r\n0\r\n\r\n" }),
    ],
    [
      "a chunk longer than its size",
      () => request({ headers: ["Transfer-Encoding: chunked"], body: `3\r\n${BODY}\r\n0\r\n\r\n` }),
    ],
    [
      "a chunk extension with a bare line feed",
      () =>
        request({
          headers: ["Transfer-Encoding: chunked"],
          body: `${BODY.length.toString(16)};a\n${BODY}\r\n0\r\n\r\n`,
        }),
    ],
    [
      "a huge chunk extension",
      () =>
        request({
          headers: ["Transfer-Encoding: chunked"],
          body: `5;${"a".repeat(40_000)}\r\nabcde\r\n0\r\n\r\n`,
        }),
    ],
    ["HTTP/0.9", () => "GET /openai/v1/models\r\n\r\n"],
    ["HTTP/2 prior knowledge", () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["a version that does not exist", () => request({ line: "POST /openai/v1/chat/completions HTTP/1.9" })],
    ["TRACE", () => request({ line: "TRACE /openai/v1/models HTTP/1.1", headers: [], body: "" })],
    ["an unknown method", () => request({ line: "FETCH /openai/v1/models HTTP/1.1", headers: [], body: "" })],
    [
      "a known method that is not forwarded",
      () => request({ line: "PROPFIND /openai/v1/models HTTP/1.1", headers: [], body: "" }),
    ],
    ["a method in lower case", () => request({ line: "post /openai/v1/chat/completions HTTP/1.1" })],
    ["an expectation that nobody knows", () => request({ headers: ["Expect: a-miracle", length] })],
  ])("refuses %s", async (_name, bytes) => {
    const answer = await agent.send(bytes());
    expect(answer).toMatchObject({ status: 400, code: "request_malformed" });
    expect(arrived()).toBe(0);
  });

  it.each([
    [
      "a WebSocket of another version",
      [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 8",
      ],
    ],
    [
      "HTTP/2 in clear",
      ["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__"],
    ],
    ["an upgrade that Connection does not name", ["Upgrade: h2c"]],
  ])("refuses to upgrade to %s", async (_name, headers) => {
    expect(await agent.send(get("/openai/v1/models", headers))).toMatchObject({
      status: 501,
      code: "upgrade_unsupported",
    });
    expect(arrived()).toBe(0);
  });

  it("tells HEAD what it tells GET, without a body", async () => {
    const connection = agent.connect();
    connection.write(request({ line: "HEAD /nowhere/x HTTP/1.1", headers: [], body: "" }));
    const head = (await connection.until((bytes) => bytes.includes("\r\n\r\n"))).toString();
    expect(head).toMatch(/^HTTP\/1\.1 403 /);
    expect(head).toContain("server_workload_unknown");
    expect(head.endsWith("\r\n\r\n")).toBe(true);
    connection.take();
    connection.write(request());
    expect((await connection.answer()).status).toBe(200);
  });
});

describe("targets", () => {
  it.each<[string, () => string]>([
    ["another Host on a base URL", () => request({ host: OPENAI })],
    ["a Host that only begins like the gate's", () => request({ host: `${agent.authority}.evil.example` })],
    ["user information in Host", () => request({ host: `x@${agent.authority}` })],
    [
      "absolute form against Host",
      () =>
        request({ line: `POST https://${OPENAI}/v1/chat/completions HTTP/1.1`, host: "api.anthropic.com" }),
    ],
    [
      "absolute form with user information",
      () => request({ line: `POST https://x@${OPENAI}/v1/chat/completions HTTP/1.1`, host: OPENAI }),
    ],
    [
      "absolute form over plain http",
      () => request({ line: `POST http://${OPENAI}/v1/chat/completions HTTP/1.1`, host: OPENAI }),
    ],
    ["asterisk", () => request({ line: "OPTIONS * HTTP/1.1", headers: [], body: "" })],
    ["a dot segment", () => get("/openai/v1/x/../models")],
    ["an encoded dot segment", () => get("/openai/v1/x/%2e%2e/models")],
    ["a half encoded dot segment", () => get("/openai/v1/x/.%2E/models")],
    ["a dot segment with a parameter", () => get("/openai/v1/x/..;a=b/models")],
    ["a dot segment out of the server workload", () => get("/openai/../anthropic/v1/models")],
    ["an encoded slash", () => get("/openai/v1%2fmodels")],
    ["a twice encoded slash", () => get("/openai/v1%252fmodels")],
    ["an encoded backslash", () => get("/openai/v1%5Cmodels")],
    ["an empty segment", () => get("/openai/v1//models")],
    ["an encoded NUL", () => get("/openai/v1/models%00")],
    ["an encoded line break", () => get("/openai/v1/models%0d%0aX-Api-Key:%20x")],
    ["a broken escape", () => get("/openai/v1/models%zz")],
    ["an overlong encoding of a dot", () => get("/openai/v1/%c0%ae%c0%ae/models")],
    ["bytes that are no UTF-8", () => get("/openai/v1/models%ff")],
    ["a fragment", () => get("/openai/v1/models#x")],
    ["a target above the limit", () => get(`/openai/v1/${"a".repeat(20_000)}`)],
  ])("refuses %s", async (_name, bytes) => {
    const answer = await agent.send(bytes());
    expect(answer).toMatchObject({ status: 400, code: "target_not_canonical" });
    expect(arrived()).toBe(0);
  });

  it.each([
    ["a backslash", "/openai/v1\\models"],
    ["a raw high byte", "/openai/v1/mod\xff"],
    ["a tab", "/openai/v1/\tmodels"],
    ["NUL", "/openai/v1/\0models"],
  ])("refuses %s in the target, be it in the parser or after it", async (_name, path) => {
    const answer = await agent.send(get(path));
    expect(answer.status).toBe(400);
    expect(["request_malformed", "target_not_canonical"]).toContain(answer.code);
    expect(arrived()).toBe(0);
  });
});

describe("CONNECT", () => {
  it.each([
    ["a host that is not registered", "evil.example:443", 403, "server_workload_unknown"],
    ["port 22", `${OPENAI}:22`, 403, "server_workload_unknown"],
    ["port 80", `${OPENAI}:80`, 403, "server_workload_unknown"],
    ["an IPv4 address", "127.0.0.1:443", 403, "server_workload_unknown"],
    ["a decimal IPv4 address", "2130706433:443", 403, "server_workload_unknown"],
    ["a hexadecimal IPv4 address", "0x7f000001:443", 403, "server_workload_unknown"],
    ["an octal IPv4 address", "0177.0.0.1:443", 403, "server_workload_unknown"],
    ["a short IPv4 address", "127.1:443", 403, "server_workload_unknown"],
    ["an IPv6 address", "[::1]:443", 403, "server_workload_unknown"],
    ["a mapped IPv6 address", "[::ffff:127.0.0.1]:443", 403, "server_workload_unknown"],
    ["the metadata service", "169.254.169.254:80", 403, "server_workload_unknown"],
    ["a trailing dot", `${OPENAI}.:443`, 400, "target_not_canonical"],
    ["user information", `x@${OPENAI}:443`, 400, "target_not_canonical"],
    ["no port", OPENAI, 400, "target_not_canonical"],
    ["port 0", `${OPENAI}:0`, 400, "target_not_canonical"],
    ["a port beyond all", `${OPENAI}:65979`, 400, "target_not_canonical"],
    ["a URL", `https://${OPENAI}:443`, 400, "target_not_canonical"],
  ])("refuses %s", async (_name, target, status, code) => {
    const answer = await agent.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    expect(answer).toMatchObject({ status, code });
    expect(arrived()).toBe(0);
  });

  it("refuses a Host that is not its target, and two of them", async () => {
    for (const hosts of [["evil.example:443"], [OPENAI, `${OPENAI}:443`]]) {
      const lines = hosts.map((host) => `Host: ${host}\r\n`).join("");
      const answer = await agent.send(`CONNECT ${OPENAI}:443 HTTP/1.1\r\n${lines}\r\n`);
      expect(answer).toMatchObject({ status: 400, code: "target_not_canonical" });
    }
  });

  it("refuses a request whose server name is not the tunnel's host", async () => {
    const tunnel = agent.connect();
    tunnel.write(`CONNECT ${OPENAI}:443 HTTP/1.1\r\nHost: ${OPENAI}:443\r\n\r\n`);
    await tunnel.until((bytes) => bytes.includes("\r\n\r\n"));
    tunnel.take();
    tunnel.tls("api.anthropic.com");
    // The certificate is the tunnel host's whatever was asked for: a client that checks it ends here.
    expect(
      await Promise.race([tunnel.closed().then(() => "closed"), tunnel.secure().then(() => "secure")]),
    ).toBe("closed");
    expect(tunnel.error).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
    expect(arrived()).toBe(0);
  });

  it.each([
    ["another Host", "/v1/models", "api.anthropic.com"],
    ["another port in Host", "/v1/models", `${OPENAI}:444`],
    ["the absolute form of another host", "https://api.anthropic.com/v1/models", OPENAI],
    ["a base URL's Host", "/openai/v1/models", "127.0.0.1"],
  ])("refuses %s inside a tunnel", async (_name, target, host) => {
    const tunnel = await agent.tunnel(OPENAI);
    tunnel.write(request({ line: `GET ${target} HTTP/1.1`, host, headers: [], body: "" }));
    expect(await tunnel.answer()).toMatchObject({ status: 400, code: "target_not_canonical" });
    expect(arrived()).toBe(0);
  });

  it("closes a tunnel in which no TLS comes", async () => {
    const tunnel = agent.connect();
    tunnel.write(`CONNECT ${OPENAI}:443 HTTP/1.1\r\nHost: ${OPENAI}:443\r\n\r\n`);
    await tunnel.until((bytes) => bytes.includes("\r\n\r\n"));
    tunnel.write(request({ line: "GET /v1/models HTTP/1.1", host: OPENAI, headers: [], body: "" }));
    await tunnel.closed();
    expect(arrived()).toBe(0);
  });

  it("takes TLS bytes that came together with the CONNECT for the tunnel's, not for a request", async () => {
    const tunnel = agent.connect();
    tunnel.write(
      `CONNECT ${OPENAI}:443 HTTP/1.1\r\nHost: ${OPENAI}:443\r\n\r\nGET /openai/v1/models HTTP/1.1\r\nHost: ${agent.authority}\r\n\r\n`,
    );
    await tunnel.closed();
    expect(arrived()).toBe(0);
  });

  it("opens no tunnel inside a tunnel", async () => {
    const tunnel = await agent.tunnel(OPENAI);
    tunnel.write("CONNECT api.anthropic.com:443 HTTP/1.1\r\nHost: api.anthropic.com:443\r\n\r\n");
    expect(await tunnel.answer()).toMatchObject({ status: 400, code: "request_malformed" });
    await tunnel.closed();
  });

  it("opens no tunnel behind a request that is not answered yet", async () => {
    const connection = agent.connect();
    connection.write(`${request()}CONNECT ${OPENAI}:443 HTTP/1.1\r\nHost: ${OPENAI}:443\r\n\r\n`);
    await connection.closed();
    expect(connection.received.toString()).not.toContain("Connection Established");
    const after = agent.connect();
    after.write(request());
    expect((await after.answer()).status).toBe(200);
    after.write(`CONNECT ${OPENAI}:443 HTTP/1.1\r\nHost: ${OPENAI}:443\r\n\r\n`);
    expect((await after.until((bytes) => bytes.includes("\r\n\r\n"))).toString()).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("offers no HTTP/2 in a tunnel", async () => {
    const tunnel = agent.connect();
    tunnel.write(`CONNECT ${OPENAI}:443 HTTP/1.1\r\nHost: ${OPENAI}:443\r\n\r\n`);
    await tunnel.until((bytes) => bytes.includes("\r\n\r\n"));
    tunnel.tls(OPENAI, ["h2"]);
    await tunnel.closed();
    expect(tunnel.error).toMatch(/ALPN|NO_APPLICATION_PROTOCOL|ECONNRESET/i);
  });
});

describe("credentials of the agent's own", () => {
  it("leaves none of them beside the injected one, Connection-nominated ones included", async () => {
    const carriers = [
      "x-api-key",
      "api-key",
      "x-goog-api-key",
      "Cookie",
      "Proxy-Authorization",
      "X-Auth-Token",
      "x-nominated",
    ];
    const headers = [
      ...carriers.map((name) => `${name}: mine`),
      "Authorization: Bearer second",
      "Connection: keep-alive, x-nominated, authorization, host",
      "X-HTTP-Method-Override: DELETE",
      "X-Forwarded-Host: evil.example",
      "X-Original-URL: /v1/files",
      `Content-Length: ${BODY.length}`,
    ];
    expect((await agent.send(request({ headers }))).status).toBe(200);
    const [received] = standIns.openai.requests;
    expect(received!.credentials).toEqual([{ carrier: "bearer", value: standIns.secrets["openai-key"] }]);
    expect(received!.headers.host).toBe(OPENAI);
    for (const name of [...carriers.slice(1), "x-http-method-override", "x-forwarded-host", "x-original-url"])
      expect(received!.headers).not.toHaveProperty(name.toLowerCase());
    expect(received!.rawHeaders.filter((text) => text.includes("mine") || text.includes("second"))).toEqual(
      [],
    );
  });

  it("takes a key off the query, however its name is written", async () => {
    const line =
      "POST /gemini/v1beta/models/gemini-2.5-flash:generateContent?key=mine&%6Bey=mine&KEY=mine&$key=mine&alt=json HTTP/1.1";
    const answer = await agent.send(
      request({ line, body: '{"contents":[]}', headers: ["Content-Length: 15"] }),
    );
    expect(answer.status).toBe(200);
    expect(standIns.gemini.requests[0]!.target).toBe(
      "/v1beta/models/gemini-2.5-flash:generateContent?alt=json",
    );
    expect(standIns.gemini.requests[0]!.credentials).toHaveLength(1);
  });

  it.each<[string, () => string, RegExp]>([
    [
      "a header",
      () =>
        request({
          headers: [`x-note: ${agent.environment["OPENAI_API_KEY"]}`, `Content-Length: ${BODY.length}`],
        }),
      /header x-note.*openai/,
    ],
    [
      "the query",
      () =>
        request({
          line: `POST /openai/v1/chat/completions?note=${agent.environment["OPENAI_API_KEY"]} HTTP/1.1`,
        }),
      /query.*openai/,
    ],
    [
      "the body",
      () => {
        const body = JSON.stringify({
          model: "gpt-4o-mini",
          messages: [{ role: "user", content: agent.environment["OPENAI_API_KEY"] }],
        });
        return request({ body });
      },
      /body.*openai/,
    ],
  ])("refuses a placeholder left in %s, and says where and by whose grant", async (_name, bytes, detail) => {
    const answer = await agent.send(bytes());
    expect(answer).toMatchObject({ status: 403, code: "content_refused" });
    expect(answer.detail).toMatch(detail);
    expect(arrived()).toBe(0);
  });
});

describe("the model", () => {
  it.each([
    ["named twice", '{"model":"gpt-4o-mini","model":"gpt-5"}'],
    ["named twice, once escaped", '{"model":"gpt-4o-mini","mod\\u0065l":"gpt-5"}'],
    ["named in two spellings", '{"model":"gpt-4o-mini","Model":"gpt-5"}'],
    ["named in another spelling alone", '{"MODEL":"gpt-4o-mini"}'],
    ["a list", '{"model":["gpt-4o-mini"]}'],
    ["after a byte order mark", '\xef\xbb\xbf{"model":"gpt-4o-mini"}'],
    ["in a body that is no UTF-8", '{"model":"gpt-4o-mini","x":"\xff"}'],
    ["in a second document", '{"model":"gpt-4o-mini"}{"model":"gpt-5"}'],
  ])("is refused where it is %s", async (_name, body) => {
    const answer = await agent.send(request({ body, headers: [`Content-Length: ${body.length}`] }));
    expect(answer).toMatchObject({ status: 400, code: "request_malformed" });
    expect(arrived()).toBe(0);
  });

  it.each(["GPT-4o-mini", "gpt-4o-mini ", "gpt-4o-min\u0131", "gpt-5"])("is refused as %j", async (model) => {
    const body = Buffer.from(JSON.stringify({ model, messages: [] }));
    const answer = await agent.send(
      request({ body: body.toString("latin1"), headers: [`Content-Length: ${body.length}`] }),
    );
    expect(answer).toMatchObject({ status: 403, code: "access_denied" });
    expect(arrived()).toBe(0);
  });

  it("is refused in a body that is compressed", async () => {
    const answer = await agent.send(
      request({ headers: ["Content-Encoding: gzip", `Content-Length: ${BODY.length}`] }),
    );
    expect(answer).toMatchObject({ status: 400, code: "request_malformed" });
  });
});

describe("several requests on one connection", () => {
  it("does not take the unread body of a refused request for the next request", async () => {
    const inner = get("/openai/v1/chat/completions?smuggled=1").replace("GET", "POST");
    const connection = agent.connect();
    // The body is announced larger than what comes at first, so that the refusal precedes it.
    connection.write(
      request({
        line: "POST /nowhere/x HTTP/1.1",
        headers: [`Content-Length: ${inner.length + BODY.length}`],
        body: "",
      }),
    );
    const refused = await connection.answer();
    expect(refused).toMatchObject({ status: 403, code: "server_workload_unknown" });
    expect(refused.headers["connection"]).toBe("close");
    connection.write(inner + BODY);
    await connection.closed();
    expect(connection.received.toString()).toBe("");
    expect(arrived()).toBe(0);
  });

  it("answers pipelined requests in order, each decided on its own", async () => {
    const connection = agent.connect();
    connection.write(request({ line: "POST /nowhere/x HTTP/1.1" }) + request() + get("/openai/v1/nothing"));
    expect(await connection.answer()).toMatchObject({ status: 403, code: "server_workload_unknown" });
    expect((await connection.answer()).status).toBe(200);
    expect(await connection.answer()).toMatchObject({ status: 403, code: "access_denied" });
    expect(arrived()).toBe(1);
  });

  it("closes after a request that cannot be parsed, whatever follows", async () => {
    const connection = agent.connect();
    connection.write(`GET /openai/v1/models HTTP/1.1\r\nHost : x\r\n\r\n${request()}`);
    expect(await connection.answer()).toMatchObject({ status: 400, code: "request_malformed" });
    await connection.closed();
    expect(arrived()).toBe(0);
  });
});

describe("the log of all this", () => {
  it("has a decision for each refusal, and the answers carry its id", async () => {
    const answer = await agent.send(get("/openai/v1/x/../models"));
    const why = await postern.postern(["why", answer.headers["postern-audit-id"]!, "--json"]);
    expect(why.code).toBe(0);
    expect(why.stdout).toContain("target_not_canonical");
  });
});
