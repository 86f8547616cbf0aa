// SPDX-License-Identifier: Apache-2.0
/**
 * The life of a request: one visible list of stages, read from top to bottom.
 *
 * Each stage takes what the one before has made and refuses with a code of the problem table. The order is
 * held by the types: `obtainCredential` needs an `Allow`, `inject` needs an `UpstreamConnection`.
 */
import type { BudgetLedger } from "../budget/ledger.ts";
import type { Matcher } from "../guard/pattern-matcher.ts";
import type { Clock } from "../kernel/clock.ts";
import type { FairTurns } from "../kernel/fair-turns.ts";
import { newId } from "../kernel/ids.ts";
import { type Result, ok, refuse } from "../kernel/result.ts";
import type { Secret } from "../kernel/secret.ts";
import type { CanonicalRequest, Exchange, HeaderList } from "./http/messages.ts";
import type { BodyMemory, BodyShare } from "./body-memory.ts";
import { ConditionWatch } from "./condition-watch.ts";
import type { OpenExchange, OpenExchanges } from "./open-exchanges.ts";
import type {
  Approvals,
  AuditSink,
  Caller,
  ControlPlane,
  CredentialSource,
  DecisionRecord,
  ExchangeObserver,
  IdentifiedCaller,
  KnownSecrets,
} from "./ports.ts";
import { passMessages } from "./pass-messages.ts";
import type { Reservation } from "./reservation.ts";
import { answerRefusal, receiptHeaders } from "./refuse.ts";
import { readRequest } from "./stages/1-read-request.ts";
import { canonicalize } from "./stages/2-canonicalize.ts";
import { checkStanding, identifyAgent } from "./stages/3-identify-agent.ts";
import { findWorkload, type MatchedRequest, matchServerWorkload } from "./stages/4-match-server-workload.ts";
import { judgeNow, readForConditions } from "./stages/4a-judge-conditions.ts";
import { accessRequestOf, decideAccess } from "./stages/5-decide.ts";
import { readForBudgets, reserveBudget } from "./stages/5b-reserve-budget.ts";
import { durably, NOT_DURABLE, recordDecision, type RecordedDecision } from "./stages/6-record-decision.ts";
import { guardRequest } from "./stages/7-guard-request.ts";
import { obtainCredential } from "./stages/8-obtain-credential.ts";
import type { UpstreamConnections } from "./stages/9-connect-upstream.ts";
import { inject } from "./stages/10-inject.ts";
import { sendUpstream, shakeHands, streamAnswer } from "./stages/11-forward.ts";
import { guardResponse } from "./stages/12-guard-response.ts";
import { Outcome } from "./stages/13-record-outcome.ts";
import { asReleased, awaitApproval, type Decided, type ReleasedRequest } from "./stages/5a-await-approval.ts";
import { type Refusal, refusal } from "./stages/refusal.ts";
import { withoutSecrets } from "./stages/without-secrets.ts";
import { asksForUpgrade } from "./websocket/handshake.ts";
import { UsageMeter } from "./usage-meter.ts";
import { rulesFor } from "../policy/approval-rules.ts";
import type { FactSources } from "../policy/conditions/facts.ts";
import { type Judgement, NOTHING_TO_JUDGE } from "../policy/conditions/judge-conditions.ts";

export interface GatewayParts {
  readonly controlPlane: ControlPlane;
  readonly credentials: CredentialSource;
  readonly knownSecrets: KnownSecrets;
  readonly audit: AuditSink;
  /** Absent where nobody can be asked: what needs a person is refused then. */
  readonly approvals?: Approvals;
  readonly observer?: ExchangeObserver;
  readonly clock: Clock;
  /** What conditions may ask besides the request and its caller. */
  readonly facts: FactSources;
  readonly upstreams: UpstreamConnections;
  readonly openExchanges: OpenExchanges;
  readonly bodyMemory: BodyMemory;
  readonly ledger: BudgetLedger;
  /** By run: requests that begin, and pieces of answers. */
  readonly turns: FairTurns;
  /** The decision is on disk before the request leaves, not only before the answer is given. */
  readonly strictAudit: boolean;
}

/** What is known of a request so far; grows from stage to stage and ends in the audit record. */
interface Progress {
  canonical?: CanonicalRequest;
  caller?: IdentifiedCaller;
  matched?: MatchedRequest;
  judgement?: Judgement;
  /** Memory that the body takes. */
  share?: BodyShare;
  /** Closed whatever becomes of the request. */
  reservation?: Reservation;
}

/** Takes one request through all stages. Never throws; always leaves a decision and an outcome. */
export async function passRequest(exchange: Exchange, caller: Caller, parts: GatewayParts): Promise<void> {
  const id = newId(parts.clock.now());
  const outcome = new Outcome(id, parts.clock, parts.audit, parts.observer);
  const progress: Progress = {};
  let isCut = false;
  let forget: (() => void) | undefined;
  const open: OpenExchange = {
    cut: () => {
      isCut = true;
      exchange.gone.end();
      exchange.destroy();
    },
  };
  try {
    const decided = await decide(id, exchange, caller, parts, progress, open);
    forget = caller.lost?.onOver(() => open.cut());
    const decision = await withoutSecrets(
      decisionRecord(id, caller, parts, progress, decided),
      parts.knownSecrets,
    );
    outcome.decided(decision, exchange.request.headers);
    const recorded = recordDecision(parts.audit, decision);
    if (!recorded.ok) return void (await giveRefusal(exchange, recorded.reason, undefined, outcome));
    if (!decided.ok) return void (await giveRefusal(exchange, decided.reason, recorded.value, outcome));
    const refused = await watched(exchange, decided.value, recorded.value, parts, outcome, open);
    if (refused !== undefined) await giveRefusal(exchange, refused, recorded.value, outcome);
  } catch (error) {
    const how = exchange.gone.isOver ? "client_aborted" : "upstream_failed";
    outcome.brokeOff(error instanceof StandingLost ? "cut" : how);
    exchange.destroy();
  } finally {
    forget?.();
    if (progress.caller !== undefined) parts.openExchanges.remove(progress.caller.agent, open);
    if (isCut) outcome.brokeOff("cut");
    progress.share?.release();
    outcome.record(progress.caller?.agent, progress.matched?.workload.name, progress.reservation);
  }
}

/** Requests that one agent may have open at once, so that it leaves room for others. */
const MOST_OPEN = 2048;

interface ReservedRequest extends ReleasedRequest {
  /** Absent where no budget counts it. */
  readonly reservation?: Reservation;
}

/** Stages 1 to 5b. */
async function decide(
  id: string,
  exchange: Exchange,
  caller: Caller,
  parts: GatewayParts,
  progress: Progress,
  open: OpenExchange,
): Promise<Result<ReservedRequest, Refusal>> {
  const { headers } = exchange.request;
  if (caller.isRemote === true) {
    // A stranger learns nothing from how its request is read.
    const known = await identifyAgent(caller, parts.controlPlane.snapshot, parts.clock, headers);
    if (!known.ok) return known;
    progress.caller = known.value;
  }
  const read = readRequest(exchange.request);
  if (!read.ok) return read;
  const canonical = canonicalize(read.value, exchange.entrance);
  if (!canonical.ok) return canonical;
  progress.canonical = canonical.value;
  const identified = await identifyAgent(caller, parts.controlPlane.snapshot, parts.clock, headers);
  if (!identified.ok) return identified;
  progress.caller = identified.value;
  if (parts.openExchanges.count(identified.value.agent) >= MOST_OPEN)
    return refuse(refusal("gateway_busy", `agent ${identified.value.agent} has ${MOST_OPEN} requests open`));
  // From here on a cut of this agent ends this exchange, whatever it is waiting for.
  parts.openExchanges.add(identified.value.agent, open);
  const workload = findWorkload(canonical.value, parts.controlPlane.snapshot);
  if (!workload.ok) return workload;
  progress.matched = {
    canonical: canonical.value,
    workload: workload.value,
    host: canonical.value.host ?? workload.value.hosts[0]!,
  };
  progress.share = parts.bodyMemory.share(identified.value.agent);
  const matched = await matchServerWorkload(canonical.value, read.value, workload.value, progress.share);
  if (!matched.ok) return matched;
  progress.matched = matched.value;
  const { snapshot } = parts.controlPlane;
  const whose = [identified.value.agent, workload.value.name] as const;
  const withBody = await readForConditions(
    matched.value,
    exchange.request,
    snapshot.conditionsOf(...whose),
    progress.share,
    snapshot.dryRunConditionsOf?.(...whose),
  );
  if (!withBody.ok) return withBody;
  const again = (whole: MatchedRequest): Promise<Result<Decided, Refusal>> =>
    decideNow(identified.value, whole, caller, parts, progress, headers);
  const { budgets } = snapshot;
  const bounded = readForBudgets(
    identified.value.agent,
    withBody.value,
    exchange.request,
    budgets,
    progress.share,
  );
  const whole = bounded instanceof Promise ? await bounded : bounded;
  if (!whole.ok) return whole;
  const decided = await again(whole.value);
  if (!decided.ok) return decided;
  const released = await awaitApproval(decided.value, exchange, progress.share, parts, again);
  return released.ok ? reserveFor(id, released.value, parts, progress) : released;
}

/** Where the agent is cut meanwhile, the cut ends the exchange, and what it has reserved is closed with it. */
async function reserveFor(
  id: string,
  request: ReleasedRequest,
  { controlPlane, ledger, clock }: GatewayParts,
  progress: Progress,
): Promise<Result<ReservedRequest, Refusal>> {
  const { budgets } = controlPlane.snapshot;
  const reserved = await reserveBudget(id, request.matched, request.allow, { budgets, ledger, clock });
  if (reserved === undefined) return ok(request);
  if (!reserved.ok) return reserved;
  progress.reservation = reserved.value;
  return ok({ ...request, reservation: reserved.value });
}

/** Reading the body may have taken long: what was true of agent and workload before it is asked again. */
async function decideNow(
  identified: IdentifiedCaller,
  matched: MatchedRequest,
  caller: Caller,
  parts: GatewayParts,
  progress: Progress,
  headers: HeaderList,
): Promise<Result<Decided, Refusal>> {
  const { snapshot } = parts.controlPlane;
  const still = await identifyAgent(caller, snapshot, parts.clock, headers);
  if (!still.ok) return still;
  if (
    still.value.agent !== identified.agent ||
    snapshot.serverWorkloads.get(matched.workload.name) !== matched.workload
  )
    return refuse(CHANGED_MEANWHILE);
  const { name } = matched.workload;
  const conditions =
    snapshot.dryRunConditionsOf?.(identified.agent, name) ?? snapshot.conditionsOf(identified.agent, name);
  const judging = judgeNow(conditions, identified, matched, parts);
  const judgement = judging instanceof Promise ? await judging : judging;
  if (parts.controlPlane.snapshot !== snapshot) return refuse(CHANGED_MEANWHILE);
  progress.judgement = judgement;
  const request = accessRequestOf(identified, matched, judgement);
  const allow = decideAccess(request, snapshot);
  if (!allow.ok) return allow;
  const rules = rulesFor(snapshot.approvalRules, allow.value, request);
  return ok({ allow: allow.value, caller: identified, matched, judgement, rules });
}

const CHANGED_MEANWHILE = refusal("access_denied", "the configuration changed while the request came in", [
  "changed_meanwhile",
]);

/** Serves it for as long as the conditions hold under which it was allowed. */
async function watched(
  exchange: Exchange,
  decided: ReservedRequest,
  recorded: RecordedDecision,
  parts: GatewayParts,
  outcome: Outcome,
  open: OpenExchange,
): Promise<Refusal | undefined> {
  const { allow, caller, matched, judgement } = decided;
  const { credentialProvider } = allow;
  const watch = new ConditionWatch({ caller, matched, judgement, credentialProvider }, parts);
  watch.onLapse((why) => {
    outcome.because(why);
    open.cut();
  });
  try {
    return await serve(exchange, decided, recorded, parts, outcome, watch);
  } finally {
    watch.end();
  }
}

/** Stages 7 to 12. Returns a refusal while nothing of the answer has been sent yet. */
async function serve(
  exchange: Exchange,
  { released, caller, matched, reservation }: ReservedRequest,
  recorded: RecordedDecision,
  parts: GatewayParts,
  outcome: Outcome,
  watch: ConditionWatch,
): Promise<Refusal | undefined> {
  const { gone } = exchange;
  const leaving = await searchFor(parts);
  if (!leaving.ok) return leaving.reason;
  const guarded = guardRequest(exchange.request, matched, leaving.value);
  if (!guarded.ok) return guarded.reason;
  const leaves = asReleased(guarded.value, released, matched);
  if (!leaves.ok) return leaves.reason;
  const credential = await obtainCredential(parts.credentials, released);
  if (!credential.ok) return credential.reason;
  const returning = await searchFor(parts, credential.value.secret);
  if (!returning.ok) return returning.reason;
  outcome.reached("connecting");
  const connection = await parts.upstreams.connect(caller.agent, matched.workload, matched.host, gone);
  if (!connection.ok) return connection.reason;
  outcome.reached("connected");
  const request = inject(leaves.value, matched.workload, credential.value, connection.value);
  const isDurable = parts.strictAudit ? await durably(recorded) : true;
  if (!request.ok || !isDurable || gone.isOver) connection.value.release();
  if (!request.ok) return request.reason;
  if (!isDurable) return NOT_DURABLE;
  if (gone.isOver) throw new Error("ended before the request was sent");
  const counted = { ...request.value, body: outcome.counted(request.value.body) };
  reservation?.sent();
  const send = asksForUpgrade(exchange.request.headers) ? shakeHands : sendUpstream;
  const sent = await send(connection.value, counted, gone);
  if (!sent.ok) return sent.reason;
  outcome.reached("answered");
  const { answer, stream } = sent.value;
  const clean = guardResponse(answer, returning.value, () => parts.turns.take(caller.run ?? caller.agent));
  const standing = (): Result<undefined, Refusal> =>
    checkStanding(caller.agent, parts.controlPlane.snapshot, parts.clock);
  const isKept = await durably(recorded);
  const still = standing();
  if (!clean.ok || !isKept || !still.ok) answer.discard();
  if (!clean.ok) return clean.reason;
  if (!isKept) return NOT_DURABLE;
  if (!still.ok) return still.reason;
  const countsText = reservation?.countsTokens === true;
  const meter = new UsageMeter(matched.workload.profile, clean.value.contentType, countsText);
  outcome.answering(clean.value, meter);
  const receipt = [
    ...receiptHeaders(recorded.id, clean.value.status),
    ...(reservation?.headers(parts.clock.now()) ?? []),
  ];
  if (stream !== undefined) {
    const conversation = {
      caller,
      matched,
      credential: credential.value,
      answer: clean.value,
      stream,
      watch,
    };
    await passMessages(exchange, conversation, receipt, parts, outcome);
    return undefined;
  }
  await streamAnswer(exchange, clean.value, receipt, (chunk) => {
    if (!standing().ok) throw new StandingLost();
    outcome.onChunk(chunk);
  });
  outcome.completed();
  return undefined;
}

/** The agent was deleted or has expired while its answer streamed; a cut does not wait for the next piece. */
class StandingLost extends Error {}

/** Without it nothing is sent: neither the request nor the answer could be searched. */
async function searchFor(
  { knownSecrets }: GatewayParts,
  injected?: Secret,
): Promise<Result<Matcher, Refusal>> {
  try {
    return ok(await knownSecrets.matcher(injected));
  } catch {
    return refuse(refusal("credential_unavailable", "the secrets of the vault cannot be read"));
  }
}

async function giveRefusal(
  exchange: Exchange,
  reason: Refusal,
  recorded: RecordedDecision | undefined,
  outcome: Outcome,
): Promise<void> {
  const isKept = recorded === undefined || (await durably(recorded));
  const given = isKept ? reason : NOT_DURABLE;
  outcome.refused(given);
  await answerRefusal(exchange, given, recorded?.id);
}

function decisionRecord(
  id: string,
  caller: Caller,
  parts: GatewayParts,
  { canonical, caller: identified, matched, judgement = NOTHING_TO_JUDGE }: Progress,
  decided: Result<ReservedRequest, Refusal>,
): DecisionRecord {
  const allow = decided.ok ? decided.value.allow : undefined;
  const approval = decided.ok ? decided.value.released.approval : undefined;
  const refused = decided.ok ? undefined : decided.reason;
  return {
    id,
    time: parts.clock.now(),
    run: caller.run,
    isolated: caller.isolated,
    peer: caller.isRemote === true ? caller.origin : undefined,
    policyDigest: parts.controlPlane.snapshot.policyDigest,
    caller: identified,
    mode: canonical?.mode,
    method: canonical?.method,
    host: matched?.host ?? canonical?.host,
    path: matched?.canonical.path ?? canonical?.path,
    serverWorkload: matched?.workload.name,
    operation: matched?.operation,
    model: matched?.model,
    outcome: decided.ok ? "allow" : "deny",
    code: refused?.code,
    detail: refused?.detail,
    reasons: refused?.reasons ?? [],
    policies: allow?.policies ?? refused?.policies ?? [],
    credentialProvider: allow?.credentialProvider,
    dryRun: allow?.dryRun ?? refused?.dryRun,
    ...(judgement.results.length === 0 ? {} : { conditions: judgement.results }),
    approval: approval?.id ?? refused?.approval?.id,
    approvedBy: approval?.by,
    requestDigest: approval?.digest ?? refused?.approval?.digest,
    reserved: decided.ok ? decided.value.reservation?.figures : undefined,
  };
}
