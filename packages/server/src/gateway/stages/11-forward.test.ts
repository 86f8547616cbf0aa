// SPDX-License-Identifier: Apache-2.0
import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { Fault } from "../../kernel/fault.ts";
import { Ending } from "../ending.ts";
import type { HeaderList, UpgradeAnswer, UpstreamConnection, UpstreamRequest } from "../http/messages.ts";
import { streamOf } from "../request.fixture.ts";
import { shakeHands } from "./11-forward.ts";

const request: UpstreamRequest = { method: "GET", target: "/", headers: [["host", "x"]], body: undefined };

/** An upstream that answers with what `answer` says, knowing the key that it was sent. */
function connectionTo(answer: (key: string) => Promise<UpgradeAnswer>) {
  const sent: HeaderList[] = [];
  const connection = {
    authority: "x",
    upgrade: ({ headers }: UpstreamRequest) => {
      sent.push(headers);
      return answer(headers.find(([name]) => name === "sec-websocket-key")![1]);
    },
  } as unknown as UpstreamConnection;
  return { connection, sent };
}

const answerOf = (status: number, headers: HeaderList) => ({
  status,
  headers,
  body: streamOf() as never,
  discard: () => {},
});

describe("a WebSocket handshake with the upstream", () => {
  it("that is agreed to for another key is refused, and the connection ends", async () => {
    const stream = new PassThrough();
    const { connection, sent } = connectionTo(() =>
      Promise.resolve({
        answer: answerOf(101, [
          ["upgrade", "websocket"],
          ["connection", "upgrade"],
          ["sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
        ]),
        stream,
      }),
    );
    expect(await shakeHands(connection, request, new Ending())).toMatchObject({
      ok: false,
      reason: { code: "upstream_failed", detail: "the upstream did not answer this WebSocket handshake" },
    });
    expect(stream.destroyed).toBe(true);
    expect(sent[0]!.map(([name]) => name)).not.toContain("sec-websocket-extensions");
  });

  it("that is answered like any request gives that answer", async () => {
    const answer = answerOf(404, []);
    const { connection } = connectionTo(() => Promise.resolve({ answer }));
    expect(await shakeHands(connection, request, new Ending())).toEqual({ ok: true, value: { answer } });
  });

  it("that breaks off is refused with the codec's own word, and no other's", async () => {
    const failing = (error: Error) =>
      shakeHands(connectionTo(() => Promise.reject(error)).connection, request, new Ending());
    expect(await failing(new Fault("upstream_timeout", "too late"))).toMatchObject({
      reason: { code: "upstream_timeout", detail: "too late" },
    });
    expect(await failing(new Error("ECONNRESET sk-secret"))).toMatchObject({
      reason: { code: "upstream_failed", detail: "the connection to the upstream failed" },
    });
  });
});
