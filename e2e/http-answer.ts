// SPDX-License-Identifier: Apache-2.0
/** Reads answers off raw bytes, as strictly as a test needs. */

export interface Answer {
  readonly status: number;
  /** Lower-case names; repeated headers joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Code of the problem, where the gateway refused. */
  readonly code: string | undefined;
  /** Sentence of the problem. */
  readonly detail: string | undefined;
}

/** The first answer in `bytes` and its length, or undefined while it is not complete. */
export function readAnswer(bytes: Buffer, isEnd: boolean): { value: Answer; size: number } | undefined {
  const head = bytes.indexOf("\r\n\r\n");
  if (head === -1) return undefined;
  const [first = "", ...lines] = bytes.toString("latin1", 0, head).split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1]);
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const [, name = "", value = ""] = /^([^:]+): ?(.*)$/.exec(line) ?? [];
    const key = name.toLowerCase();
    headers[key] = headers[key] === undefined ? value : `${headers[key]}, ${value}`;
  }
  const rest = bytes.subarray(head + 4);
  if (status === 100) {
    const next = readAnswer(rest, isEnd);
    return next === undefined ? undefined : { value: next.value, size: next.size + head + 4 };
  }
  const found = readBody(rest, headers, isEnd);
  if (found === undefined) return undefined;
  const { code, detail } = problemIn(headers, found.body);
  return { value: { status, headers, body: found.body, code, detail }, size: head + 4 + found.size };
}

function readBody(
  rest: Buffer,
  headers: Record<string, string>,
  isEnd: boolean,
): { body: Buffer; size: number } | undefined {
  const length = headers["content-length"];
  if (length !== undefined) {
    const size = Number(length);
    return rest.length >= size ? { body: rest.subarray(0, size), size } : undefined;
  }
  if (headers["transfer-encoding"] !== "chunked")
    return isEnd ? { body: rest, size: rest.length } : undefined;
  const pieces: Buffer[] = [];
  for (let at = 0; ;) {
    const line = rest.indexOf("\r\n", at);
    if (line === -1) return undefined;
    const size = Number.parseInt(rest.toString("latin1", at, line), 16);
    const end = line + 2 + size + 2;
    if (rest.length < end) return undefined;
    if (size === 0) return { body: Buffer.concat(pieces), size: end };
    pieces.push(rest.subarray(line + 2, end - 2));
    at = end;
  }
}

function problemIn(
  headers: Record<string, string>,
  body: Buffer,
): Record<"code" | "detail", string | undefined> {
  if (headers["content-type"] !== "application/problem+json") return { code: undefined, detail: undefined };
  const { code, detail } = JSON.parse(body.toString("utf8")) as { code: string; detail: string };
  return { code, detail };
}
