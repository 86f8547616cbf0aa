// SPDX-License-Identifier: Apache-2.0
/** Stage 11: sends the request and streams the answer, with back-pressure both ways. */
import { Fault } from "../../kernel/fault.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { Ending } from "../ending.ts";
import type {
  Exchange,
  HeaderList,
  UpgradeAnswer,
  UpstreamConnection,
  UpstreamRequest,
} from "../http/messages.ts";
import { checkSwitch, offer } from "../websocket/handshake.ts";
import type { GuardedAnswer } from "./12-guard-response.ts";
import { type Refusal, refusal } from "./refusal.ts";

/** Sends the request; resolves with the head of the answer. */
export const sendUpstream = (
  connection: UpstreamConnection,
  request: UpstreamRequest,
  ending: Ending,
): Promise<Result<UpgradeAnswer, Refusal>> => attempted(connection.send(request, ending));

/** The same for a WebSocket handshake. An upstream that agrees to something else than was offered is refused. */
export async function shakeHands(
  connection: UpstreamConnection,
  request: UpstreamRequest,
  ending: Ending,
): Promise<Result<UpgradeAnswer, Refusal>> {
  const offered = offer(request);
  const sent = await attempted(connection.upgrade(offered.request, ending));
  if (!sent.ok || sent.value.stream === undefined) return sent;
  const agreed = checkSwitch(sent.value.answer, offered);
  if (agreed.ok) return sent;
  sent.value.stream.destroy();
  return agreed;
}

async function attempted(sent: Promise<UpgradeAnswer>): Promise<Result<UpgradeAnswer, Refusal>> {
  try {
    return ok(await sent);
  } catch (error) {
    return refuse(
      error instanceof Fault
        ? refusal(error.code, error.message)
        : refusal("upstream_failed", "the connection to the upstream failed"),
    );
  }
}

/** Streams the guarded answer to the agent; throws where either side breaks off. */
export async function streamAnswer(
  exchange: Exchange,
  answer: GuardedAnswer,
  extraHeaders: HeaderList,
  onChunk: (chunk: Buffer) => void,
): Promise<void> {
  const body = exchange.startAnswer({ status: answer.status, headers: [...answer.headers, ...extraHeaders] });
  const { whole } = answer.body;
  if (whole !== undefined) {
    onChunk(whole);
    return body.end(whole);
  }
  for await (const chunk of answer.body) {
    onChunk(chunk);
    await body.write(chunk);
  }
  await body.end();
}
