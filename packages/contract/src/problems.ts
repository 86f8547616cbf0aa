// SPDX-License-Identifier: Apache-2.0
/**
 * The one table of everything Postern may refuse or fail with.
 *
 * Types, `docs/errors.md`, HTTP answers, `Proxy-Status` (RFC 9209) and log levels are derived from it;
 * `tools/docs.test.ts` keeps the documentation in step. A new code is one entry here.
 */

/** What one problem code means on the wire and in the log. */
export interface ProblemDefinition {
  /** Short human title, the same for every occurrence (RFC 9457 §3.1.3). */
  readonly title: string;
  readonly status: number;
  /** `error` parameter of `Proxy-Status`, from the registry of RFC 9209 §2.3. */
  readonly proxyError:
    | "http_request_error"
    | "http_request_denied"
    | "destination_ip_prohibited"
    | "destination_unavailable"
    | "connection_timeout"
    | "http_protocol_error"
    | "connection_limit_reached"
    | "proxy_internal_error"
    | "proxy_configuration_error";
  readonly logLevel: "info" | "warn" | "error";
  /** Whether the same request may succeed later without anybody changing anything. */
  readonly retryable: boolean;
  /** One sentence: what the reader does next. */
  readonly nextStep: string;
}

const refusal = (
  status: number,
  title: string,
  nextStep: string,
  more: Partial<ProblemDefinition> = {},
): ProblemDefinition => ({
  title,
  status,
  proxyError: "http_request_denied",
  logLevel: "info",
  retryable: false,
  nextStep,
  ...more,
});

export const PROBLEMS = {
  request_malformed: refusal(
    400,
    "Request malformed",
    "Send one unambiguous HTTP/1.1 request within the limits.",
    { proxyError: "http_request_error" },
  ),
  request_too_large: refusal(
    413,
    "Request too large",
    "Send a smaller request, or raise the limit of the gateway.",
    { proxyError: "http_request_error" },
  ),
  gateway_busy: refusal(
    503,
    "Gateway busy",
    "Wait until earlier requests are answered, then send it again.",
    {
      proxyError: "connection_limit_reached",
      logLevel: "warn",
      retryable: true,
    },
  ),
  upgrade_unsupported: refusal(
    501,
    "Protocol upgrade not supported",
    "Use HTTP/1.1 or WebSocket version 13; most clients fall back by themselves.",
    { proxyError: "http_request_error" },
  ),
  target_not_canonical: refusal(
    400,
    "Target not canonical",
    "Make Host, SNI, CONNECT target and request target name the same place in plain form.",
    { proxyError: "http_request_error" },
  ),
  agent_unidentified: refusal(
    403,
    "Agent unidentified",
    "Start the agent with `postern run`, or show an SVID that holds now; `postern attest` gets one.",
    { logLevel: "warn" },
  ),
  agent_quarantined: refusal(403, "Agent cut off", "An operator runs `postern restore AGENT`.", {
    logLevel: "warn",
  }),
  server_workload_unknown: refusal(
    403,
    "Server workload unknown",
    "Register the host as a ServerWorkload with `postern apply -f FILE`.",
  ),
  access_denied: refusal(
    403,
    "Access denied",
    "Run `postern why ID` with the id of this answer; it names the closest policy.",
  ),
  budget_exhausted: refusal(429, "Budget exhausted", "Wait for the budget's next period.", {
    retryable: true,
  }),
  usage_unbounded: refusal(
    403,
    "Usage cannot be bounded",
    "Do what the detail says, or an operator changes the Budget or the PriceList.",
  ),
  approval_required: refusal(403, "Approval required", "Ask an approver, then send the same request again.", {
    retryable: true,
  }),
  control_plane_unavailable: refusal(
    503,
    "Control plane unavailable",
    "An operator makes the database reachable again; the gateway then goes on by itself.",
    { proxyError: "proxy_internal_error", logLevel: "error", retryable: true },
  ),
  audit_unavailable: refusal(
    503,
    "Audit log unavailable",
    "An operator makes the audit log writable again; nothing passes without it.",
    { proxyError: "proxy_internal_error", logLevel: "error", retryable: true },
  ),
  content_refused: refusal(403, "Content refused", "Remove what the detail names from the request."),
  credential_unavailable: refusal(
    503,
    "Credential unavailable",
    "An operator checks the credential provider: `postern get CredentialProvider`.",
    { proxyError: "proxy_configuration_error", logLevel: "error", retryable: true },
  ),
  destination_prohibited: refusal(
    403,
    "Destination prohibited",
    "An operator lists the network in `allowedNetworks` of the ServerWorkload, if it is meant.",
    { proxyError: "destination_ip_prohibited", logLevel: "warn" },
  ),
  upstream_unreachable: refusal(502, "Upstream unreachable", "Try again; then check the upstream.", {
    proxyError: "destination_unavailable",
    logLevel: "warn",
    retryable: true,
  }),
  upstream_timeout: refusal(504, "Upstream timed out", "Try again; then check the upstream.", {
    proxyError: "connection_timeout",
    logLevel: "warn",
    retryable: true,
  }),
  upstream_failed: refusal(502, "Upstream failed", "Try again; then check the upstream.", {
    proxyError: "http_protocol_error",
    logLevel: "warn",
    retryable: true,
  }),
  injection_failed: refusal(
    502,
    "Injection failed",
    "An operator checks that the secret fits the injection of the ServerWorkload.",
    { proxyError: "proxy_configuration_error", logLevel: "error" },
  ),
  internal_error: refusal(500, "Internal error", "Report it with the id of this answer.", {
    proxyError: "proxy_internal_error",
    logLevel: "error",
    retryable: true,
  }),
  not_found: refusal(404, "Not found", "List what there is with `postern get`."),
  method_not_allowed: refusal(405, "Method not allowed", "See the documentation of the API."),
  resource_invalid: refusal(422, "Resource invalid", "Mend the place that the detail names."),
  resource_conflict: refusal(409, "Conflict", "Read the present state with `postern get`, then try again."),
  operator_unauthorized: refusal(
    403,
    "Not an operator",
    "Use the account that runs the server, on the same machine.",
    { logLevel: "warn" },
  ),
} as const satisfies Record<string, ProblemDefinition>;

/** Stable short name of a problem; the last part of its type URI. */
export type ProblemCode = keyof typeof PROBLEMS;

/** Wire shape: RFC 9457 `application/problem+json` with Postern's extension members. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** `urn:uuid:` of the audit event, where there is one: the argument of `postern why`. */
  readonly instance?: string;
  readonly code: ProblemCode;
  readonly reasons?: readonly string[];
  readonly retryable: boolean;
  /** What the reader does next. */
  readonly nextStep: string;
  /** Places in the files that were applied. */
  readonly places?: readonly Place[];
  /** The same sentence where LLM SDKs look for it (`error.message`). */
  readonly error?: { readonly type: string; readonly code: ProblemCode; readonly message: string };
}

/** A place in a file, lines and columns from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Path inside the document, such as `spec.allow.models[0]`. */
  readonly path: string;
  readonly message: string;
}

const TYPE_BASE = "https://postern.dev/problems/";

/** Builds the wire form of a problem. `detail` must hold no secret. */
export function problem(
  code: ProblemCode,
  detail: string,
  more: { auditId?: string; reasons?: readonly string[]; places?: readonly Place[] } = {},
): Problem {
  const { title, status, retryable, nextStep } = PROBLEMS[code];
  return {
    type: TYPE_BASE + code.replaceAll("_", "-"),
    title,
    status,
    detail,
    code,
    retryable,
    nextStep,
    ...(more.auditId === undefined ? {} : { instance: `urn:uuid:${more.auditId}` }),
    ...(more.reasons === undefined ? {} : { reasons: more.reasons }),
    ...(more.places === undefined ? {} : { places: more.places }),
  };
}
