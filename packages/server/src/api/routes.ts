// SPDX-License-Identifier: Apache-2.0
/** The operator's API: what each route does, on top of ports that `main` fills. */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import {
  type AcceptKeyResponse,
  type AgentStateResponse,
  type ApplyResponse,
  type AttestRequest,
  type AttestResponse,
  type AuditTilesResponse,
  type Change,
  type JoinTokenRequest,
  type JoinTokenResponse,
  type OpenRunRequest,
  type OpenRunResponse,
  type Place,
  type ProblemCode,
  RESOURCE_KINDS,
  type ResourceKind,
  type ResourcesResponse,
  type RotateKeyResponse,
  type SecretSetResponse,
  type SecretsResponse,
  type StatusResponse,
  type WhyResponse,
} from "@postern/contract";
import { z } from "zod";
import { nearestName } from "../kernel/nearest-name.ts";
import type { Result } from "../kernel/result.ts";
import { Secret } from "../kernel/secret.ts";
import { attestRequestSchema } from "./attest-request.ts";
import { checked } from "./checked.ts";
import { ApiRefusal, type Call, type Route } from "./router.ts";

interface Operator {
  readonly uid: number;
  readonly pid: number;
}

/** What the routes need; one member per thing that operators do. */
export interface OperatorPorts {
  apply(
    request: { files: readonly { name: string; text: string }[]; dryRun: boolean },
    operator: Operator,
  ): Promise<Result<Omit<ApplyResponse, "dryRun">, { detail: string; places: readonly Place[] }>>;
  deleteResource(
    kind: ResourceKind,
    name: string,
    operator: Operator,
  ): Promise<Result<Change, { detail: string; places: readonly Place[] }>>;
  listResources(): ResourcesResponse["resources"];
  setSecret(name: string, secret: Secret, operator: Operator): Promise<Result<SecretSetResponse, string>>;
  deleteSecret(name: string, operator: Operator): Promise<Result<undefined, string>>;
  listSecrets(): Promise<SecretsResponse["secrets"]>;
  setAgentState(
    agent: string,
    change: "cut" | "restore",
    reason: string,
    operator: Operator,
  ): Promise<Result<AgentStateResponse, { code: ProblemCode; detail: string }>>;
  openRun(request: OpenRunRequest, operator: Operator): Promise<Result<OpenRunResponse, string>>;
  attest(request: AttestRequest, operator: Operator): Promise<Result<AttestResponse, string>>;
  makeJoinToken(request: JoinTokenRequest, operator: Operator): Promise<Result<JoinTokenResponse, string>>;
  why(id: string): Promise<WhyResponse | undefined>;
  status(): Promise<StatusResponse>;
  /** Newest events, oldest first. */
  auditTail(lines: number): AsyncIterable<Buffer>;
  onAudit(listener: (line: Buffer) => void): () => void;
  auditExport(): AsyncIterable<Buffer>;
  rotateKey(reference: string | undefined, operator: Operator): Promise<Result<RotateKeyResponse, string>>;
  acceptKey(reference: string, operator: Operator): Promise<Result<AcceptKeyResponse, string>>;
  backup(withMasterKey: boolean, operator: Operator): Promise<AsyncIterable<Buffer>>;
  auditTiles(folder: string): Promise<{ readonly size: number }>;
}

export function operatorRoutes(ports: OperatorPorts): readonly Route[] {
  return [
    { method: "GET", path: "/v1/status", handler: () => ports.status() },
    { method: "POST", path: "/v1/apply", handler: (call) => apply(ports, call) },
    { method: "GET", path: "/v1/resources", handler: async () => resources(ports, []) },
    { method: "GET", path: "/v1/resources/:", handler: async (call) => resources(ports, call.parameters) },
    { method: "GET", path: "/v1/resources/:/:", handler: async (call) => resources(ports, call.parameters) },
    { method: "DELETE", path: "/v1/resources/:/:", handler: (call) => remove(ports, call) },
    { method: "GET", path: "/v1/secrets", handler: async () => ({ secrets: await ports.listSecrets() }) },
    { method: "PUT", path: "/v1/secrets/:", handler: (call) => setSecret(ports, call) },
    { method: "DELETE", path: "/v1/secrets/:", handler: (call) => deleteSecret(ports, call) },
    { method: "POST", path: "/v1/vault/rotate-key", handler: (call) => rotateKey(ports, call) },
    { method: "POST", path: "/v1/vault/accept-key", handler: (call) => acceptKey(ports, call) },
    { method: "POST", path: "/v1/backup", handler: (call) => backup(ports, call) },
    { method: "POST", path: "/v1/agents/:/cut", handler: (call) => agentState(ports, call, "cut") },
    { method: "POST", path: "/v1/agents/:/restore", handler: (call) => agentState(ports, call, "restore") },
    { method: "POST", path: "/v1/runs", handler: (call) => openRun(ports, call) },
    { method: "POST", path: "/v1/attest", handler: (call) => attest(ports, call) },
    { method: "POST", path: "/v1/join-tokens", handler: (call) => makeJoinToken(ports, call) },
    { method: "GET", path: "/v1/decisions/:", handler: (call) => why(ports, call) },
    { method: "GET", path: "/v1/audit/events", handler: (call) => auditEvents(ports, call) },
    { method: "POST", path: "/v1/audit/tiles", handler: (call) => auditTiles(ports, call) },
    { method: "GET", path: "/v1/audit/export", handler: (call) => auditExport(ports, call) },
  ];
}

const applySchema = z.strictObject({
  files: z
    .array(z.strictObject({ name: z.string().max(4096), text: z.string().max(2_000_000) }))
    .min(1)
    .max(1000),
  dryRun: z.boolean(),
});

async function apply(ports: OperatorPorts, call: Call): Promise<ApplyResponse> {
  const request = checked(applySchema, await call.json());
  const applied = await ports.apply(request, call.operator);
  if (!applied.ok) throw new ApiRefusal("resource_invalid", applied.reason.detail, applied.reason.places);
  return { ...applied.value, dryRun: request.dryRun };
}

function resources(ports: OperatorPorts, [kind, name]: readonly string[]): ResourcesResponse {
  const all = ports.listResources();
  const ofKind = kind === undefined ? all : all.filter(({ resource }) => resource.kind === kindOf(kind));
  if (name === undefined) return { resources: ofKind };
  const found = ofKind.filter(({ resource }) => resource.metadata.name === name);
  if (found.length > 0) return { resources: found };
  const nearest = nearestName(
    name,
    ofKind.map(({ resource }) => resource.metadata.name),
  );
  throw new ApiRefusal(
    "not_found",
    `there is no ${kind} \`${name}\`${nearest === undefined ? "" : `; did you mean \`${nearest}\`?`}`,
  );
}

async function remove(
  ports: OperatorPorts,
  { parameters: [kind = "", name = ""], operator }: Call,
): Promise<Change> {
  const change = await ports.deleteResource(kindOf(kind), name, operator);
  if (!change.ok) throw new ApiRefusal("resource_conflict", change.reason.detail, change.reason.places);
  return change.value;
}

function kindOf(word: string): ResourceKind {
  const kind = RESOURCE_KINDS.find((known) => known === word);
  if (kind !== undefined) return kind;
  throw new ApiRefusal("not_found", `there is no kind ${word}; there are ${RESOURCE_KINDS.join(", ")}`);
}

async function setSecret(ports: OperatorPorts, call: Call): Promise<SecretSetResponse> {
  const done = await ports.setSecret(call.parameters[0]!, new Secret(await call.body()), call.operator);
  if (!done.ok) throw new ApiRefusal("resource_invalid", done.reason);
  return done.value;
}

async function deleteSecret(ports: OperatorPorts, call: Call): Promise<{ deleted: string }> {
  const done = await ports.deleteSecret(call.parameters[0]!, call.operator);
  if (!done.ok) throw new ApiRefusal("resource_conflict", done.reason);
  return { deleted: call.parameters[0]! };
}

const rotateSchema = z.strictObject({ to: z.string().max(4096).optional() });

async function rotateKey(ports: OperatorPorts, call: Call): Promise<RotateKeyResponse> {
  const { to } = checked(rotateSchema, await call.json());
  const done = await ports.rotateKey(to, call.operator);
  if (!done.ok) throw new ApiRefusal("resource_conflict", done.reason);
  return done.value;
}

const acceptSchema = z.strictObject({ reference: z.string().max(4096) });

async function acceptKey(ports: OperatorPorts, call: Call): Promise<AcceptKeyResponse> {
  const { reference } = checked(acceptSchema, await call.json());
  const done = await ports.acceptKey(reference, call.operator);
  if (!done.ok) throw new ApiRefusal("resource_conflict", done.reason);
  return done.value;
}

const backupSchema = z.strictObject({ withMasterKey: z.boolean() });

async function backup(ports: OperatorPorts, call: Call): Promise<undefined> {
  const { withMasterKey } = checked(backupSchema, await call.json());
  const archive = await ports.backup(withMasterKey, call.operator);
  call.response.writeHead(200, { "content-type": "application/x-tar" });
  // A client that goes away ends the reading too, so that nothing is left behind.
  await pipeline(archive, call.response);
  return undefined;
}

const reasonSchema = z.strictObject({ reason: z.string().max(1000).optional() });

async function agentState(
  ports: OperatorPorts,
  call: Call,
  change: "cut" | "restore",
): Promise<AgentStateResponse> {
  const { reason = "" } = checked(reasonSchema, await call.json());
  const done = await ports.setAgentState(call.parameters[0]!, change, reason, call.operator);
  if (!done.ok) throw new ApiRefusal(done.reason.code, done.reason.detail);
  return done.value;
}

const openRunSchema = z.strictObject({
  agent: z.string().max(100).optional(),
  isolated: z.boolean(),
  command: z.string().max(4096),
  environment: z.record(z.string().max(10_000), z.string().max(1_000_000)),
  keep: z.array(z.string().max(10_000)).max(1000).default([]),
});

async function openRun(ports: OperatorPorts, call: Call): Promise<OpenRunResponse> {
  const { agent, ...rest } = checked(openRunSchema, await call.json());
  const run = await ports.openRun({ ...rest, ...(agent === undefined ? {} : { agent }) }, call.operator);
  if (!run.ok) throw new ApiRefusal("resource_conflict", run.reason);
  return run.value;
}

async function attest(ports: OperatorPorts, call: Call): Promise<AttestResponse> {
  const request = checked(attestRequestSchema, await call.json()) as AttestRequest;
  const answer = await ports.attest(request, call.operator);
  if (!answer.ok) throw new ApiRefusal("not_found", answer.reason);
  return answer.value;
}

const joinTokenSchema = z.strictObject({
  provider: z.string().max(100),
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, "use letters, digits, dots, hyphens and underscores"),
});

async function makeJoinToken(ports: OperatorPorts, call: Call): Promise<JoinTokenResponse> {
  const made = await ports.makeJoinToken(checked(joinTokenSchema, await call.json()), call.operator);
  if (!made.ok) throw new ApiRefusal("not_found", made.reason);
  return made.value;
}

async function why(ports: OperatorPorts, { parameters: [id = ""] }: Call): Promise<WhyResponse> {
  const answer = await ports.why(id);
  if (answer === undefined) throw new ApiRefusal("not_found", `there is no decision ${id} in the audit log`);
  return answer;
}

async function auditEvents(ports: OperatorPorts, { query, response }: Call): Promise<undefined> {
  const lines = Number(query.get("lines") ?? "20");
  if (!Number.isInteger(lines) || lines < 0 || lines > 1_000_000)
    throw new ApiRefusal("request_malformed", "lines is a whole number up to 1,000,000");
  // Listening starts before reading, so that nothing falls in between; lines that come meanwhile wait.
  const waiting: Buffer[] = [];
  let write = (line: Buffer): void => void waiting.push(line);
  const stop = query.has("follow") ? ports.onAudit((line) => write(line)) : undefined;
  response.once("close", () => stop?.());
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  const past = await sendLines(response, ports.auditTail(lines));
  if (stop === undefined) return void response.end();
  write = (line) => void response.write(`${line.toString("utf8")}\n`);
  for (const line of waiting) if (!past.has(line.toString("utf8"))) write(line);
  return undefined;
}

const tilesSchema = z.strictObject({ folder: z.string().startsWith("/").max(4096) });

async function auditTiles(ports: OperatorPorts, call: Call): Promise<AuditTilesResponse> {
  const { folder } = checked(tilesSchema, await call.json());
  return { folder, ...(await ports.auditTiles(folder)) };
}

async function auditExport(ports: OperatorPorts, { response }: Call): Promise<undefined> {
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  await sendLines(response, ports.auditExport());
  response.end();
  return undefined;
}

/** Returns the newest lines sent, to recognize repeats. */
async function sendLines(response: ServerResponse, lines: AsyncIterable<Buffer>): Promise<Set<string>> {
  let newest: string[] = [];
  for await (const line of lines) {
    if (response.destroyed) break;
    const text = line.toString("utf8");
    newest.push(text);
    if (newest.length > 2000) newest = newest.slice(-1000);
    if (!response.write(`${text}\n`)) await Promise.race([once(response, "drain"), once(response, "close")]);
  }
  return new Set(newest);
}
