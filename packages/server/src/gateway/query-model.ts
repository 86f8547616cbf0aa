// SPDX-License-Identifier: Apache-2.0
/** Which model does a query name, where it can be read in one way only? */
import { type Result, ok, refuse } from "../kernel/result.ts";

export type QueryRefusal = "duplicate_field" | "broken_encoding";

/**
 * The value of a query's parameter, decoded as WHATWG URL §5.1 says; undefined where it is absent.
 *
 * A parameter that is there twice is refused, in any spelling: servers differ in which one they take, some
 * ignore case, read brackets as lists, or take a semicolon for a separator.
 */
export function queryParameter(query: string, name: string): Result<string | undefined, QueryRefusal> {
  const pairs = query.slice(1).split("&");
  const alike = pairs.flatMap((pair) => pair.split(";")).filter((part) => isAlike(part, name));
  if (alike.length === 0) return ok(undefined);
  const [pair, ...others] = pairs.filter((each) => each.startsWith(`${name}=`));
  if (pair === undefined || others.length > 0 || alike.length > 1 || pair.includes(";"))
    return refuse("duplicate_field");
  const value = decoded(pair.slice(name.length + 1));
  return value === undefined ? refuse("broken_encoding") : ok(value);
}

/** Whether some server could take this part for the parameter. */
function isAlike(part: string, name: string): boolean {
  const spelled = part.split("=", 1)[0]!;
  // Byte by byte: one broken escape must not hide what lenient servers read around it.
  const bytes = spelled
    .replaceAll("+", " ")
    .replaceAll(/%([0-9A-Fa-f]{2})/g, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 16)),
    );
  const key = Buffer.from(bytes, "latin1").toString("utf8").trim().toLowerCase();
  return key === name || key.startsWith(`${name}[`);
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return undefined;
  }
}
