// SPDX-License-Identifier: Apache-2.0
/**
 * As which segments do servers read a path? Written from RFC 3986 and from what servers are known to do, not from
 * our own code: the fuzzer of the canonical form compares them.
 */

type Reading = (path: string) => readonly string[] | undefined;

const PCHAR = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})$/;

/** RFC 3986 §3.3 `path-absolute` with empty segments allowed, character by character; undefined where it is none. */
function strictSegments(path: string): string[] | undefined {
  if (!path.startsWith("/")) return undefined;
  const segments = path.slice(1).split("/");
  for (const segment of segments)
    for (let at = 0; at < segment.length; at++) {
      const end = segment[at] === "%" ? at + 3 : at + 1;
      if (!PCHAR.test(segment.slice(at, end))) return undefined;
      at = end - 1;
    }
  return segments;
}

/** RFC 3986 §5.2.4, on segments: `.` goes, `..` takes the one before it along, and either leaves a slash at the end. */
function withoutDots(segments: readonly string[]): string[] {
  const kept: string[] = [];
  for (const [index, segment] of segments.entries()) {
    const isLast = index === segments.length - 1;
    if (segment === "..") kept.pop();
    if (segment !== "." && segment !== "..") kept.push(segment);
    else if (isLast) kept.push("");
  }
  return kept;
}

/** Every escape as its byte, what is none as it stands; the bytes as UTF-8, or as Latin-1 where they are not. */
function decodedOnce(text: string): string {
  const bytes = Buffer.from(
    text.replaceAll(/%([0-9A-Fa-f]{2})/g, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 16)),
    ),
    "latin1",
  );
  const utf8 = bytes.toString("utf8");
  return utf8.includes("\u{fffd}") ? bytes.toString("latin1") : utf8;
}

/** Encoded text of a decoded one, so that it can be decoded again. */
const asLatin1 = (text: string): string => Buffer.from(text, "utf8").toString("latin1");

const lenient = (path: string, ...ways: ((text: string) => string)[]): string[] => {
  let text = path;
  for (const way of ways) text = way(text);
  const segments = text.split("/");
  return withoutDots(segments.slice(1));
};

const backslashes = (text: string): string => text.replaceAll("\\", "/");
const slashesOnce = (text: string): string => text.replaceAll(/\/{2,}/g, "/");
const cutParameters = (text: string): string => text.replaceAll(/;[^/]*/g, "");
const cutAtNul = (text: string): string => text.split("\0", 1)[0]!;

/** What stands before the colon is how such a server works. */
export const READINGS: Readonly<Record<string, Reading>> = {
  "RFC 3986: segments, dots, then escapes": (path) => {
    const segments = strictSegments(path);
    return segments && withoutDots(segments).map(decodedOnce);
  },
  "WHATWG URL": (path) => {
    const url = URL.parse(`https://host${path}`);
    return url === null ? undefined : url.pathname.slice(1).split("/").map(decodedOnce);
  },
  "escapes before segments": (path) => lenient(path, decodedOnce),
  "escapes twice": (path) => lenient(path, decodedOnce, asLatin1, decodedOnce),
  "backslashes as slashes": (path) => lenient(path, decodedOnce, backslashes),
  "repeated slashes as one": (path) => lenient(path, decodedOnce, slashesOnce),
  "up to NUL": (path) => lenient(path, decodedOnce, cutAtNul),
};

/** Servers that cut path parameters off (RFC 2396 §3.3): compared with a path whose parameters are cut as well. */
export const WITHOUT_PARAMETERS: Readonly<Record<string, Reading>> = {
  "parameters cut, then escapes": (path) => lenient(path, cutParameters, decodedOnce),
  "escapes, then parameters cut": (path) => lenient(path, decodedOnce, cutParameters),
};

export { cutParameters, decodedOnce };
