// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { PatternMatcher } from "../../guard/pattern-matcher.ts";
import { PLACEHOLDER_MARKER } from "../../guard/placeholder.ts";
import { secretPatterns } from "../../guard/secret-patterns.ts";
import type { HeaderList } from "../http/messages.ts";
import { canonicalOf, matchedOf, rawRequest, streamOf, textOf, workloadOf } from "../request.fixture.ts";
import { guardRequest } from "./7-guard-request.ts";

const openai = workloadOf("openai");
const placeholder = `sk-proj-${PLACEHOLDER_MARKER}0000`;

const secret = "ghp_Q7/w+1 é9Zr=4tLx";
const known = PatternMatcher.of(secretPatterns(Buffer.from(secret)));

function guarded(headers: HeaderList, workload = openai, query = "") {
  const matched = matchedOf(workload, "/v1/x", { canonical: canonicalOf("/v1/x", { query }) });
  const result = guardRequest(rawRequest(headers), matched, known);
  if (!result.ok) throw new Error(result.reason.detail);
  return result.value;
}

describe("what is taken off", () => {
  it.each([
    ...[
      "authorization",
      "proxy-authorization",
      "x-api-key",
      "api-key",
      "apikey",
      "x-goog-api-key",
      "x-auth-token",
    ],
    ...[
      "x-access-token",
      "x-amz-security-token",
      "private-token",
      "job-token",
      "x-vault-token",
      "dd-api-key",
      "cookie",
    ],
    ...[
      "ocp-apim-subscription-key",
      "x-forwarded-access-token",
      "x-forwarded-user",
      "x-remote-user",
      "x-forwarded-for",
    ],
    ...[
      "x-http-method-override",
      "x-http-method",
      "x-method-override",
      "x-original-url",
      "x-rewrite-url",
      "x-original-host",
    ],
    ...[
      "forwarded",
      "via",
      "x-real-ip",
      "x-forwarded-host",
      "x-forwarded-prefix",
      "x-forwarded-anything-new",
    ],
    ...[
      "connection",
      "keep-alive",
      "proxy-connection",
      "te",
      "trailer",
      "transfer-encoding",
      "upgrade",
      "expect",
    ],
    ...["http2-settings", "host", "content-length", "accept-encoding"],
    ...["range", "if-range"],
    ...["sec-websocket-key", "sec-websocket-version", "sec-websocket-accept"],
    ...["sec-websocket-extensions", "sec-websocket-protocol"],
  ])("is the header %s in every case", (name) => {
    const spellings = [name, name.toUpperCase(), name.replace(/^./, (first) => first.toUpperCase())];
    const headers: HeaderList = [...spellings.map((spelled) => [spelled, "x"] as const), ["x-stays", "1"]];
    expect(guarded(headers).headers).toEqual([["x-stays", "1"]]);
  });

  it("is every header that Connection names, in any spelling of the list", () => {
    const headers: HeaderList = [
      ["Connection", "close, X-One ,x-two"],
      ["connection", "x-three"],
      ["x-one", "1"],
      ["X-Two", "2"],
      ["x-three", "3"],
      ["x-four", "4"],
    ];
    expect(guarded(headers).headers).toEqual([["x-four", "4"]]);
  });

  it("is the header into which the credential goes, and the profile's other carriers", () => {
    const own = workloadOf("http", {
      injections: [
        {
          injection: { kind: "header", name: "x-own-key", value: "{secret}" },
          append: {},
          whenPathStartsWith: undefined,
          whenSecretStartsWith: undefined,
        },
      ],
    });
    expect(guarded([["X-Own-Key", "mine"]], own).headers).toEqual([]);
    expect(guarded([["X-Own-Key", "mine"]]).headers).toEqual([["x-own-key", "mine"]]);
  });

  it.each([
    ["?key=mine", ""],
    ["?a=1&key=mine&b=2", "?a=1&b=2"],
    ["?KEY=mine&%6b%65%79=mine&k%65y", ""],
    ["?$key=mine&%24key=mine", ""],
    [
      "?access_token=mine&oauth_token=mine&auth_token=mine&api_key=mine&apikey=mine&api-key=mine&$access_token=mine",
      "",
    ],
    ["?monkey=1&keys=2&alt=sse", "?monkey=1&keys=2&alt=sse"],
    ["?a=key=mine", "?a=key=mine"],
  ])("is the key in the query %s", (query, kept) => {
    expect(guarded([], workloadOf("gemini"), query).query).toBe(kept);
  });

  it("is the query parameter into which the credential goes", () => {
    const own = workloadOf("http", {
      injections: [
        {
          injection: { kind: "query", name: "appId" },
          append: {},
          whenPathStartsWith: undefined,
          whenSecretStartsWith: undefined,
        },
      ],
    });
    expect(guarded([], own, "?appid=mine&x=1&%61ppId=mine").query).toBe("?x=1");
  });
});

describe("a placeholder that would leave", () => {
  it.each<[string, HeaderList, string, string, Buffer | undefined]>([
    ["the header x-note", [["X-Note", placeholder]], "/v1/x", "", undefined],
    ["the header x-note", [["X-Note", placeholder.toUpperCase()]], "/v1/x", "", undefined],
    ["the header", [[placeholder, "1"]], "/v1/x", "", undefined],
    ["the path", [], `/v1/${placeholder}`, "", undefined],
    ["the query", [], "/v1/x", `?note=${placeholder}`, undefined],
    ["the query", [], "/v1/x", `?note=${placeholder.replace("P", "%50")}`, undefined],
    ["the body", [], "/v1/x", "", Buffer.from(`{"model":"a","x":"${placeholder}"}`)],
  ])("is refused in %s", (place, headers, path, query, body) => {
    const matched = matchedOf(openai, path, {
      canonical: canonicalOf(path, { query }),
      ...(body === undefined ? {} : { body }),
    });
    expect(guardRequest(rawRequest(headers), matched, known)).toMatchObject({
      ok: false,
      reason: {
        code: "content_refused",
        reasons: ["placeholder_left"],
        detail: expect.stringMatching(new RegExp(`${place}.*openai`)),
      },
    });
  });

  it.each([1, 3, 7, 17, 18, 1000])("breaks a streamed body off, in pieces of %i bytes", async (size) => {
    const text = `${"a".repeat(50)}${placeholder}${"b".repeat(50)}`;
    const pieces = text.match(new RegExp(`.{1,${size}}`, "gs"))!;
    const request = rawRequest([["Transfer-Encoding", "chunked"]], { body: streamOf(...pieces) });
    const result = guardRequest(request, matchedOf(openai, "/v1/files"), known);
    if (!result.ok) throw new Error(result.reason.detail);
    const passed: Buffer[] = [];
    const read = async () => {
      for await (const chunk of result.value.body as AsyncIterable<Buffer>) passed.push(chunk);
    };
    await expect(read()).rejects.toMatchObject({ code: "content_refused" });
    expect(Buffer.concat(passed).toString()).not.toContain(PLACEHOLDER_MARKER);
  });

  it("does not trouble a body that only comes near one", async () => {
    const text = "PosternPosternPlaceholdePosternPlaceHolder";
    const request = rawRequest([["Content-Length", String(text.length)]], {
      body: streamOf(...text.split("")),
    });
    const result = guardRequest(request, matchedOf(openai, "/v1/files"), known);
    if (!result.ok) throw new Error(result.reason.detail);
    expect(result.value.contentLength).toBe(String(text.length));
    expect(await textOf(result.value.body as AsyncIterable<Buffer>)).toBe(text);
  });
});

describe("a secret of the vault that would leave", () => {
  const escaped = encodeURIComponent(secret);
  const throughout = Buffer.from(secret).toString("hex").replaceAll(/../g, "%$&");
  const latin1 = Buffer.from(secret).toString("latin1");
  it.each<[string, HeaderList, string, string, string | undefined]>([
    ["the header x-note", [["X-Note", latin1]], "/v1/x", "", undefined],
    ["the header x-note", [["X-Note", latin1.toUpperCase()]], "/v1/x", "", undefined],
    [
      "the header x-note",
      [["X-Note", `Basic ${Buffer.from(`u:${secret}`).toString("base64")}`]],
      "/v1/x",
      "",
      undefined,
    ],
    ["a header", [[`X-${Buffer.from(secret).toString("hex")}`, "1"]], "/v1/x", "", undefined],
    ["the path", [], `/v1/${escaped}`, "", undefined],
    ["the path", [], `/v1/${throughout}/x`, "", undefined],
    ["the query", [], "/v1/x", `?note=${escaped}`, undefined],
    ["the query", [], "/v1/x", `?note=%zz%ff&x=${throughout}`, undefined],
    ["the query", [], "/v1/x", `?${new URLSearchParams({ note: secret }).toString()}`, undefined],
    ["the body", [], "/v1/x", "", JSON.stringify({ model: "a", note: secret })],
    ["the body", [], "/v1/x", "", Buffer.from(`{"x":"${secret}"}`).toString("base64url")],
  ])("is refused in %s, and not named", (place, headers, path, query, body) => {
    const matched = matchedOf(openai, path, {
      canonical: canonicalOf(path, { query }),
      ...(body === undefined ? {} : { body: Buffer.from(body) }),
    });
    expect(guardRequest(rawRequest(headers), matched, known)).toEqual({
      ok: false,
      reason: {
        code: "content_refused",
        reasons: ["secret_leaving"],
        detail: `a secret of the vault would leave in ${place}`,
      },
    });
  });

  it.each([1, 3, 7, 17, 1000])(
    "breaks a streamed body off before its first byte, in pieces of %i bytes",
    async (size) => {
      const bytes = Buffer.from(`before ${secret} after`);
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
        bytes.subarray(at * size, (at + 1) * size),
      );
      const request = rawRequest([["Transfer-Encoding", "chunked"]], { body: streamOf(...pieces) });
      const result = guardRequest(request, matchedOf(openai, "/v1/files"), known);
      if (!result.ok) throw new Error(result.reason.detail);
      const passed: Buffer[] = [];
      const read = async () => {
        for await (const chunk of result.value.body as AsyncIterable<Buffer>) passed.push(chunk);
      };
      await expect(read()).rejects.toMatchObject({ code: "content_refused" });
      expect("before ").toContain(Buffer.concat(passed).toString());
    },
  );

  it("does not trouble a body that only begins like one", async () => {
    const text = `${secret.slice(0, -1)}! ${secret.slice(1)} ${secret.slice(0, 9)}`;
    const request = rawRequest([["Transfer-Encoding", "chunked"]], { body: streamOf(...text.split("")) });
    const result = guardRequest(request, matchedOf(openai, "/v1/files"), known);
    if (!result.ok) throw new Error(result.reason.detail);
    expect(await textOf(result.value.body as AsyncIterable<Buffer>)).toBe(text);
  });

  it("is not betrayed by what waits: an unfinished body that begins like one passes as any other", async () => {
    const passed = async (text: string): Promise<number[]> => {
      const sizes: number[] = [];
      const pieces = async function* (): AsyncIterable<Buffer> {
        for (let at = 0; at < text.length; at += 7) yield Buffer.from(text.slice(at, at + 7), "latin1");
        sizes.push(-1);
      };
      const request = rawRequest([["Transfer-Encoding", "chunked"]], { body: pieces() });
      const result = guardRequest(request, matchedOf(openai, "/v1/files"), known);
      if (!result.ok) throw new Error(result.reason.detail);
      for await (const piece of result.value.body as AsyncIterable<Buffer>) sizes.push(piece.length);
      return sizes;
    };
    const guess = Buffer.from(secret).toString("latin1").slice(0, -1);
    const filler = "x".repeat(2 * known.longest);
    for (const front of ["", filler])
      expect(await passed(front + guess)).toEqual(await passed(front + "y".repeat(guess.length)));
  });

  it("may stand in a header that is taken off", () => {
    expect(guarded([["Authorization", `Bearer ${latin1}`]]).headers).toEqual([]);
  });
});

describe("the subprotocols of a WebSocket handshake", () => {
  const handshake = (...protocols: string[]): HeaderList => [
    ["Upgrade", "websocket"],
    ["Connection", "Upgrade, Sec-WebSocket-Protocol"],
    ["Sec-WebSocket-Extensions", "permessage-deflate"],
    ...protocols.map((value) => ["Sec-WebSocket-Protocol", value] as const),
  ];

  it.each([
    "openai-insecure-api-key.sk-1",
    "OpenAI-Insecure-API-Key.sk-1",
    "base64url.bearer.authorization.k8s.io.abc",
    "bearer",
    "token",
    "access_token",
    "Authorization",
    "x-apikey-1",
    "auth.basic",
    `anything.${placeholder}`,
    placeholder.toUpperCase(),
  ])("leave without one that carries a credential: %s", (name) => {
    expect(guarded(handshake(name)).headers).toEqual([]);
    expect(guarded(handshake(`realtime, ${name}`, "v2")).headers).toEqual([
      ["sec-websocket-protocol", "realtime, v2"],
    ]);
  });

  it.each([
    "realtime",
    "openai-beta.realtime-v1",
    "graphql-transport-ws",
    "mqtt",
    "tokens",
    "author",
    "v1.keyed",
  ])("leave as they are otherwise: %s", (name) => {
    expect(guarded(handshake(name)).headers).toEqual([["sec-websocket-protocol", name]]);
  });

  it("are searched for secrets of the vault", () => {
    const hidden = `x.${Buffer.from(secret).toString("hex")}`;
    const matched = matchedOf(openai, "/v1/x", { canonical: canonicalOf("/v1/x") });
    expect(guardRequest(rawRequest(handshake(hidden)), matched, known)).toMatchObject({
      ok: false,
      reason: {
        code: "content_refused",
        detail: expect.stringMatching(/the header sec-websocket-protocol$/) as string,
      },
    });
  });
});

describe("a request without a body", () => {
  it("is sent without one", () => {
    expect(guarded([]).body).toBe(undefined);
  });
});
