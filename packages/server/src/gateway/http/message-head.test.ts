// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { readAnswerHead, readRequestHead } from "./message-head.ts";

const request = (...lines: string[]) =>
  readRequestHead(["POST /a HTTP/1.1", "Host: x", ...lines].join("\r\n"));
const answer = (method: string, status: number, ...lines: string[]) =>
  readAnswerHead([`HTTP/1.1 ${status} Fine`, ...lines].join("\r\n"), method);

describe("a request line that is not METHOD TARGET HTTP/1.x", () => {
  it.each([
    "GET /a",
    "GET /a HTTP/0.9",
    "GET /a HTTP/1.2",
    "GET /a HTTP/2.0",
    "GET /a http/1.1",
    "GET  /a HTTP/1.1",
    "GET /a  HTTP/1.1",
    " GET /a HTTP/1.1",
    "GET /a HTTP/1.1 ",
    "GET\t/a\tHTTP/1.1",
    "GET /a b HTTP/1.1",
    "GET /\xff HTTP/1.1",
    "GET /\0 HTTP/1.1",
    "GET /a HTTP/1.1\nx: y",
    "G(T /a HTTP/1.1",
    "",
  ])("is refused: %j", (line) => {
    expect(readRequestHead(`${line}\r\nHost: x`)).toMatchObject({ ok: false });
  });
});

describe("a header line that two readers could read differently", () => {
  it.each([
    ["a space before the colon", "x-a : b"],
    ["no colon", "nothing"],
    ["an empty name", ": b"],
    ["a continued line", "x-a: b\r\n c"],
    ["a line that starts with a tab", "\tx-a: b"],
    ["a bare carriage return", "x-a: b\rc: d"],
    ["a bare line feed", "x-a: b\nc: d"],
    ["NUL in the value", "x-a: b\0"],
    ["NUL in the name", "x\0a: b"],
    ["DEL in the value", "x-a: b\x7f"],
    ["a name in other letters", "x-\xe4: b"],
    ["an empty line within", "x-a: b\r\n\r\nc: d"],
  ])("is refused: %s", (_name, line) => {
    expect(request(line)).toMatchObject({ ok: false });
  });

  it("does not come back in the complaint", () => {
    expect(JSON.stringify(request("x-sk-secret : b"))).not.toContain("sk-secret");
    expect(JSON.stringify(request("x-a: sk-secret\0"))).not.toContain("sk-secret");
  });
});

describe("a body whose end could be found in two ways", () => {
  it.each([
    ["two lengths", ["Content-Length: 1", "Content-Length: 1"]],
    ["a list of lengths", ["Content-Length: 1, 1"]],
    ["a signed length", ["Content-Length: +1"]],
    ["a hexadecimal length", ["Content-Length: 0x1"]],
    ["a length with a space in it", ["Content-Length: 1 1"]],
    ["an empty length", ["Content-Length:"]],
    ["a length beyond all", ["Content-Length: 9999999999999999"]],
    ["length and chunks", ["Content-Length: 1", "Transfer-Encoding: chunked"]],
    ["chunks twice", ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"]],
    ["a list of codings", ["Transfer-Encoding: gzip, chunked"]],
    ["an unknown coding", ["Transfer-Encoding: xchunked"]],
    ["identity", ["Transfer-Encoding: identity"]],
    ["chunks with a parameter", ["Transfer-Encoding: chunked;a=b"]],
  ])("is refused: %s", (_name, lines) => {
    expect(request(...lines)).toMatchObject({ ok: false });
    expect(answer("GET", 200, ...lines)).toMatchObject({ ok: false });
  });

  it("is refused in HTTP/1.0, which knows no chunks", () => {
    expect(readRequestHead("POST / HTTP/1.0\r\nTransfer-Encoding: chunked")).toMatchObject({ ok: false });
  });
});

describe("the head of a request", () => {
  it("gives names in lower case, values without the white space around them, in order", () => {
    const read = request("X-A:  b \t", "x-b:", "X-a: c\td \xe4");
    expect(read.ok && read.value.headers).toEqual([
      ["host", "x"],
      ["x-a", "b"],
      ["x-b", ""],
      ["x-a", "c\td \xe4"],
    ]);
  });

  it.each([
    [[], "none"],
    [["Content-Length: 0"], "none"],
    [["Content-Length: 12"], "length"],
    [["Transfer-Encoding: Chunked"], "chunked"],
  ])("says how the end of the body is known: %j", (lines, kind) => {
    const read = request(...lines);
    expect(read.ok && read.value.framing.kind).toBe(kind);
  });

  it.each<[string, string[], boolean]>([
    ["1.1", [], true],
    ["1.1", ["Connection: close"], false],
    ["1.1", ["Connection: x, CLOSE"], false],
    ["1.1", ["Connection: x", "Connection: close"], false],
    ["1.0", [], false],
    ["1.0", ["Connection: Keep-Alive"], true],
    ["1.0", ["Connection: keep-alive, close"], false],
  ])("says whether the connection goes on: HTTP/%s %j", (version, lines, keepsAlive) => {
    const read = readRequestHead([`GET / HTTP/${version}`, ...lines].join("\r\n"));
    expect(read.ok && read.value.keepsAlive).toBe(keepsAlive);
  });
});

describe("the head of an answer", () => {
  it.each([
    "HTTP/1.1 20 OK",
    "HTTP/1.1 2000 OK",
    "HTTP/1.1  200 OK",
    "HTTP/2 200",
    "ICY 200 OK",
    "HTTP/1.1 600 x",
    "HTTP/1.1 099 x",
    "HTTP/1.1 200 \0",
    "",
  ])("is refused: %j", (line) => {
    expect(readAnswerHead(`${line}\r\nx: y`, "GET")).toMatchObject({ ok: false });
  });

  it.each<[string, number, string[], string]>([
    ["GET", 200, [], "until-close"],
    ["GET", 200, ["Content-Length: 5"], "length"],
    ["GET", 200, ["Content-Length: 0"], "none"],
    ["GET", 200, ["Transfer-Encoding: chunked"], "chunked"],
    ["HEAD", 200, ["Content-Length: 5"], "none"],
    ["HEAD", 200, ["Transfer-Encoding: chunked"], "none"],
    ["GET", 204, ["Content-Length: 5"], "none"],
    ["GET", 304, ["Content-Length: 5"], "none"],
    ["GET", 103, [], "none"],
  ])("says how the end of the body is known: %s %i %j", (method, status, lines, kind) => {
    const read = answer(method, status, ...lines);
    expect(read.ok && read.value.framing.kind).toBe(kind);
  });

  it("may lack its reason phrase", () => {
    expect(readAnswerHead("HTTP/1.1 200", "GET").ok).toBe(true);
    expect(readAnswerHead("HTTP/1.1 200 ", "GET").ok).toBe(true);
  });

  it("that ends with the connection leaves no connection for another request", () => {
    const read = answer("GET", 200);
    expect(read.ok && read.value.keepsAlive).toBe(false);
  });
});
