// SPDX-License-Identifier: Apache-2.0
/**
 * Stage 5a: what a policy lets pass only with a person's yes waits for it here, for a short time.
 *
 * The person is shown the request as it would leave, and the yes is for those bytes: the same request that comes again
 * finds it, one that differs by a byte is another question. Where no policy asks, nothing is looked up.
 */
import type { Allow } from "../../policy/access-request.ts";
import type { Judgement } from "../../policy/conditions/judge-conditions.ts";
import type { ApprovalRule } from "../../policy/approval-rules.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { BodyShare } from "../body-memory.ts";
import { digestOfHeld, type HeldRequest, hold } from "../held-request.ts";
import type { Exchange, RawRequest } from "../http/messages.ts";
import type {
  ApprovalAnswer,
  ApprovalQuestion,
  Approvals,
  IdentifiedCaller,
  KnownSecrets,
} from "../ports.ts";
import { asksForUpgrade } from "../websocket/handshake.ts";
import { headerValues } from "./1-read-request.ts";
import type { MatchedRequest } from "./4-match-server-workload.ts";
import { type GuardedRequest, guardRequest } from "./7-guard-request.ts";
import { type Refusal, refusal } from "./refusal.ts";

declare const releasedBrand: unique symbol;

/** The key to a credential: allowed, and approved where a policy asks for that. Made here alone. */
export interface Released {
  readonly [releasedBrand]: true;
  readonly allow: Allow;
  /** Absent where nobody had to be asked. */
  readonly approval?: { readonly id: string; readonly digest: string; readonly by: readonly string[] };
}

/** What stage 5 has found out. */
export interface Decided {
  readonly allow: Allow;
  readonly caller: IdentifiedCaller;
  readonly matched: MatchedRequest;
  readonly judgement: Judgement;
  /** That want a person's yes. */
  readonly rules: readonly ApprovalRule[];
}

export interface ReleasedRequest extends Decided {
  readonly released: Released;
}

interface Parts {
  readonly approvals?: Approvals | undefined;
  readonly knownSecrets: KnownSecrets;
}

/** A larger body cannot be shown, and so not be approved. */
export const LARGEST_HELD = 1_048_576;

export async function awaitApproval(
  decided: Decided,
  exchange: Exchange,
  share: BodyShare,
  parts: Parts,
  decideAgain: (matched: MatchedRequest) => Promise<Result<Decided, Refusal>>,
): Promise<Result<ReleasedRequest, Refusal>> {
  if (decided.rules.length === 0) return ok(release(decided));
  const { approvals } = parts;
  if (approvals === undefined)
    return refuse(refusal("control_plane_unavailable", "nobody can be asked for approval here"));
  const held = await holdRequest(exchange.request, decided.matched, share, parts.knownSecrets);
  if (!held.ok) return held;
  const { request, matched } = held.value;
  const digest = digestOfHeld(request);
  const ask = async (now: Decided): Promise<ApprovalAnswer> =>
    approvals.ask(questionOf({ ...now, matched }, request, digest));
  try {
    let now: Decided = { ...decided, matched };
    let answer = await ask(now);
    if (answer.status === "pending") {
      const wait = Math.min(...now.rules.map((rule) => rule.wait));
      const isSettled = await approvals.settled(answer.id, now.caller.agent, 1000 * wait, exchange.leaving);
      // Whoever gave up meanwhile will ask again: the yes is kept for that.
      if (isSettled && !exchange.leaving.isOver) {
        // It took a while: what allowed it then is asked again.
        const again = await decideAgain(matched);
        if (!again.ok) return again;
        now = again.value;
        if (now.rules.length === 0) return ok(release(now));
        answer = await ask(now);
      }
    }
    return resultOf(answer, now, digest);
  } catch {
    return refuse(refusal("control_plane_unavailable", "approvals cannot be looked up"));
  }
}

/** Whether what leaves is to the byte what was released; a part that is not sent is taken off. */
export function asReleased(
  guarded: GuardedRequest,
  { approval }: Released,
  matched: MatchedRequest,
): Result<GuardedRequest, Refusal> {
  if (approval === undefined) return ok(guarded);
  const request = hold(guarded, matched.body, authorityOf(matched));
  return digestOfHeld(request) === approval.digest
    ? ok({ ...guarded, headers: request.headers })
    : refuse(refusal("access_denied", "this is not the request that was approved", ["approval_differs"]));
}

const release = (decided: Decided, approval?: Released["approval"]): ReleasedRequest => ({
  ...decided,
  released: { allow: decided.allow, ...(approval === undefined ? {} : { approval }) } as Released,
});

/** Seconds after which another question may find room. */
const ASKED_TOO_OFTEN = 300;

function resultOf(answer: ApprovalAnswer, now: Decided, digest: string): Result<ReleasedRequest, Refusal> {
  const { policies } = now.allow;
  if (answer.status === "too_often")
    return refuse({
      ...refusal(
        "approval_required",
        `a person has to approve this request, and nobody is asked more than ${answer.most} times an hour for agent ${now.caller.agent}`,
        ["approval_limit"],
      ),
      ...{ policies, retryAfter: ASKED_TOO_OFTEN },
    });
  if (answer.status === "free") return ok(release(now));
  if (answer.status === "released") return ok(release(now, { id: answer.id, digest, by: answer.by }));
  const { id, status } = answer;
  const until = new Date(answer.expiresAt).toISOString();
  const approval = { id, status, digest, expiresAt: until };
  return status === "denied"
    ? refuse({
        ...refusal("access_denied", `a person refused this request: approval ${id}`, ["approval_denied"]),
        ...{ policies, approval },
      })
    : refuse({
        ...refusal(
          "approval_required",
          `a person has to approve this request: approval ${id} waits until ${until}`,
          ["approval_pending"],
        ),
        ...{ policies, approval },
      });
}

function questionOf(
  { allow, caller, matched, rules }: Decided,
  request: HeldRequest,
  digest: string,
): ApprovalQuestion {
  const { operation, model, workload } = matched;
  return {
    ...{ agent: caller.agent, rules, request, digest, serverWorkload: workload.name },
    credentialProvider: allow.credentialProvider,
    ...(caller.run === undefined ? {} : { run: caller.run }),
    ...(operation === undefined ? {} : { operation }),
    ...(model === undefined ? {} : { model }),
  };
}

const authorityOf = ({ host, workload }: MatchedRequest): string => `${host}:${workload.port}`;

async function holdRequest(
  request: RawRequest,
  matched: MatchedRequest,
  share: BodyShare,
  knownSecrets: KnownSecrets,
): Promise<Result<{ request: HeldRequest; matched: MatchedRequest }, Refusal>> {
  if (asksForUpgrade(request.headers))
    return refuse(
      refusal("access_denied", "a WebSocket cannot be approved: nobody knows yet what will be said in it", [
        "approval_impossible",
      ]),
    );
  const encoding = headerValues(request.headers, "content-encoding")[0] ?? "identity";
  if (encoding.toLowerCase() !== "identity")
    return refuse(
      refusal("request_malformed", "the body is compressed, so nobody can be shown what would be sent"),
    );
  const body = await wholeBody(request, matched, share);
  if (!body.ok) return body;
  const whole = { ...matched, ...(body.value === undefined ? {} : { body: body.value }) };
  // Before anybody is asked, so that no secret of the vault comes before their eyes, or into the store.
  let guarded: Result<GuardedRequest, Refusal>;
  try {
    guarded = guardRequest(request, whole, await knownSecrets.matcher());
  } catch {
    return refuse(refusal("credential_unavailable", "the secrets of the vault cannot be read"));
  }
  if (!guarded.ok) return guarded;
  return ok({ request: hold(guarded.value, body.value, authorityOf(whole)), matched: whole });
}

const TOO_LARGE = refusal(
  "request_too_large",
  `the body is larger than a person can be shown (${LARGEST_HELD} bytes), so it cannot be approved`,
  ["approval_impossible"],
);

async function wholeBody(
  request: RawRequest,
  matched: MatchedRequest,
  share: BodyShare,
): Promise<Result<Buffer | undefined, Refusal>> {
  const [length] = headerValues(request.headers, "content-length");
  if (length !== undefined && Number(length) > LARGEST_HELD) return refuse(TOO_LARGE);
  if (matched.body !== undefined)
    return matched.body.length > LARGEST_HELD ? refuse(TOO_LARGE) : ok(matched.body);
  const isThere = length !== undefined || headerValues(request.headers, "transfer-encoding").length > 0;
  if (!isThere) return ok(undefined);
  const body = await share.collect(request.body, LARGEST_HELD);
  if (body.ok) return ok(body.value);
  return refuse(
    body.reason === "request_too_large"
      ? TOO_LARGE
      : refusal(body.reason, "bodies of unfinished requests take all the memory there is for them"),
  );
}
