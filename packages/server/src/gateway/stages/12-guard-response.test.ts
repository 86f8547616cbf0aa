// SPDX-License-Identifier: Apache-2.0
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { PatternMatcher } from "../../guard/pattern-matcher.ts";
import { secretPatterns } from "../../guard/secret-patterns.ts";
import type { HeaderList } from "../http/messages.ts";
import { lowerCased, streamOf, textOf } from "../request.fixture.ts";
import { guardResponse } from "./12-guard-response.ts";

const secret = "sk-proj-4f9c2e71b0a8d653";
const matcher = PatternMatcher.of(secretPatterns(Buffer.from(secret)));
const stars = "*".repeat(secret.length);

const answerOf = (headers: HeaderList, body: AsyncIterable<Buffer>) => ({
  status: 200,
  headers: lowerCased(headers),
  body,
  discard: () => {},
});

function guarded(headers: HeaderList, ...body: (string | Buffer)[]) {
  const result = guardResponse(answerOf(headers, streamOf(...body)), matcher);
  if (!result.ok) throw new Error(result.reason.detail);
  return result.value;
}

const ENCODERS = {
  gzip: gzipSync,
  "x-gzip": gzipSync,
  br: brotliCompressSync,
  zstd: zstdCompressSync,
  deflate: deflateSync,
};
const encodings = Object.keys(ENCODERS) as (keyof typeof ENCODERS)[];

describe("headers of an answer", () => {
  it.each([
    ...[
      "connection",
      "keep-alive",
      "proxy-connection",
      "transfer-encoding",
      "te",
      "trailer",
      "upgrade",
      "set-cookie",
    ],
    ...[
      "set-cookie2",
      "alt-svc",
      "proxy-authenticate",
      "proxy-authorization",
      "proxy-status",
      "postern-audit-id",
    ],
  ])("lose %s in every case", (name) => {
    const headers: HeaderList = [
      [name, "x"],
      [name.toUpperCase(), "x"],
      ["x-stays", "1"],
    ];
    expect(guarded(headers).headers).toEqual([["x-stays", "1"]]);
  });

  it("lose the secret in values, and whole where it is in the name", () => {
    const answer = guarded([
      ["location", `https://x.example/?key=${secret}&y=1`],
      ["WWW-Authenticate", `Basic ${Buffer.from(`u:${secret}`).toString("base64")}`],
      [`x-${secret}`, "1"],
      ["x-stays", "1"],
    ]);
    const text = JSON.stringify(answer.headers);
    expect(answer.headers[0]).toEqual(["location", `https://x.example/?key=${stars}&y=1`]);
    expect(text).toMatch(/Basic [A-Za-z0-9+/]{1,6}\*{20,}/);
    expect(text).not.toContain(secret);
    expect(answer.headers.map(([name]) => name)).toEqual(["location", "www-authenticate", "x-stays"]);
    expect(answer.scrubbed()).toBe(3);
  });

  it("keep encoding and length where the body is not decoded, and lose them where it is", () => {
    const own: HeaderList = [
      ["content-length", "5"],
      ["content-encoding", "identity"],
    ];
    expect(guarded(own, "hello").headers).toEqual(own);
    expect(
      guarded(
        [
          ["Content-Length", "25"],
          ["Content-Encoding", "gzip"],
        ],
        gzipSync("hello"),
      ).headers,
    ).toEqual([]);
  });
});

describe("a part of an answer", () => {
  it("is refused: another part could hold the rest of a secret", () => {
    const answer = { ...answerOf([["content-range", "bytes 0-3/9"]], streamOf("x")), status: 206 };
    expect(guardResponse(answer, matcher)).toMatchObject({ ok: false, reason: { code: "upstream_failed" } });
  });
});

describe("a body", () => {
  it("keeps its length and every other byte", async () => {
    const answer = guarded([], `a${secret}b${secret}`, "c");
    expect(await textOf(answer.body)).toBe(`a${stars}b${stars}c`);
    expect(answer.scrubbed()).toBe(2);
  });

  it.each([1, 2, 5, 13])("loses the secret in pieces of %i bytes", async (size) => {
    const text = `data: {"echo":"${secret}"}\n\n`;
    const answer = guarded([], ...text.match(new RegExp(`.{1,${size}}`, "gs"))!);
    expect(await textOf(answer.body)).toBe(text.replace(secret, stars));
  });

  it("does not wait for what cannot begin a secret", async () => {
    let later: (() => void) | undefined;
    const body = (async function* () {
      yield Buffer.from("data: 1\n\n");
      await new Promise<void>((resolve) => (later = resolve));
      yield Buffer.from("data: 2\n\n");
    })();
    const result = guardResponse(answerOf([], body), matcher);
    if (!result.ok) throw new Error("refused");
    const reader = result.value.body[Symbol.asyncIterator]();
    expect((await reader.next()).value?.toString()).toBe("data: 1\n\n");
    const second = reader.next();
    await Promise.resolve();
    later!();
    expect((await second).value?.toString()).toBe("data: 2\n\n");
  });

  it.each(encodings)("is decoded from %s, in any spelling and in small pieces", async (encoding) => {
    const encoded = ENCODERS[encoding](`before ${secret} after`);
    const pieces = Array.from({ length: Math.ceil(encoded.length / 3) }, (_, i) =>
      encoded.subarray(3 * i, 3 * i + 3),
    );
    const answer = guarded([["Content-Encoding", encoding.toUpperCase()]], ...pieces);
    expect(await textOf(answer.body)).toBe(`before ${stars} after`);
  });

  it.each(encodings)("ends with an error where %s is cut short", async (encoding) => {
    const encoded = ENCODERS[encoding](Buffer.alloc(5000, "abcdefghij"));
    const answer = guarded([["content-encoding", encoding]], encoded.subarray(0, -4));
    await expect(textOf(answer.body)).rejects.toThrow();
  });

  it.each(encodings)("ends with an error where it is not %s at all", async (encoding) => {
    const answer = guarded([["content-encoding", encoding]], `no ${secret} here`);
    await expect(textOf(answer.body)).rejects.toThrow();
  });

  it("may be empty, whatever encoding is announced, as in an answer to HEAD", async () => {
    for (const encoding of encodings)
      expect(await textOf(guarded([["content-encoding", encoding]]).body)).toBe("");
  });

  it.each(["compress", "gzip, gzip", "gzip, br", "aes128gcm", "constructor", "__proto__"])(
    "in the encoding %j is refused",
    (encoding) => {
      expect(guardResponse(answerOf([["Content-Encoding", encoding]], streamOf("x")), matcher)).toMatchObject(
        {
          ok: false,
          reason: { code: "upstream_failed" },
        },
      );
    },
  );

  it("in two encodings, said in two headers, is refused", () => {
    const headers: HeaderList = [
      ["Content-Encoding", "gzip"],
      ["content-encoding", "br"],
    ];
    expect(guardResponse(answerOf(headers, streamOf("x")), matcher)).toMatchObject({ ok: false });
  });

  it("is not decoded faster than it is read, however small it was", async () => {
    const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024));
    const reader = guarded([["content-encoding", "gzip"]], bomb).body[Symbol.asyncIterator]();
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 5; i++) await reader.next();
    expect(process.memoryUsage().rss - before).toBeLessThan(50 * 1024 * 1024);
    await reader.return?.();
  });
});
