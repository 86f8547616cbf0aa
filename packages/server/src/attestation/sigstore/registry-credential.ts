// SPDX-License-Identifier: Apache-2.0
/**
 * With which name and password does Postern read from a registry? From a Docker configuration file, of which only `auth`
 * under the registry's own name counts: credential helpers are programs, and nobody here runs any.
 */
import { readFile } from "node:fs/promises";
import { isJsonObject, memberOf, parseStrictJson } from "@postern/identity/jwt/strict-json";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { Secret } from "../../kernel/secret.ts";

const MOST_FILE_BYTES = 65_536;
/** What Docker calls its own registry in the file. */
const DOCKER_HUB = "https://index.docker.io/v1/";

/** The value of an `Authorization` header. Read each time: such passwords are often short-lived. */
export async function readRegistryCredential(file: string, host: string): Promise<Result<Secret, string>> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch {
    return refuse("credential_file_unreadable");
  }
  const parsed = bytes.length > MOST_FILE_BYTES ? undefined : parseStrictJson(bytes);
  const auths =
    parsed?.ok === true && isJsonObject(parsed.value) ? memberOf(parsed.value, "auths") : undefined;
  if (!isJsonObject(auths)) return refuse("credential_file_malformed");
  const names = [host, `https://${host}`, ...(host === "docker.io" ? [DOCKER_HUB] : [])];
  const entry = names.map((name) => memberOf(auths, name)).find(isJsonObject);
  if (entry === undefined) return refuse("credential_file_without_host");
  const auth = memberOf(entry, "auth");
  const isBasic = typeof auth === "string" && /^[A-Za-z0-9+/]{1,8000}={0,2}$/.test(auth);
  return isBasic ? ok(Secret.fromUtf8(`Basic ${auth}`)) : refuse("credential_file_malformed");
}
