// SPDX-License-Identifier: Apache-2.0
/**
 * What was decided, and what exactly was asked, as an audit event tells it?
 *
 * The log cuts long texts, replaces what cannot be printed and hides secrets. Such a value is not what was decided, so
 * the question is then not known: it is named, never guessed.
 */
import { ok, refuse, type Result } from "../kernel/result.ts";
import type { AccessRequest, DryRun } from "./access-request.ts";
import { CEDAR_SCHEMA_VERSION } from "./cedar-schema.ts";

/** Why a recorded decision cannot be made again. */
export type NotReplayable =
  /** It was refused before any policy was asked: `code` of the decision says by what. */
  | "not_asked"
  /** A value was too long for the log. */
  | "cut_short"
  /** A secret, or what cannot be printed, stood in a value. */
  | "masked"
  /** A value is missing. */
  | "incomplete"
  /** Policies allowed it; a person or a budget did not, so it says nothing of policies. */
  | "beyond_policy"
  /** A later version wrote it, with values of which this one knows nothing. */
  | "other_schema"
  /** The policies ask for a condition that was not judged then, or was another one. */
  | "condition_not_judged";

export interface RecordedDecision {
  readonly id: string;
  readonly time: number;
  readonly agent?: string;
  readonly serverWorkload?: string;
  readonly outcome: "allow" | "deny";
  readonly code?: string;
  readonly reasons: readonly string[];
  readonly policies: readonly string[];
  readonly credentialProvider?: string;
  readonly policyDigest?: string;
  readonly conditions: readonly RecordedCondition[];
  readonly dryRun?: DryRun;
  /** As it was asked then, with the conditions that held then. */
  readonly asked: Result<AccessRequest, NotReplayable>;
}

type Fields = Readonly<Record<string, unknown>>;

/** Undefined where `event` is not a decision. */
export function parseDecision(event: unknown): RecordedDecision | undefined {
  const { metadata, time, unmapped, http_request: http } = fields(event);
  const said = fields(unmapped);
  if (said["kind"] !== "decision") return undefined;
  const id = word(fields(metadata)["uid"]);
  if (id === undefined || typeof time !== "number") return undefined;
  if (said["outcome"] !== "allow" && said["outcome"] !== "deny") return undefined;
  const path = word(fields(fields(http)["url"])["path"]);
  const dryRun = dryRunIn(said["dry_run"]);
  return {
    id,
    time,
    outcome: said["outcome"],
    reasons: words(said["reasons"]),
    policies: words(said["policies"]),
    ...optional("agent", said["agent"]),
    ...optional("serverWorkload", said["server_workload"]),
    ...optional("code", said["code"]),
    ...optional("credentialProvider", said["credential_provider"]),
    ...optional("policyDigest", said["policy_digest"]),
    conditions: recordedConditions(event),
    ...(dryRun === undefined ? {} : { dryRun }),
    asked: askedIn(said, path),
  };
}

function dryRunIn(value: unknown): DryRun | undefined {
  const { outcome, policies, reasons, credential_provider: provider } = fields(value);
  if (outcome !== "allow" && outcome !== "deny") return undefined;
  return {
    ...{ outcome, policies: words(policies), reasons: words(reasons) },
    ...optional("credentialProvider", provider),
  };
}

function askedIn(said: Fields, path: string | undefined): Result<AccessRequest, NotReplayable> {
  const refusal = refusalIn(said);
  if (refusal !== undefined) return refuse(refusal);
  if (Number(said["policy_schema"] ?? 1) > CEDAR_SCHEMA_VERSION) return refuse("other_schema");
  const agent = word(said["agent"]);
  const serverWorkload = word(said["server_workload"]);
  const method = word(said["method"]);
  if (agent === undefined || serverWorkload === undefined || method === undefined || path === undefined)
    return refuse("incomplete");
  const found = recordedConditions({ unmapped: said });
  if (found.length >= MOST_CONDITIONS) return refuse("cut_short");
  const request: AccessRequest = {
    agent,
    serverWorkload,
    method,
    path,
    ...optional("operation", said["operation"]),
    ...optional("model", said["model"]),
    ...conditionsOf(found),
  };
  const values = [method, path, request.operation ?? "", request.model ?? ""];
  if (values.some((value) => CUT.test(value))) return refuse("cut_short");
  // A path with a hidden escape goes as a whole: `/*`.
  if (path === "/*" || values.some((value) => MASKED.test(value))) return refuse("masked");
  return ok(request);
}

/** Who else than a policy refused it; undefined where policies decided. */
function refusalIn({ outcome, code, reasons }: Fields): NotReplayable | undefined {
  if (outcome === "allow") return undefined;
  if (typeof code === "string" && BEYOND_POLICY.has(code)) return "beyond_policy";
  const all = words(reasons);
  if (code === "access_denied" && all.some((reason) => reason.startsWith("approval_")))
    return "beyond_policy";
  return code === "access_denied" && !all.includes("changed_meanwhile") ? undefined : "not_asked";
}

/** The log holds no more of them. */
const MOST_CONDITIONS = 64;

export interface RecordedCondition {
  readonly name: string;
  /** Which spec of it was judged. */
  readonly definition?: string;
  readonly holds: boolean;
  readonly isUnknown: boolean;
  /** In words. */
  readonly saw: string;
}

/** What was found of the conditions that a decision depended on. */
export function recordedConditions(event: unknown): RecordedCondition[] {
  const { conditions } = fields(fields(event)["unmapped"]);
  if (!Array.isArray(conditions)) return [];
  return conditions.map(fields).map(({ name, definition, holds, unknown, saw }) => ({
    ...{ name: word(name) ?? "", saw: word(saw) ?? "" },
    ...{ holds: holds === true, isUnknown: unknown === true },
    ...optional("definition", definition),
  }));
}

/** In the form in which the gateway asks: what is empty is absent. */
export function conditionsOf(
  found: readonly Pick<RecordedCondition, "name" | "holds" | "isUnknown">[],
): Pick<AccessRequest, "conditions" | "unknownConditions"> {
  const holding = found.filter(({ holds }) => holds).map(({ name }) => name);
  const unknown = found.filter(({ isUnknown }) => isUnknown).map(({ name }) => name);
  return {
    ...(holding.length === 0 ? {} : { conditions: holding }),
    ...(unknown.length === 0 ? {} : { unknownConditions: unknown }),
  };
}

/** Codes of what is asked after the policies have said yes. */
const BEYOND_POLICY: ReadonlySet<string> = new Set(["approval_required", "budget_exhausted"]);

/** The mark that the log puts where a text was too long for it. */
const CUT = /…\[\+\d+\]$/;
/** Asterisks of a secret, which has four bytes at least where it is searched for; and what the log writes for a control character. */
const MASKED = /\*{4}|\uFFFD/;

const fields = (value: unknown): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};

const word = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

const words = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];

function optional<K extends string>(key: K, value: unknown): { [key in K]?: string } {
  return typeof value === "string" ? ({ [key]: value } as { [key in K]?: string }) : {};
}
