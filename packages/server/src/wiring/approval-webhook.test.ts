// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { createTestAuthority } from "@postern/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Secret } from "../kernel/secret.ts";
import { MessageKey } from "../keys/message-key.ts";
import { ApprovalWebhook, type Message, type WebhookParts } from "./approval-webhook.ts";

interface Received {
  readonly at: string;
  readonly body: string;
}

let receiver: Server;
let answers: { readonly status: number; readonly headers?: Record<string, string> }[];
let received: Received[];
let lines: { message: string; code: string | undefined }[];
let logged: PromiseWithResolvers<void>;
let webhook: ApprovalWebhook;
let parts: WebhookParts;
let sent: PromiseWithResolvers<void>;

beforeEach(async () => {
  [answers, received, lines] = [[], [], []];
  [logged, sent] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const authority = await createTestAuthority();
  const { certificate, privateKey } = await authority.issue(["127.0.0.1"]);
  receiver = createServer({ cert: certificate, key: privateKey }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      received.push({ at: request.url!, body: Buffer.concat(chunks).toString() });
      const { headers, status } = answers.shift() ?? { status: 200 };
      response.writeHead(status, headers).end();
    });
  });
  receiver.listen(0, "127.0.0.1");
  await once(receiver, "listening");
  const url = new URL(`https://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`);
  parts = {
    url: () => Promise.resolve(url),
    key: () => Promise.resolve(new MessageKey(Secret.fromUtf8("0123456789abcdef"))),
    reach: { allowedNetworks: ["127.0.0.0/8"], caCertificates: authority.certificate },
    clock: { now: () => 0 },
    log: {
      write: (_, message, fields) => {
        lines.push({ message, code: fields?.code });
        logged.resolve();
      },
    },
  };
  webhook = new ApprovalWebhook(parts);
});

afterEach(() => {
  webhook.close();
  receiver.close();
});

const message = (text: string): Message => ({
  make: () => Promise.resolve({ text }),
  sent: () => Promise.resolve(sent.resolve()),
});
const again = { status: 429, headers: { "retry-after": "0" } };

describe("a message", () => {
  it("is not sent on to where a redirect points", async () => {
    answers = [{ status: 307, headers: { location: "/elsewhere" } }];
    webhook.send(message("a"));
    await logged.promise;
    expect(received.map(({ at }) => at)).toEqual(["/hook"]);
    expect(lines[0]?.code).toBe("authority_redirects");
  });

  it("is not sent to a special-purpose address that is not listed", async () => {
    webhook = new ApprovalWebhook({ ...parts, reach: { ...parts.reach, allowedNetworks: [] } });
    webhook.send(message("a"));
    await logged.promise;
    expect(received).toEqual([]);
    expect(lines[0]?.code).toBe("authority_address_prohibited");
  });

  it("is tried so many times and no more, however soon the receiver wants it again", async () => {
    answers = Array.from({ length: 20 }, () => again);
    webhook.send(message("a"));
    await logged.promise;
    expect(received).toHaveLength(4);
    expect(lines).toEqual([{ message: "the approvals webhook does not take a message", code: "status_429" }]);
  });

  it("is not tried again where that would change nothing", async () => {
    answers = [{ status: 404 }];
    webhook.send(message("a"));
    await logged.promise;
    expect(received).toHaveLength(1);
  });

  it("is noted as sent when it was taken, and not before", async () => {
    answers = [again, again];
    webhook.send(message("a"));
    await sent.promise;
    expect(received).toHaveLength(3);
    expect(lines).toEqual([]);
  });

  it("is made anew before each try, so that what was answered meanwhile is not asked", async () => {
    answers = [again];
    const texts = ["a", undefined];
    const made = Promise.withResolvers<void>();
    webhook.send({
      ...message("a"),
      make: () => {
        const text = texts.shift();
        if (text === undefined) made.resolve();
        return Promise.resolve(text === undefined ? undefined : { text });
      },
    });
    await made.promise;
    webhook.send(message("b"));
    await sent.promise;
    expect(received.map(({ body }) => body)).toEqual(['{"text":"a"}', '{"text":"b"}']);
  });

  it("does not wait with too many others", async () => {
    const open = Promise.withResolvers<undefined>();
    for (let n = 0; n < 33; n++) webhook.send({ ...message("a"), make: () => open.promise });
    expect(lines).toEqual([
      { message: "a question was not sent to the approvals webhook: too many wait", code: undefined },
    ]);
    open.resolve(undefined);
  });

  it("that cannot be made does not hold up the next", async () => {
    webhook.send({ ...message("a"), make: () => Promise.reject(new Error("no store")) });
    webhook.send(message("b"));
    await sent.promise;
    expect(received.map(({ body }) => body)).toEqual(['{"text":"b"}']);
  });
});
