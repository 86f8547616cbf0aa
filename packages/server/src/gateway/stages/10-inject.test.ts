// SPDX-License-Identifier: Apache-2.0
import type { Injection } from "@postern/contract";
import { describe, expect, it } from "vitest";
import { Secret } from "../../kernel/secret.ts";
import type { UpstreamConnection } from "../http/messages.ts";
import { workloadOf } from "../request.fixture.ts";
import type { GuardedRequest } from "./7-guard-request.ts";
import { inject } from "./10-inject.ts";

const connection = { authority: "api.example" } as UpstreamConnection;

const guarded = (more: Partial<GuardedRequest> = {}): GuardedRequest => ({
  method: "POST",
  path: "/v1/x",
  query: "",
  headers: [["x-stays", "1"]],
  body: undefined,
  contentLength: undefined,
  ...more,
});

const withInjection = (injection: Injection) =>
  workloadOf("http", {
    injections: [{ injection, append: {}, whenPathStartsWith: undefined, whenSecretStartsWith: undefined }],
  });

const injectedBy = (
  workload: ReturnType<typeof workloadOf>,
  secret: string | Buffer,
  more: Partial<GuardedRequest> = {},
) => {
  const credential = { provider: "p", secret: new Secret(Buffer.from(secret as string, "utf8")), version: 1 };
  return inject(guarded(more), workload, credential, connection);
};

const injected = (...args: Parameters<typeof injectedBy>) => {
  const result = injectedBy(...args);
  if (!result.ok) throw new Error(result.reason.detail);
  return result.value;
};

describe("each kind of injection", () => {
  it.each<[Injection, [string, string]]>([
    [{ kind: "bearer" }, ["authorization", "Bearer s3cret$&"]],
    [{ kind: "header", name: "x-key", value: "{secret}" }, ["x-key", "s3cret$&"]],
    [{ kind: "header", name: "x-key", value: "Token {secret};v=1" }, ["x-key", "Token s3cret$&;v=1"]],
    [
      { kind: "basic", username: "u" },
      ["authorization", `Basic ${Buffer.from("u:s3cret$&").toString("base64")}`],
    ],
  ])("%j sets exactly one header", (injection, header) => {
    expect(injected(withInjection(injection), "s3cret$&").headers).toEqual([
      ["host", "api.example"],
      ["x-stays", "1"],
      ["accept-encoding", "identity"],
      header,
    ]);
  });

  it("in the query adds one parameter that cannot become two", () => {
    const workload = withInjection({ kind: "query", name: "key" });
    expect(injected(workload, "a&b=c#d e%/ü").target).toBe("/v1/x?key=a%26b%3Dc%23d%20e%25%2F%C3%BC");
    expect(injected(workload, "s", { query: "?a=1" }).target).toBe("/v1/x?a=1&key=s");
    expect(injected(workload, "s").headers.map(([name]) => name)).not.toContain("authorization");
  });

  it("in the path fills the one place, and cannot leave its segment", () => {
    const workload = withInjection({ kind: "path", placeholder: "BOT_TOKEN" });
    expect(injected(workload, "1:a/../b?c$&", { path: "/botBOT_TOKEN/send" }).target).toBe(
      "/bot1:a%2F..%2Fb%3Fc%24%26/send",
    );
    for (const path of ["/bot/send", "/BOT_TOKEN/BOT_TOKEN"])
      expect(injectedBy(workload, "s", { path })).toMatchObject({
        ok: false,
        reason: { code: "injection_failed" },
      });
  });
});

describe("a secret that does not fit", () => {
  it.each(["a\r\nx: y", "a\nb", "a\rb", "a\0b", "a\tb", "a\x7fb", "ä", "\u{1f511}", " a", "a ", ""])(
    "is refused for headers: %j",
    (secret) => {
      for (const injection of [{ kind: "header", name: "x-key", value: "{secret}" }] satisfies Injection[]) {
        const result = injectedBy(withInjection(injection), secret);
        expect(result).toMatchObject({ ok: false, reason: { code: "injection_failed" } });
        if (secret.trim().length > 1)
          expect(JSON.stringify(result)).not.toContain(JSON.stringify(secret).slice(1, -1));
      }
      if (secret !== " a" && secret !== "")
        expect(injectedBy(withInjection({ kind: "bearer" }), secret)).toMatchObject({
          ok: false,
          reason: { code: "injection_failed" },
        });
    },
  );

  it("is refused where no injection applies", () => {
    expect(injectedBy(workloadOf("http"), "s")).toMatchObject({
      ok: false,
      reason: { code: "injection_failed" },
    });
  });

  it("goes byte for byte where the bytes are encoded anyway", () => {
    const secret = Buffer.from([0xff, 0x00, 0x0a]);
    const credential = { provider: "p", secret: new Secret(secret), version: 1 };
    const basic = inject(guarded(), withInjection({ kind: "basic", username: "" }), credential, connection);
    const value = basic.ok ? basic.value.headers.at(-1)![1] : "";
    expect(Buffer.from(value.replace("Basic ", ""), "base64")).toEqual(
      Buffer.concat([Buffer.from(":"), secret]),
    );
  });
});

describe("profiles", () => {
  const carriers = (headers: readonly (readonly [string, string])[]) =>
    headers.filter(([name]) => ["authorization", "x-api-key", "x-goog-api-key"].includes(name));

  it("anthropic: keys in x-api-key, OAuth tokens as Bearer with the beta token once", () => {
    const anthropic = workloadOf("anthropic");
    const key = injected(anthropic, "sk-ant-api03-x");
    expect(carriers(key.headers)).toEqual([["x-api-key", "sk-ant-api03-x"]]);
    expect(key.headers.some(([name]) => name === "anthropic-beta")).toBe(false);
    const beta = (headers: [string, string][]) => {
      const request = injected(anthropic, "sk-ant-oat01-x", { headers });
      expect(carriers(request.headers)).toEqual([["authorization", "Bearer sk-ant-oat01-x"]]);
      return request.headers
        .filter(([name]) => name.toLowerCase() === "anthropic-beta")
        .map(([, value]) => value);
    };
    expect(beta([])).toEqual(["oauth-2025-04-20"]);
    expect(beta([["anthropic-beta", "other-1"]])).toEqual(["other-1,oauth-2025-04-20"]);
    expect(beta([["anthropic-beta", "other-1, oauth-2025-04-20"]])).toEqual(["other-1, oauth-2025-04-20"]);
    expect(
      beta([
        ["anthropic-beta", "a"],
        ["anthropic-beta", "b"],
      ]),
    ).toEqual(["a", "b,oauth-2025-04-20"]);
    expect(
      beta([
        ["anthropic-beta", "oauth-2025-04-20"],
        ["anthropic-beta", "b"],
      ]),
    ).toEqual(["oauth-2025-04-20", "b"]);
  });

  it("gemini: Bearer for the OpenAI-compatible paths only", () => {
    const gemini = workloadOf("gemini");
    const at = (path: string) => carriers(injected(gemini, "AIzaX", { path }).headers);
    expect(at("/v1beta/models/m:generateContent")).toEqual([["x-goog-api-key", "AIzaX"]]);
    expect(at("/v1beta/openai/chat/completions")).toEqual([["authorization", "Bearer AIzaX"]]);
    expect(at("/v1beta/openaix/chat")).toEqual([["x-goog-api-key", "AIzaX"]]);
  });

  it("openai: Bearer", () => {
    expect(carriers(injected(workloadOf("openai"), "sk-x").headers)).toEqual([
      ["authorization", "Bearer sk-x"],
    ]);
  });
});

describe("the length of the body", () => {
  it("is what is sent, not what was announced", () => {
    const workload = withInjection({ kind: "bearer" });
    const lengths = (more: Partial<GuardedRequest>) =>
      injected(workload, "s", more)
        .headers.filter(([name]) => name === "content-length")
        .map(([, value]) => value);
    expect(lengths({ body: Buffer.from("abc"), contentLength: "99" })).toEqual(["3"]);
    expect(lengths({ contentLength: "99" })).toEqual(["99"]);
    expect(lengths({})).toEqual([]);
  });
});
