// SPDX-License-Identifier: Apache-2.0
import type { AttestRequest, AttestResponse } from "@postern/contract";
import { describe, expect, it, vi } from "vitest";
import { Ending } from "../../gateway/ending.ts";
import type { Exchange, HeaderList } from "../../gateway/http/messages.ts";
import { jsonLog } from "../../kernel/log.ts";
import { attestEndpoint } from "./attest-endpoint.ts";
import { RateLimit } from "./rate-limit.ts";

const LOG: string[] = [];
const log = jsonLog(
  (line) => LOG.push(line),
  () => 0,
  "debug",
);

interface Told {
  readonly status: number;
  readonly body: unknown;
  readonly retryAfter: string | undefined;
}

/** A request of a stranger, and what it is told. */
function exchangeOf(
  target: string,
  method: string,
  chunks: AsyncIterable<Buffer>,
): [Exchange, Promise<Told>] {
  const told = Promise.withResolvers<Told>();
  const exchange = {
    request: { method, target, headers: [] as HeaderList, body: chunks },
    entrance: { kind: "door", authorities: [] },
    gone: new Ending(),
    startAnswer: ({ headers, status }: { status: number; headers: HeaderList }) => ({
      write: async () => {},
      end: async (last?: Buffer) => {
        const retryAfter = headers.find(([name]) => name === "retry-after")?.[1];
        told.resolve({ status, body: JSON.parse(String(last)), retryAfter });
      },
    }),
    switchProtocols: () => {
      throw new Error("not here");
    },
    reject: told.reject,
    destroy(this: { reject(error: Error): void }) {
      this.reject(new Error("destroyed"));
    },
  } as unknown as Exchange;
  return [exchange, told.promise];
}

async function* bytes(...chunks: readonly (string | Buffer)[]): AsyncIterable<Buffer> {
  for (const chunk of chunks) yield Buffer.from(chunk as string);
}

function endpoint(attest: (request: AttestRequest) => Promise<AttestResponse>, burst = 1000) {
  const asked: AttestRequest[] = [];
  const rate = new RateLimit({ burst, perSecond: 1, mostCallers: 10, now: () => 0 });
  const take = attestEndpoint({ attest: (request) => (asked.push(request), attest(request)), log, rate });
  const tell = (chunks: AsyncIterable<Buffer>, peer = "192.0.2.1", method = "POST"): Promise<Told> => {
    const [exchange, told] = exchangeOf("/v1/attest", method, chunks);
    expect(take(peer)(exchange)).toBe(true);
    return told;
  };
  return { asked, take, tell };
}

const matched = async (): Promise<AttestResponse> => ({ id: "1", outcome: "matched", agent: "secret-name" });
const good = JSON.stringify({ provider: "ci", evidence: Buffer.from("x").toString("base64") });

describe("a stranger", () => {
  it.each<[string, AsyncIterable<Buffer>]>([
    ["nothing", bytes()],
    ["no JSON", bytes("{")],
    ["no request", bytes("[]")],
    ["a member that there is not", bytes(JSON.stringify({ ...JSON.parse(good), admin: true }))],
    ["evidence that is not base64", bytes(JSON.stringify({ provider: "ci", evidence: "%%" }))],
    ["too much at once", bytes(Buffer.alloc(200_000, "x"))],
    ["too much bit by bit", bytes(...Array.from({ length: 200 }, () => Buffer.alloc(1000, "x")))],
  ])("that sends %s is told one word, and nothing is checked", async (_, chunks) => {
    const { asked, tell } = endpoint(matched);
    expect(await tell(chunks)).toEqual({ status: 403, body: { outcome: "refused" }, retryAfter: undefined });
    expect(asked).toEqual([]);
  });

  it("is not told which agent it is, nor why not", async () => {
    const { tell } = endpoint(matched);
    expect(await tell(bytes(good))).toMatchObject({ status: 200, body: { id: "1", outcome: "matched" } });
    expect(JSON.stringify(await tell(bytes(good)))).not.toContain("secret-name");
  });

  it.each(["refused", "unavailable"] as const)("is told %s as a status, too", async (outcome) => {
    const { tell } = endpoint(async () => ({ id: "1", outcome }));
    const { body, status } = await tell(bytes(good));
    expect({ body, status }).toEqual({
      body: { id: "1", outcome },
      status: outcome === "refused" ? 403 : 503,
    });
  });

  it("is told that nobody can tell where checking fails, and the log has no word of the evidence", async () => {
    const { tell } = endpoint(async () => {
      throw new Error(`broken by ${good}`);
    });
    expect(await tell(bytes(good))).toMatchObject({ status: 503, body: { outcome: "unavailable" } });
    expect(LOG.join()).toContain("evidence could not be checked");
    expect(LOG.join()).not.toContain("provider");
  });

  it("that asks too often waits, and others do not", async () => {
    const { tell } = endpoint(matched, 2);
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await tell(bytes(good))).status);
    expect(statuses).toEqual([200, 200, 429]);
    expect((await tell(bytes(good), "192.0.2.2")).status).toBe(200);
  });

  it("that does not come to an end of its evidence loses its connection", async () => {
    vi.useFakeTimers();
    try {
      const never = async function* (): AsyncIterable<Buffer> {
        yield Buffer.from("{");
        await new Promise(() => {});
      };
      const told = endpoint(matched)
        .tell(never())
        .catch((error: unknown) => error);
      await vi.advanceTimersByTimeAsync(10_000);
      expect(await told).toMatchObject({ message: expect.stringContaining("destroyed") });
    } finally {
      vi.useRealTimers();
    }
  });

  it("that leaves many requests open makes later ones wait, and no longer than they are open", async () => {
    const over = Promise.withResolvers<AttestResponse>();
    const { tell } = endpoint(() => over.promise);
    const open = Array.from({ length: 64 }, () => tell(bytes(good)));
    expect(await tell(bytes(good))).toMatchObject({ status: 429, retryAfter: "5" });
    over.resolve({ id: "1", outcome: "refused" });
    await Promise.all(open);
    await expect.poll(async () => (await tell(bytes(good))).status).toBe(403);
  });

  it("cannot ask in another way, and gets no other place of the API here", async () => {
    const { take, tell } = endpoint(matched);
    expect((await tell(bytes(), "192.0.2.1", "GET")).status).toBe(405);
    for (const target of ["/v1/attest/", "/v1/attest?x", "/v1/status", "https://x/v1/attest"])
      expect(take("192.0.2.1")(exchangeOf(target, "POST", bytes(good))[0])).toBe(false);
  });
});
