// SPDX-License-Identifier: Apache-2.0
/** The life of an open WebSocket: what has to hold for every message, and how it ends. */
import type { Duplex } from "node:stream";
import { rulesFor } from "../policy/approval-rules.ts";
import type { Exchange, HeaderList } from "./http/messages.ts";
import type { ConditionWatch } from "./condition-watch.ts";
import type { GatewayParts } from "./pass-request.ts";
import type { Credential, IdentifiedCaller } from "./ports.ts";
import { checkStanding } from "./stages/3-identify-agent.ts";
import type { MatchedRequest } from "./stages/4-match-server-workload.ts";
import { accessRequestOf, decideAccess } from "./stages/5-decide.ts";
import type { GuardedAnswer } from "./stages/12-guard-response.ts";
import type { Outcome } from "./stages/13-record-outcome.ts";
import { type Refusal, refusal } from "./stages/refusal.ts";
import { switchHeaders } from "./websocket/handshake.ts";
import { Relay } from "./websocket/relay.ts";

interface Conversation {
  readonly caller: IdentifiedCaller;
  readonly matched: MatchedRequest;
  readonly credential: Credential;
  /** The 101 of the upstream. */
  readonly answer: GuardedAnswer;
  /** The upstream, from the end of its answer's head on. */
  readonly stream: Duplex;
  readonly watch: ConditionWatch;
}

/** Answers the handshake and carries messages until the connection ends; throws where the agent has gone already. */
export async function passMessages(
  exchange: Exchange,
  conversation: Conversation,
  receipt: HeaderList,
  parts: GatewayParts,
  outcome: Outcome,
): Promise<void> {
  const { answer, credential, watch } = conversation;
  const agent = switchOver(exchange, conversation, receipt);
  const relay = new Relay(agent, conversation.stream, {
    matcher: async () => parts.knownSecrets.matcher(credential.secret),
    objection: objectionTo(conversation, parts),
    toUpstream: outcome.onLeaving,
    toAgent: outcome.onChunk,
  });
  watch.onLapse((why) => {
    outcome.because(why);
    relay.cut(why);
  });
  outcome.relaying({ ...answer, scrubbed: () => answer.scrubbed() + relay.scrubbed });
  const end = await relay.run(exchange.gone);
  if (end.how === "complete") outcome.completed();
  else if (end.how === "refused") outcome.refused(end.reason);
  else outcome.brokeOff(end.how);
}

function switchOver(exchange: Exchange, { answer, stream }: Conversation, receipt: HeaderList): Duplex {
  try {
    return exchange.switchProtocols([...switchHeaders(exchange.request, answer.headers), ...receipt]);
  } catch (error) {
    stream.destroy();
    throw error;
  }
}

/**
 * A WebSocket outlives what was true when it was opened. So the agent's standing is asked for every frame, and the
 * decision is made again whenever anything has changed.
 */
function objectionTo(
  { caller, matched, credential, watch }: Conversation,
  { controlPlane, clock }: GatewayParts,
): () => Refusal | undefined {
  let decidedUnder = controlPlane.snapshot;
  return () => {
    const { snapshot } = controlPlane;
    const standing = checkStanding(caller.agent, snapshot, clock);
    if (!standing.ok) return standing.reason;
    if (snapshot === decidedUnder) return undefined;
    const request = accessRequestOf(caller, matched, watch.judgement);
    const allow = decideAccess(request, snapshot);
    if (!allow.ok) return allow.reason;
    if (rulesFor(snapshot.approvalRules, allow.value, request).length > 0)
      return refusal(
        "access_denied",
        "a person has to approve this by now, and a WebSocket cannot be approved",
        ["approval_impossible"],
      );
    const isSame =
      snapshot.serverWorkloads.get(matched.workload.name) === matched.workload &&
      allow.value.credentialProvider === credential.provider;
    if (!isSame)
      return refusal("access_denied", "the configuration changed while the WebSocket was open", [
        "changed_meanwhile",
      ]);
    decidedUnder = snapshot;
    return undefined;
  };
}
