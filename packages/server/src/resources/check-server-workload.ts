// SPDX-License-Identifier: Apache-2.0
/** Is one server workload safe to send a credential to, and does its injection fit on the wire? */
import type { Injection, ResourceOf } from "@postern/contract";
import { parseSpiffeId } from "@postern/identity/spiffe-id";
import { nearestName } from "../kernel/nearest-name.ts";
import { reachProblems } from "./check-reach.ts";
import { hostProblem, resolutionProblem } from "./host-name.ts";
import type { Finding, ResourcePath } from "./places.ts";
import { offeredOperations, type ProfileFacts } from "./profile-facts.ts";

type ServerWorkload = ResourceOf<"ServerWorkload">;
type Spec = ServerWorkload["spec"];
type Problem = readonly [path: ResourcePath, message: string];

/** Every problem of `resource`, each with its path. */
export function checkServerWorkload(
  resource: ServerWorkload,
  {
    profiles,
    trustDomain,
  }: { profiles: ReadonlyMap<string, ProfileFacts>; trustDomain?: string | undefined },
): Finding[] {
  const { spec } = resource;
  const profile = profiles.get(spec.profile);
  const problems = [
    ...(profile === undefined ? unknownProfile(spec, profiles) : profileProblems(resource, profile)),
    ...hostProblems(spec),
    ...injectionProblems(spec.injection),
    ...reachProblems(spec),
    ...identityProblems(spec, trustDomain),
  ];
  return problems.map(([path, message]) => ({ resource, path: ["spec", ...path], message }));
}

const NO_TRUST_DOMAIN = "this server has no trust domain; start it with `postern up --trust-domain NAME`";

function identityProblems(
  { caCertificates, clientIdentity, serverSpiffeId }: Spec,
  trustDomain: string | undefined,
): Problem[] {
  const problems: Problem[] = [];
  if (clientIdentity !== undefined && trustDomain === undefined)
    problems.push([["clientIdentity"], NO_TRUST_DOMAIN]);
  if (serverSpiffeId === undefined) return problems;
  const find = (message: string): number => problems.push([["serverSpiffeId"], message]);
  const id = parseSpiffeId(serverSpiffeId);
  if (!id.ok) find(id.reason);
  else if (trustDomain === undefined) find(NO_TRUST_DOMAIN);
  else if (id.value.path === "") find("names a trust domain: write the whole SPIFFE ID of the API");
  else if (id.value.trustDomain !== trustDomain)
    find(`the trust domain of this server is \`${trustDomain}\`; it knows whom to believe in no other one`);
  if (caCertificates !== undefined)
    find("is proved by the trust bundle: remove `caCertificates`, which would not be looked at");
  return problems;
}

function unknownProfile({ profile }: Spec, profiles: ReadonlyMap<string, ProfileFacts>): Problem[] {
  const nearest = nearestName(profile, profiles.keys());
  const hint =
    nearest === undefined ? `there are ${[...profiles.keys()].join(", ")}` : `did you mean \`${nearest}\`?`;
  return [[["profile"], `no profile \`${profile}\`; ${hint}`]];
}

function profileProblems(resource: ServerWorkload, profile: ProfileFacts): Problem[] {
  const { spec } = resource;
  const problems: Problem[] = [];
  if (spec.hosts === undefined && profile.hosts.length === 0)
    problems.push([["profile"], `profile \`${profile.name}\` names no host; add \`hosts\``]);
  const injection = spec.injection ?? profile.injection;
  if (injection === undefined)
    problems.push([
      ["profile"],
      `profile \`${profile.name}\` places no credential; add \`injection\`, such as { kind: bearer }`,
    ]);
  if (injection?.kind === "path")
    for (const { name, path } of offeredOperations(resource, profile).values())
      if (path.includes(injection.placeholder))
        problems.push([
          ["injection", "placeholder"],
          `is part of the path of operation \`${name}\`, where it would be replaced; use an unmistakable word such as POSTERN_SECRET`,
        ]);
  return [...problems, ...operationProblems(spec, profile)];
}

function hostProblems({ hosts = [], connectTo }: Spec): Problem[] {
  return hosts.flatMap((host, index): Problem[] => {
    const message = hostProblem(host) ?? (connectTo === undefined ? resolutionProblem(host) : undefined);
    return message === undefined ? [] : [[["hosts", index], message]];
  });
}

function operationProblems({ operations = [] }: Spec, profile: ProfileFacts): Problem[] {
  const names = new Set(profile.operations.map(({ name }) => name));
  const targets = new Set<string>();
  return operations.flatMap(({ name, method, path }, index): Problem[] => {
    const problems: Problem[] = [];
    if (names.has(name))
      problems.push([
        ["operations", index, "name"],
        `operation \`${name}\` is there already; give it another name`,
      ]);
    if (targets.has(`${method} ${path}`))
      problems.push([["operations", index, "path"], `${method} ${path} is there already; keep one of them`]);
    const fault = templateProblem(path);
    if (fault !== undefined) problems.push([["operations", index, "path"], fault]);
    names.add(name);
    targets.add(`${method} ${path}`);
    return problems;
  });
}

const PARAMETER = /\{[A-Za-z][A-Za-z0-9_]*\}/g;

/** Requests are matched in canonical form; a template that is not canonical would never match. */
function templateProblem(path: string): string | undefined {
  const names = path.match(PARAMETER) ?? [];
  const literal = path.replace(PARAMETER, "x");
  if (/[{}]/.test(literal)) return "has a brace that is no parameter; write {name}";
  if (new Set(names).size < names.length) return "has a parameter twice; give each its own name";
  // Two in one part could share its text in many ways: a long path would take very long to match.
  if (path.split(/[/:]/).some((part) => (part.match(PARAMETER) ?? []).length > 1))
    return "has two parameters with neither / nor : between them; make them one";
  if (/%(?![0-9A-F]{2})/.test(literal)) return "has a % that is no upper-case percent-encoding";
  const segments = literal.split("/").slice(1);
  if (segments.some((segment) => segment === "." || segment === ".."))
    return "has a dot segment; write the path it leads to";
  if (segments.slice(0, -1).includes("")) return "has an empty segment; write a single /";
  return undefined;
}

/** RFC 9110 §7.6.1 and §7.8, RFC 9112 §6: they steer the connection, the framing or the target, not the API. */
const STEERING_HEADERS = new Set(
  "connection content-length expect host http2-settings keep-alive te trailer transfer-encoding upgrade".split(
    " ",
  ),
);

function injectionProblems(injection: Injection | undefined): Problem[] {
  switch (injection?.kind) {
    case "header":
      return STEERING_HEADERS.has(injection.name) || injection.name.startsWith("proxy-")
        ? [
            [
              ["injection", "name"],
              `header \`${injection.name}\` steers the connection; use the API's own header, such as x-api-key`,
            ],
          ]
        : [];
    case "basic":
      // RFC 7617 §2: the first colon ends the user-id.
      return /[:\p{Cc}]/u.test(injection.username)
        ? [[["injection", "username"], "must hold no colon and no control character"]]
        : [];
    case "query":
      return /[A-Za-z0-9]/.test(injection.name)
        ? []
        : [[["injection", "name"], "must hold a letter or a digit"]];
    case "path":
      return /[A-Za-z0-9]/.test(injection.placeholder)
        ? []
        : [
            [
              ["injection", "placeholder"],
              "must hold a letter or a digit; use a word such as POSTERN_SECRET",
            ],
          ];
    case "bearer":
    case undefined:
      return [];
  }
}
