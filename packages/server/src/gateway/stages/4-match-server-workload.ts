// SPDX-License-Identifier: Apache-2.0
/** Stage 4: which registered API is this for, and which operation and model of it? */
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { BodyRefusal, BodyShare } from "../body-memory.ts";
import type { CanonicalRequest, HeaderList, RawRequest } from "../http/messages.ts";
import type { GatewayWorkload, Snapshot } from "../ports.ts";
import type { BodyFacts } from "../../policy/conditions/facts.ts";
import type { ProfileOperation } from "../../profiles/profile.ts";
import { type FieldRefusal, topLevelString } from "../json-field.ts";
import { queryParameter, type QueryRefusal } from "../query-model.ts";
import { headerValues } from "./1-read-request.ts";
import { type Refusal, refusal } from "./refusal.ts";

export interface MatchedRequest {
  readonly canonical: CanonicalRequest;
  readonly workload: GatewayWorkload;
  readonly host: string;
  readonly operation?: string;
  readonly model?: string;
  /** The body, where it was read to find the model or to judge conditions. */
  readonly body?: Buffer;
  /** What conditions asked of it. */
  readonly bodyFacts?: BodyFacts | undefined;
}

/** The workload that a canonical request names, by base URL or by host. */
export function findWorkload(
  canonical: CanonicalRequest,
  snapshot: Snapshot,
): Result<GatewayWorkload, Refusal> {
  if (canonical.workloadName !== undefined) {
    const byName = snapshot.serverWorkloads.get(canonical.workloadName);
    return byName === undefined
      ? refuse(refusal("server_workload_unknown", `there is no server workload ${canonical.workloadName}`))
      : ok(byName);
  }
  const { host, port, scheme } = canonical;
  const known = snapshot.byAuthority.get(`${host}:${port}`);
  if (known !== undefined && scheme === "https") return ok(known);
  const overTls =
    scheme === "http" && [...snapshot.byAuthority.keys()].some((key) => key.startsWith(`${host}:`));
  return overTls
    ? refuse(
        refusal(
          "target_not_canonical",
          `${host} is called over https only: a credential never travels in clear`,
        ),
      )
    : refuse(refusal("server_workload_unknown", `${host}:${port} is not a registered server workload`));
}

export async function matchServerWorkload(
  canonical: CanonicalRequest,
  request: RawRequest,
  workload: GatewayWorkload,
  share: BodyShare,
): Promise<Result<MatchedRequest, Refusal>> {
  const aliased = withAlias(canonical, workload);
  const host = canonical.host ?? workload.hosts[0]!;
  const found = findOperation(aliased, workload.operations);
  const matched = { canonical: aliased, workload, host };
  if (found === undefined) return ok(matched);
  const { operation, pathModel } = found;
  if (operation.model === undefined || "path" in operation.model)
    return ok({
      ...matched,
      operation: operation.name,
      ...(pathModel === undefined ? {} : { model: pathModel }),
    });
  if ("query" in operation.model)
    return modelFromQuery(operation.model.query, { ...matched, operation: operation.name });
  return modelFromBody(request, operation.model.body, share, { ...matched, operation: operation.name });
}

function withAlias(canonical: CanonicalRequest, workload: GatewayWorkload): CanonicalRequest {
  if (canonical.mode !== "base-url") return canonical;
  const alias = workload.profile.aliases.find(({ from }) => from === canonical.path);
  return alias === undefined ? canonical : { ...canonical, path: alias.to };
}

function findOperation(
  canonical: CanonicalRequest,
  operations: readonly ProfileOperation[],
): { operation: ProfileOperation; pathModel: string | undefined } | undefined {
  for (const operation of operations) {
    if (operation.method !== canonical.method) continue;
    const match = templateOf(operation.path).exec(canonical.path);
    if (match === null) continue;
    const name =
      operation.model !== undefined && "path" in operation.model ? operation.model.path : undefined;
    const spelled = name === undefined ? undefined : match.groups?.[name];
    // The canonical path has been checked: what is encoded in it decodes to text or is refused here.
    return { operation, pathModel: spelled === undefined ? undefined : decoded(spelled) };
  }
  return undefined;
}

function decoded(spelled: string): string {
  try {
    return decodeURIComponent(spelled);
  } catch {
    return spelled;
  }
}

const templates = new Map<string, RegExp>();

/** `/v1/models/{model}:run` → an anchored expression in which `{model}` is one segment part. */
function templateOf(path: string): RegExp {
  const known = templates.get(path);
  if (known !== undefined) return known;
  const source = path
    .split(/(\{[A-Za-z][A-Za-z0-9_]*\})/)
    .map((part) =>
      /^\{.*\}$/.test(part)
        ? `(?<${part.slice(1, -1)}>[^/:]+)`
        : part.replaceAll(/[.*+?^$()|[\]\\{}]/g, "\\$&"),
    )
    .join("");
  const compiled = new RegExp(`^${source}$`);
  templates.set(path, compiled);
  return compiled;
}

/** `application/json` and its kin, in UTF-8 (RFC 8259 §8.1). */
const JSON_TYPE = /^application\/([\w.-]+\+)?json\s*(;\s*charset\s*=\s*"?utf-?8"?\s*)?$/i;

const QUERY_DETAIL: Record<QueryRefusal, string> = {
  duplicate_field: "the query names the model twice or in another spelling",
  broken_encoding: "the model in the query is broken percent-encoding",
};

function modelFromQuery(
  parameter: string,
  matched: Omit<MatchedRequest, "body" | "model">,
): Result<MatchedRequest, Refusal> {
  const model = queryParameter(matched.canonical.query, parameter);
  if (!model.ok) return refuse(refusal("request_malformed", QUERY_DETAIL[model.reason], [model.reason]));
  return ok({ ...matched, ...(model.value === undefined ? {} : { model: model.value }) });
}

/** Why a body that was needed is not there. `reads` says what for. */
export const refusedBody = (reason: BodyRefusal, reads: string): Refusal =>
  refusal(
    reason,
    reason === "request_too_large"
      ? `the body is larger than ${reads}`
      : "bodies of unfinished requests take all the memory there is for them",
  );

/** Whether the body is said to be JSON that can be read here as the upstream will. */
export function isJson(headers: HeaderList): boolean {
  const encoding = headerValues(headers, "content-encoding")[0] ?? "identity";
  const type = headerValues(headers, "content-type")[0] ?? "application/json";
  return encoding.toLowerCase() === "identity" && JSON_TYPE.test(type);
}

const FIELD_DETAIL: Record<FieldRefusal, string> = {
  not_json: "the body is not JSON, so the model in it cannot be decided",
  not_an_object: "the body is not a JSON object, so the model in it cannot be decided",
  not_a_string: "the model in the body is not a string",
  duplicate_field: "the body names the model twice or in another spelling",
};

async function modelFromBody(
  request: RawRequest,
  field: string,
  share: BodyShare,
  matched: Omit<MatchedRequest, "body" | "model">,
): Promise<Result<MatchedRequest, Refusal>> {
  const encoding = headerValues(request.headers, "content-encoding")[0] ?? "identity";
  if (encoding.toLowerCase() !== "identity")
    return refuse(
      refusal("request_malformed", "the body is compressed, so the model in it cannot be decided"),
    );
  // Another type could make the upstream read other bytes as the model than were decided on.
  const type = headerValues(request.headers, "content-type")[0] ?? "application/json";
  if (!JSON_TYPE.test(type))
    return refuse(
      refusal(
        "request_malformed",
        "the content type is not JSON in UTF-8, so the model in the body cannot be decided",
      ),
    );
  const body = await share.collect(request.body);
  if (!body.ok) return refuse(refusedBody(body.reason, "the gateway reads to find the model"));
  const model = await topLevelString(body.value, field);
  if (!model.ok) return refuse(refusal("request_malformed", FIELD_DETAIL[model.reason], [model.reason]));
  return ok({ ...matched, body: body.value, ...(model.value === undefined ? {} : { model: model.value }) });
}
