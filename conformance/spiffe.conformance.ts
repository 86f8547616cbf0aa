// SPDX-License-Identifier: Apache-2.0
/**
 * Is every MUST and SHOULD of the SPIFFE standards that concerns Postern tested, and does it hold?
 *
 * The tests stand beside the code and name the rule in their title (`X1: …`). This runs them, joins them with the
 * table of rules, and prints it. The exit code is 1 where a test fails, a rule has no test, or a test names no rule.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

interface Rule {
  readonly id: string;
  readonly level: "MUST" | "SHOULD" | "MAY";
  readonly says: string;
  /** Why it has no test; absent where it must have one. */
  readonly without?: string;
}

const rule = (id: string, level: Rule["level"], says: string, without?: string): Rule => ({
  ...{ id, level, says },
  ...(without === undefined ? {} : { without }),
});

/** SPIFFE-ID, X509-SVID, JWT-SVID, Trust Domain and Bundle, Federation, Workload Endpoint and API. */
const RULES: readonly Rule[] = [
  rule("ID1", "MUST", "scheme `spiffe`, a trust domain, no query, no fragment"),
  rule("ID2", "MUST", "no user, no port"),
  rule("ID3", "MUST", "trust domain: lower-case letters, digits, `.`, `-`, `_`"),
  rule("ID4", "MUST", "path: no empty and no dot segment, no slash at the end, no percent-encoding"),
  rule("ID5", "MUST", "2048 bytes are taken, more are not made; 255 for the trust domain"),
  rule("ID6", "MUST", "a trust domain that looks like an address is nothing special"),
  rule("ID7", "MUST", "the host in lower case, the path in the case that it has"),
  rule("ID8", "SHOULD", "no repair by a URL parser"),
  rule("X1", "MUST", "exactly one URI; names of other forms may stand beside it"),
  rule("X2", "MUST", "the ID of a leaf has a path"),
  rule("X3", "MUST", "without a subject the names are critical"),
  rule("X4", "MUST", "a signing certificate is an authority with keyCertSign, and its ID has no path"),
  rule("X5", "MUST", "a leaf is no authority, has digitalSignature, and neither keyCertSign nor cRLSign"),
  rule("X6", "MUST", "key usage is there and critical"),
  rule("X7", "SHOULD", "extended key usage of a leaf is for servers and clients"),
  rule("X8", "MUST", "path validation of RFC 5280, then the leaf's own rules"),
  rule("X9", "MUST", "a workload's certificate signs nothing, an authority's authenticates nobody"),
  rule("X10", "MUST", "the bundle of the ID's own trust domain, and no other"),
  rule("X11", "MUST", "nothing before its beginning or after its end"),
  rule("X12", "MAY", "name constraints: refused, since nobody here computes them"),
  rule("J1", "MUST", "JWS compact serialization only"),
  rule("J2", "MUST", "nine algorithms, each with keys that fit"),
  rule("J3", "MUST", "`alg`, `kid`, `typ` in the header and nothing else"),
  rule("J4", "MUST", "`typ` absent, `JWT` or `JOSE`"),
  rule("J5", "MUST", "`sub`, `aud`, `exp`, `nbf`"),
  rule("J6", "MUST", "a JWT authority of the subject's own trust domain"),
  rule("J7", "MAY", "`kid` is sent, and may be absent"),
  rule("J8", "SHOULD", "a short life"),
  rule("J9", "SHOULD", "sent as a bearer token"),
  rule("B1", "MUST", "`keys` is there; empty means that everything is revoked"),
  rule("B2", "MUST", "entries of unknown `kty` or `use` are passed over"),
  rule("B3", "MUST", "X.509: one certificate in `x5c`, no `kid`"),
  rule("B4", "MUST", "JWT: `kid`"),
  rule("B5", "SHOULD", "`spiffe_sequence` grows with every change, exact beyond 2^53"),
  rule("B6", "SHOULD", "`spiffe_refresh_hint`, whole seconds"),
  rule("B7", "MUST", "no parameters of one's own are needed"),
  rule("B8", "MUST", "bundle maps", "none are read or written: each trust domain has a resource of its own"),
  rule("F1", "MUST", "name, URL and profile are configured, none worked out"),
  rule("F2", "MUST", "https, no user; the certificate is verified"),
  rule("F3", "MUST", "clients know both profiles; servers one at least, TLS 1.2 or newer"),
  rule("F4", "MUST", "the endpoint asks nobody who they are"),
  rule("F5", "MUST", "the newest bundle, as JSON"),
  rule("F6", "MUST", "https_spiffe: exactly the ID that was configured, by the newest bundle"),
  rule(
    "F7",
    "SHOULD",
    "redirects are followed",
    "not followed: whoever answers would choose where we connect to",
  ),
  rule("F8", "MUST", "keys are published before they are used"),
  rule("F9", "MUST", "bundles of different trust domains are never merged"),
  rule("W1", "MUST", "gRPC over a Unix socket, no TLS, no authentication by the client"),
  rule("W2", "MUST", "without the security header: InvalidArgument"),
  rule("W3", "MUST", "SPIFFE_ENDPOINT_SOCKET"),
  rule("W4", "MUST", "both profiles; WIT: Unimplemented"),
  rule("W5", "SHOULD", "no identity: PermissionDenied; not sure: Unavailable"),
  rule("W6", "MUST", "the first answer at once, every answer complete"),
  rule("W7", "MUST", "absent fields wipe earlier ones"),
  rule("W8", "MUST", "all fields of an X.509-SVID are set"),
  rule("W9", "MUST", "hints are unique: the server sends none, a client takes the first"),
  rule("W10", "MUST", "the default identity is the first"),
  rule("W11", "MUST", "bundles under the ID of the trust domain, JWT and X.509 apart"),
  rule("W12", "MUST", "FetchJWTSVID: audience needed, own IDs only"),
  rule("W13", "MUST", "ValidateJWTSVID checks everything"),
  rule("W14", "SHOULD", "server reflection", "not offered: callers are attested before anything is answered"),
  rule("W15", "SHOULD", "reconnection"),
  rule("W16", "SHOULD", "not everybody at the same moment"),
];

const FOLDERS = [
  "packages/identity",
  "packages/sdk",
  "packages/server/src/issuer",
  "packages/server/src/config",
  "packages/server/src/attestation/federation",
  "e2e/federation.test.ts",
];

interface TestResult {
  readonly title: string;
  readonly status: string;
}

function runTests(): { tests: readonly TestResult[]; isPassed: boolean } {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), "postern-conformance-"));
  const output = join(folder, "results.json");
  try {
    const vitest = join(root, "node_modules/vitest/vitest.mjs");
    const words = [
      "run",
      "--project",
      "unit",
      "--project",
      "e2e",
      "--reporter",
      "json",
      "--outputFile",
      output,
      ...FOLDERS,
    ];
    const { status } = spawnSync(process.execPath, [vitest, ...words], {
      cwd: root,
      stdio: ["ignore", "ignore", "inherit"],
    });
    const { testResults } = JSON.parse(readFileSync(output, "utf8")) as {
      testResults: readonly { assertionResults: readonly TestResult[] }[];
    };
    return { tests: testResults.flatMap(({ assertionResults }) => assertionResults), isPassed: status === 0 };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** `X1, X3: …` and `is refused with X1: …` name rules; `P-256` and the like do not. */
const rulesOf = (title: string): string[] =>
  [...title.matchAll(/\b((?:(?:ID|[XJBFW])\d{1,2}(?:, )?)+):/g)].flatMap(([, names]) => names!.split(", "));

const { tests, isPassed } = runTests();
const known = new Set(RULES.map(({ id }) => id));
const named = new Map<string, TestResult[]>();
const problems: string[] = isPassed ? [] : ["a test fails"];
for (const test of tests)
  for (const id of rulesOf(test.title)) {
    if (!known.has(id)) problems.push(`"${test.title}" names ${id}, which is no rule`);
    named.set(id, [...(named.get(id) ?? []), test]);
  }
const count = (id: string, status: string): number =>
  (named.get(id) ?? []).filter((test) => test.status === status).length;
for (const { id, level, says, without } of RULES) {
  const [passed, failed] = [count(id, "passed"), count(id, "failed")];
  if (without === undefined && passed === 0) problems.push(`${id} has no test that passes`);
  if (without !== undefined && passed > 0) problems.push(`${id} is tested, and said not to be: ${without}`);
  if (failed > 0) problems.push(`${id} does not hold`);
  const state =
    without === undefined ? `${passed} tests${failed > 0 ? `, ${failed} FAIL` : ""}` : `no: ${without}`;
  process.stdout.write(`${id.padEnd(4)} ${level.padEnd(6)} ${says.padEnd(92)} ${state}\n`);
}
for (const problem of problems) process.stdout.write(`PROBLEM  ${problem}\n`);
const claimed = RULES.filter(({ without }) => without === undefined).length;
process.stdout.write(`${claimed} of ${RULES.length} rules are tested, ${problems.length} problems\n`);
process.exitCode = problems.length === 0 ? 0 : 1;
