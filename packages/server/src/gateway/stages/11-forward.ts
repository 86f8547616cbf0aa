// SPDX-License-Identifier: Apache-2.0
/** Stage 11: sends the request and streams the answer, with back-pressure both ways. */
import { Fault } from "../../kernel/fault.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { Ending } from "../ending.ts";
import type {
  Exchange,
  HeaderList,
  UpstreamAnswer,
  UpstreamConnection,
  UpstreamRequest,
} from "../http/messages.ts";
import type { GuardedAnswer } from "./12-guard-response.ts";
import { type Refusal, refusal } from "./refusal.ts";

/** Sends the request; resolves with the head of the answer. */
export async function sendUpstream(
  connection: UpstreamConnection,
  request: UpstreamRequest,
  ending: Ending,
): Promise<Result<UpstreamAnswer, Refusal>> {
  try {
    return ok(await connection.send(request, ending));
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
