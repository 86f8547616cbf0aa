// SPDX-License-Identifier: Apache-2.0
/**
 * Which environment does an agent get: what is taken out of its user's, and what is put in.
 *
 * Out goes every variable whose value holds a secret of the vault in any encoding, or whose name says that
 * it holds one. In come placeholders, base URLs, proxy and CA variables for the clients that read them.
 */
import { placeholderFrom } from "../guard/placeholder.ts";
import { PatternMatcher } from "../guard/pattern-matcher.ts";
import { scrubText } from "../guard/scrubber.ts";
import { secretPatterns } from "../guard/secret-patterns.ts";
import type { Secret } from "../kernel/secret.ts";
import type { Profile } from "../profiles/profile.ts";
import type { ResourceSet } from "../resources/resource-set.ts";

/** Names that hold a secret whatever the provider: anything that ends like one. */
const SECRET_NAME =
  /(^|_)((?<!PUBLIC_)KEY|API_?KEY|ACCESS_?KEY(_ID)?|SECRET|(AUTH)?TOKEN|(PG)?PASSWORD|MYSQL_PWD|PASSWD|PASSPHRASE|SSHPASS|REDISCLI_AUTH|CREDENTIALS?|PAT|CONNECTION_STRING|DSN)$/i;
/** Such as a database URL with its password. */
const PASSWORD_IN_URL = /^[a-z][a-z0-9+.-]*:\/\/[^/?#\s:@]*:[^/?#\s@]+@/i;
/** Proxies of the user's own would lead past the gateway, and so would exceptions from them. */
const REPLACED = /^(https?|all|no|ftp|grpc)_proxy$/i;
/** Other providers' ways to point an SDK elsewhere with an own key. */
const ALTERNATIVES =
  /^(ANTHROPIC_(FEDERATION_RULE_ID|IDENTITY_TOKEN(_FILE)?|CUSTOM_HEADERS|UNIX_SOCKET)|OPENAI_(CUSTOM_HEADERS|ORG_ID|ORGANIZATION|PROJECT(_ID)?)|GOOGLE_GENAI_USE_VERTEXAI|GOOGLE_APPLICATION_CREDENTIALS|GOOGLE_VERTEX_BASE_URL|CODEX_NETWORK_PROXY.*)$/;

export function removedVariables(
  environment: Readonly<Record<string, string>>,
  keep: readonly string[],
  secrets: readonly Secret[],
  profiles: Iterable<Profile>,
): string[] {
  const known = new Set([...profiles].flatMap(({ secretVariables }) => secretVariables));
  const patterns = secrets.flatMap((secret) => secretPatterns(secret.expose("scrub")));
  const matcher = PatternMatcher.of(patterns);
  const looksSecret = (name: string, value: string): boolean =>
    known.has(name) || SECRET_NAME.test(name) || PASSWORD_IN_URL.test(value);
  const leadsAround = (name: string): boolean => REPLACED.test(name) || ALTERNATIVES.test(name);
  const holdsSecret = (value: string): boolean =>
    scrubText(matcher, Buffer.from(value, "utf8").toString("latin1")).found > 0;
  return Object.entries(environment)
    .filter(
      ([name, value]) =>
        (looksSecret(name, value) && !keep.includes(name)) || leadsAround(name) || holdsSecret(value),
    )
    .map(([name]) => name);
}

/** `{port}` stands for the gateway's port inside the run; it is known only there. */
export function addedVariables(
  resources: ResourceSet,
  profiles: ReadonlyMap<string, Profile>,
  agent: string | undefined,
  files: { readonly authority: string; readonly bundle: string; readonly doorSocket: string },
): Record<string, string> {
  const gate = "http://127.0.0.1:{port}";
  return {
    ...placeholdersAndBaseUrls(resources, profiles, agent, gate),
    ...proxyVariables(gate),
    ...authorityVariables(files.authority, files.bundle),
    POSTERN_GATE: gate,
    POSTERN_DOOR: files.doorSocket,
  };
}

/** Of several server workloads of one profile, one that a policy gives to this agent comes first, then by name. */
function placeholdersAndBaseUrls(
  resources: ResourceSet,
  profiles: ReadonlyMap<string, Profile>,
  agent: string | undefined,
  gate: string,
): Record<string, string> {
  const granted = new Set(
    resources
      .all("AccessPolicy")
      .filter(({ spec }) => agent === undefined || spec.agents.includes(agent))
      .map(({ spec }) => spec.serverWorkload),
  );
  const variables: Record<string, string> = {};
  const workloads = resources.all("ServerWorkload");
  for (const wanted of [true, false]) {
    for (const { metadata, spec } of workloads.filter((each) => granted.has(each.metadata.name) === wanted)) {
      const profile = profiles.get(spec.profile);
      if (profile === undefined) continue;
      const placeholder = placeholderFrom(profile.placeholder);
      for (const [name, template] of Object.entries(profile.environment))
        variables[name] ??= template
          .replace("{placeholder}", placeholder)
          .replace("{baseUrl}", `${gate}/${metadata.name}`);
    }
  }
  return variables;
}

function proxyVariables(gate: string): Record<string, string> {
  const proxies = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "GRPC_PROXY"].flatMap((name) => [
    [name, gate],
    [name.toLowerCase(), gate],
  ]);
  return {
    ...(Object.fromEntries(proxies) as Record<string, string>),
    // The base URLs themselves are on loopback: they must not go through the proxy.
    NO_PROXY: "127.0.0.1,localhost",
    no_proxy: "127.0.0.1,localhost",
    NODE_USE_ENV_PROXY: "1",
    CLOUDSDK_PROXY_TYPE: "http",
    CLOUDSDK_PROXY_ADDRESS: "127.0.0.1",
    CLOUDSDK_PROXY_PORT: "{port}",
  };
}

function authorityVariables(authority: string, bundle: string): Record<string, string> {
  // Most tools take their variable instead of the system's roots, so it names a bundle with both.
  const bundles = [
    ...[
      "SSL_CERT_FILE",
      "REQUESTS_CA_BUNDLE",
      "CURL_CA_BUNDLE",
      "PIP_CERT",
      "GIT_SSL_CAINFO",
      "AWS_CA_BUNDLE",
    ],
    ...["CARGO_HTTP_CAINFO", "DENO_CERT", "NIX_SSL_CERT_FILE", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"],
    ...["CODEX_CA_CERTIFICATE", "npm_config_cafile", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "HTTPLIB2_CA_CERTS"],
  ];
  return {
    ...Object.fromEntries(bundles.map((name) => [name, bundle])),
    NODE_EXTRA_CA_CERTS: authority,
  };
}
