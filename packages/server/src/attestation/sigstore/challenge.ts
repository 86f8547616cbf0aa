// SPDX-License-Identifier: Apache-2.0
/** What does a registry ask for, before it lets anybody read? (RFC 9110 §11.6.1, and Docker's token specification) */

export type Challenge =
  | { readonly scheme: "basic" }
  | { readonly scheme: "bearer"; readonly realm: string; readonly service: string | undefined };

const MOST_HEADER = 2000;
const PARAMETER = /\s*([A-Za-z_]{1,30})="([\x20\x21\x23-\x5b\x5d-\x7e]*)"\s*(?:,|$)/y;

/** Undefined for any other scheme, for several challenges in one header, and for a parameter that is there twice. */
export function readChallenge(header: string): Challenge | undefined {
  const [, scheme, rest = ""] = /^(basic|bearer) (.*)$/i.exec(header.slice(0, MOST_HEADER + 1)) ?? [];
  if (scheme === undefined || header.length > MOST_HEADER) return undefined;
  const parameters = new Map<string, string>();
  for (let at = 0; at < rest.length; at = PARAMETER.lastIndex) {
    PARAMETER.lastIndex = at;
    const [, name, value] = PARAMETER.exec(rest) ?? [];
    if (name === undefined || value === undefined || parameters.has(name.toLowerCase())) return undefined;
    parameters.set(name.toLowerCase(), value);
  }
  if (scheme.toLowerCase() === "basic") return { scheme: "basic" };
  const realm = parameters.get("realm");
  return realm === undefined ? undefined : { scheme: "bearer", realm, service: parameters.get("service") };
}
