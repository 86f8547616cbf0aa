// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { BodyMemory } from "../body-memory.ts";
import type { CanonicalRequest, HeaderList } from "../http/messages.ts";
import type { Snapshot } from "../ports.ts";
import { canonicalOf, rawRequest, streamOf, workloadOf } from "../request.fixture.ts";
import { findWorkload, matchServerWorkload } from "./4-match-server-workload.ts";

const openai = workloadOf("openai");
const gemini = workloadOf("gemini");
const anthropic = workloadOf("anthropic");

const match = (
  workload: typeof openai,
  path: string,
  body = "",
  headers: HeaderList = [],
  more: Partial<CanonicalRequest> = {},
  limit = 1000,
) =>
  matchServerWorkload(
    canonicalOf(path, more),
    rawRequest(headers, { body: streamOf(body) }),
    workload,
    shareOf(limit),
  );

function shareOf(limit: number) {
  return new BodyMemory({ perRequest: limit, perAgent: limit, total: limit }).share("a");
}

describe("the operation", () => {
  it.each([
    [openai, "POST", "/v1/chat/completions", '{"model":"m"}', "chat.completions", "m"],
    [openai, "GET", "/v1/models/gpt-5", "", "models.get", "gpt-5"],
    [openai, "GET", "/v1/models", "", "models.list", undefined],
    [openai, "GET", "/v1/chat/completions", "", undefined, undefined],
    [openai, "POST", "/v1/chat/completions/", '{"model":"m"}', undefined, undefined],
    [openai, "POST", "/V1/chat/completions", '{"model":"m"}', undefined, undefined],
    [openai, "POST", "/v1/chat/completions;x", '{"model":"m"}', undefined, undefined],
    [openai, "POST", "/x/v1/chat/completions", '{"model":"m"}', undefined, undefined],
    [
      gemini,
      "POST",
      "/v1beta/models/gemini-2.5-flash:generateContent",
      "",
      "generateContent",
      "gemini-2.5-flash",
    ],
    [gemini, "POST", "/v1beta/models/gemini-2.5-flash%3AgenerateContent", "", undefined, undefined],
    [gemini, "POST", "/v1beta/models/a:b:generateContent", "", undefined, undefined],
    [gemini, "POST", "/v1beta/models/:generateContent", "", undefined, undefined],
    [gemini, "POST", "/v1beta/models/a%20b:generateContent", "", "generateContent", "a b"],
    [anthropic, "POST", "/messages", '{"model":"m"}', "messages", "m"],
  ] as const)("of %# %s %s %s", async (workload, method, path, body, operation, model) => {
    const result = await match(workload, path, body, [], { method });
    if (!result.ok) throw new Error(result.reason.detail);
    expect(result.value.operation).toBe(operation);
    expect(result.value.model).toBe(model);
  });

  it("takes every name of a parameter that a resource may have", async () => {
    const workload = workloadOf("http", {
      operations: [
        { name: "thing.get", method: "GET", path: "/{owner_1}/x{Thing2}:{model}", model: { path: "model" } },
      ],
    });
    const result = await match(workload, "/a/xb:c", "", [], { method: "GET" });
    expect(result).toMatchObject({ ok: true, value: { operation: "thing.get", model: "c" } });
  });

  it("takes an alias for base URLs only, and sends the real path", async () => {
    const aliased = await match(anthropic, "/messages", '{"model":"m"}');
    expect(aliased).toMatchObject({ ok: true, value: { canonical: { path: "/v1/messages" } } });
    const direct = await match(anthropic, "/messages", '{"model":"m"}', [], {
      mode: "connect",
      host: "api.anthropic.com",
    });
    expect(direct).toMatchObject({ ok: true, value: { canonical: { path: "/messages" } } });
    expect(direct.ok && direct.value.operation).toBe(undefined);
  });

  it("leaves the body alone where no model is in it", async () => {
    const request = rawRequest([], { body: streamOf("not JSON at all") });
    const result = await matchServerWorkload(canonicalOf("/v1/files"), request, openai, shareOf(5));
    expect(result).toMatchObject({ ok: true, value: { operation: "files.create" } });
    expect(result.ok && result.value.body).toBe(undefined);
  });
});

describe("the model in a body", () => {
  it.each([
    ['{"model":"a","model":"b"}', "duplicate_field"],
    ['{"model":"a","MODEL":"b"}', "duplicate_field"],
    ['{"model":1}', "not_a_string"],
    ["model=a", "not_json"],
    ["[]", "not_an_object"],
  ])("is refused in %s", async (body, reason) => {
    expect(await match(openai, "/v1/chat/completions", body)).toMatchObject({
      ok: false,
      reason: { code: "request_malformed", reasons: [reason] },
    });
  });

  it("is none where the body names none", async () => {
    const result = await match(openai, "/v1/chat/completions", '{"messages":[{"model":"gpt-5"}]}');
    expect(result.ok && "model" in result.value).toBe(false);
  });

  it("is not looked for in a compressed body", async () => {
    for (const encoding of ["gzip", "GZIP", "identity, gzip"])
      expect(
        await match(openai, "/v1/chat/completions", '{"model":"a"}', [["content-encoding", encoding]]),
      ).toMatchObject({
        ok: false,
        reason: { code: "request_malformed" },
      });
  });

  it("is not looked for beyond the limit", async () => {
    expect(await match(openai, "/v1/chat/completions", `{"model":"a"${" ".repeat(1000)}}`)).toMatchObject({
      ok: false,
      reason: { code: "request_too_large" },
    });
  });
});

describe("the model in a query", () => {
  const realtime = (query: string) => match(openai, "/v1/realtime", "", [], { method: "GET", query });

  it("is that of the operation, decoded", async () => {
    expect(await realtime("?model=gpt%2Drealtime&x=1")).toMatchObject({
      ok: true,
      value: {
        operation: "realtime",
        model: "gpt-realtime",
        canonical: { query: "?model=gpt%2Drealtime&x=1" },
      },
    });
  });

  it("is none where the query names none", async () => {
    const result = await realtime("?intent=transcription");
    expect(result.ok && [result.value.operation, result.value.model]).toEqual(["realtime", undefined]);
  });

  it.each([
    ["?model=a&model=b", "duplicate_field"],
    ["?model=a&Model=b", "duplicate_field"],
    ["?model=%ff", "broken_encoding"],
  ])("is refused in %s", async (query, reason) => {
    expect(await realtime(query)).toMatchObject({
      ok: false,
      reason: { code: "request_malformed", reasons: [reason] },
    });
  });
});

describe("the server workload", () => {
  const snapshot: Snapshot = {
    epoch: 1,
    agents: new Map(),
    serverWorkloads: new Map([["openai", openai]]),
    byAuthority: new Map([["api.openai.com:443", openai]]),
    policyDigest: "",
    conditionsOf: () => [],
    decide: () => {
      throw new Error("not asked here");
    },
  };
  const found = (more: Partial<CanonicalRequest>) => findWorkload(canonicalOf("/", more), snapshot);

  it("is found by its name or by exactly its host and port", () => {
    expect(found({ workloadName: "openai" })).toEqual({ ok: true, value: openai });
    expect(found({ host: "api.openai.com", port: 443 })).toEqual({ ok: true, value: openai });
  });

  it.each([
    ["another port", { host: "api.openai.com", port: 8443 }, "server_workload_unknown"],
    ["a host below it", { host: "x.api.openai.com", port: 443 }, "server_workload_unknown"],
    ["a host above it", { host: "openai.com", port: 443 }, "server_workload_unknown"],
    ["a name in no policy", { workloadName: "open" }, "server_workload_unknown"],
    ["a name of every object", { workloadName: "constructor" }, "server_workload_unknown"],
    ["plain http", { host: "api.openai.com", port: 80, scheme: "http" }, "target_not_canonical"],
    [
      "plain http at the TLS port",
      { host: "api.openai.com", port: 443, scheme: "http" },
      "target_not_canonical",
    ],
  ] as const)("is refused for %s", (_name, more, code) => {
    expect(found(more)).toMatchObject({ ok: false, reason: { code } });
  });
});
