// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { PLACEHOLDER_MARKER } from "../../guard/placeholder.ts";
import { refusal } from "../stages/refusal.ts";
import { closePayload } from "./frame-writer.ts";
import { Between, type FarEnd, relayed, SECRET } from "./relay.fixture.ts";

const stars = "*".repeat(SECRET.length);
const rest = SECRET.slice(9);

describe("a secret that would leave", () => {
  it.each<[string, (end: FarEnd) => void, string[]]>([
    ["a message", (agent) => agent.text(`{"key":"${SECRET}"}`), []],
    ["base64", (agent) => agent.text(Buffer.from(`u:${SECRET}`).toString("base64")), []],
    [
      "fragments",
      (agent) => {
        agent.text(`a ${SECRET.slice(0, 9)}`, false);
        agent.control("ping", "");
        agent.text(rest, true);
      },
      ["ping "],
    ],
    [
      "two messages",
      (agent) => {
        agent.text(SECRET.slice(0, 9));
        agent.text(rest);
      },
      [`text ${SECRET.slice(0, 9)}`],
    ],
    ["a ping", (agent) => agent.control("ping", SECRET), []],
    ["a pong", (agent) => agent.control("pong", SECRET.toUpperCase()), []],
    ["the reason of a close", (agent) => agent.control("close", closePayload(1000, SECRET)), []],
    ["a placeholder in a message", (agent) => agent.text(`sk-proj-${PLACEHOLDER_MARKER}0000`), []],
    ["a placeholder in a ping", (agent) => agent.control("ping", PLACEHOLDER_MARKER), []],
  ])("ends the connection, in %s", async (_name, send, before) => {
    const { agent, upstream, ended, relay } = await relayed();
    agent.listen();
    upstream.listen();
    send(agent);
    agent.text("after");
    expect(await ended).toMatchObject({ how: "refused", reason: { code: "content_refused" } });
    expect(await upstream.all()).toEqual([...before, "close 1001"]);
    expect(agent.heard[0]).toMatch(
      /^close 1008 a (secret of the vault|placeholder) would leave in a message$/,
    );
    expect(agent.heard.join()).not.toContain(rest);
    expect(relay.scrubbed).toBe(0);
  });
});

describe("a secret that comes back", () => {
  it("is masked in messages, fragments, pings, pongs and the reason of a close", async () => {
    const { agent, upstream, ended, relay, watch } = await relayed();
    agent.listen();
    upstream.text(`a ${SECRET} b`);
    for (const character of `c ${SECRET}`) upstream.text(character, false);
    upstream.text("", true);
    upstream.stream.write(upstream.writer.data(Buffer.from(SECRET), false, true));
    upstream.control("ping", SECRET);
    upstream.control("pong", SECRET);
    upstream.control("close", closePayload(3000, SECRET));
    upstream.stream.end();
    expect(await ended).toEqual({ how: "complete" });
    expect(await agent.all()).toEqual([
      ...[`text a ${stars} b`, `text c ${stars}`, `binary ${stars}`],
      ...[`ping ${stars}`, `pong ${stars}`, `close 3000 ${stars}`],
    ]);
    expect(relay.scrubbed).toBe(6);
    expect(watch.bytesIn).toBe(6 * SECRET.length + 6);
  });

  it("loses its rest where it comes in two messages, and neither waits for the other", async () => {
    const { agent, upstream, stop, ended } = await relayed();
    agent.listen();
    upstream.text(SECRET.slice(0, 9));
    await vi.waitFor(() => expect(agent.heard).toEqual([`text ${SECRET.slice(0, 9)}`]));
    upstream.text(rest);
    await vi.waitFor(() => expect(agent.heard.at(-1)).toBe(`text ${"*".repeat(rest.length)}`));
    stop.end();
    await ended;
  });
});

describe("a broken frame", () => {
  it("of the agent ends both sides, and only the agent hears why", async () => {
    const { agent, upstream, ended } = await relayed();
    agent.listen();
    upstream.listen();
    agent.text("good");
    agent.stream.write(Buffer.from([0xc1, 0x80, 0, 0, 0, 0]));
    agent.text("after");
    expect(await ended).toEqual({ how: "client_aborted" });
    expect(await agent.all()).toEqual(["close 1002 a reserved bit is set"]);
    expect(await upstream.all()).toEqual(["text good", "close 1001"]);
  });

  it("of the upstream ends both sides", async () => {
    const { agent, upstream, ended } = await relayed();
    agent.listen();
    upstream.listen();
    upstream.stream.write(Buffer.from([0x81, 0x01, 0xff]));
    expect(await ended).toEqual({ how: "upstream_failed" });
    expect(await agent.all()).toEqual(["close 1014 the upstream broke the protocol"]);
    expect(await upstream.all()).toEqual(["close 1007 a text message is not UTF-8"]);
  });
});

describe("an end", () => {
  it("of the agent without a word is told to the upstream", async () => {
    const { agent, upstream, ended } = await relayed();
    upstream.listen();
    agent.stream.destroy();
    expect(await ended).toEqual({ how: "client_aborted" });
    expect(await upstream.all()).toEqual(["close 1001"]);
  });

  it("of either by a reset is no more than that", async () => {
    const one = await relayed();
    one.upstream.listen();
    one.agent.stream.resetAndDestroy();
    expect(await one.ended).toEqual({ how: "client_aborted" });
    expect(await one.upstream.all()).toEqual(["close 1001"]);
    const other = await relayed();
    other.agent.listen();
    other.upstream.stream.resetAndDestroy();
    expect(await other.ended).toEqual({ how: "upstream_failed" });
    expect(await other.agent.all()).toEqual(["close 1014 the upstream broke off"]);
  });

  it("of the upstream without a word is told to the agent", async () => {
    const { agent, upstream, ended } = await relayed();
    agent.listen();
    upstream.text("half", false);
    upstream.stream.end();
    expect(await ended).toEqual({ how: "upstream_failed" });
    expect(await agent.all()).toEqual(["close 1014 the upstream broke off"]);
  });

  it("that one side asks for and the other never answers comes all the same", async () => {
    const { agent, upstream, ended } = await relayed();
    agent.listen();
    upstream.listen();
    agent.control("close", closePayload(1000, "done"));
    expect(await ended).toEqual({ how: "complete" });
    expect(upstream.heard[0]).toBe("close 1000 done");
    expect(await agent.all()).toEqual(["close 1000"]);
  });

  it("by a signal is at once, on both sides, without a word", async () => {
    const { agent, upstream, stop, ended } = await relayed();
    agent.listen();
    upstream.listen();
    agent.text("hello");
    await vi.waitFor(() => expect(upstream.heard).toEqual(["text hello"]));
    stop.end();
    expect(await ended).toEqual({ how: "client_aborted" });
    expect([await agent.all(), await upstream.all()]).toEqual([[], ["text hello"]]);
  });

  it("comes with the next frame when the agent may not go on", async () => {
    const { agent, upstream, watch, ended } = await relayed();
    agent.listen();
    upstream.listen();
    watch.refusal = refusal("agent_quarantined", "agent a has expired");
    upstream.text("late");
    expect(await ended).toEqual({ how: "cut" });
    expect(await agent.all()).toEqual(["close 1008 agent a has expired"]);
    expect(await upstream.all()).toEqual(["close 1001"]);
  });

  it("comes without a frame, too, when the agent may not go on", async () => {
    const { agent, watch, ended } = await relayed({ tick: 5, closing: 50 });
    agent.listen();
    watch.refusal = refusal("agent_unidentified", "the agent is no longer registered");
    expect(await ended).toEqual({ how: "cut" });
    expect(await agent.all()).toEqual(["close 1008 the agent is no longer registered"]);
  });

  it("comes when it is not known any more what to look for", async () => {
    const { agent, upstream, watch, ended } = await relayed();
    agent.listen();
    watch.isReadable = false;
    upstream.text("late");
    expect(await ended).toMatchObject({ how: "refused", reason: { code: "credential_unavailable" } });
    expect(await agent.all()).toEqual(["close 1011 the secrets of the vault cannot be read"]);
  });
});

describe("a peer that is silent", () => {
  it.each(["agent", "upstream"] as const)("is pinged, and given up: the %s", async (silent) => {
    const pair = await relayed({ tick: 10, closing: 50 });
    pair[silent].listen();
    pair[silent === "agent" ? "upstream" : "agent"].answerPings().listen();
    expect(await pair.ended).toEqual({ how: silent === "agent" ? "client_aborted" : "upstream_failed" });
    const [ping, close] = await pair[silent].all();
    expect(ping).toMatch(/^ping .+/s);
    expect(close).toBe("close 1001");
  });

  it("stays as long as it answers, and the other side hears nothing of it", async () => {
    const { agent, upstream, stop, ended } = await relayed({ tick: 5, closing: 50 });
    for (const end of [agent, upstream]) end.answerPings().listen();
    await vi.waitFor(() => {
      for (const end of [agent, upstream]) expect(end.heard.length).toBeGreaterThan(30);
    }, 20_000);
    expect([...agent.heard, ...upstream.heard].filter((each) => !each.startsWith("ping"))).toEqual([]);
    agent.text("still open");
    await vi.waitFor(() => expect(upstream.heard).toContain("text still open"));
    stop.end();
    await ended;
  });
});

it("does not give up who cannot be heard, because the other side does not read", async () => {
  const tick = 20;
  const { agent, upstream, stop, ended } = await relayed({ tick, closing: 50 });
  upstream.listen();
  const texts = (): number => upstream.heard.filter((each) => each === "text I am busy").length;
  // More than the system's own buffers hold: the relay waits for the agent with the rest.
  for (let count = 0; count < 32; count++) upstream.text("x".repeat(1024 * 1024));
  const enough = performance.now() + 60 * tick;
  for (let count = 1; performance.now() < enough; count++) {
    agent.text("I am busy");
    // oxlint-disable-next-line no-await-in-loop
    await vi.waitFor(() => expect(texts()).toBe(count), { interval: 1, timeout: 5000 });
  }
  stop.end();
  await ended;
});

describe("a slow reader", () => {
  it.each(["agent", "upstream"] as const)(
    "keeps the other side waiting, not the memory full: the %s",
    async (slow) => {
      const pair = await relayed();
      const [reader, writer] = slow === "agent" ? [pair.agent, pair.upstream] : [pair.upstream, pair.agent];
      const piece = "x".repeat(1024 * 1024);
      const most = 40;
      let taken = 0;
      const flood = async (): Promise<void> => {
        while (taken < most && !writer.stream.destroyed) {
          writer.text(piece);
          if (writer.stream.writableNeedDrain) await once(writer.stream, "drain");
          taken++;
        }
      };
      const flooding = flood();
      await vi.waitFor(() => expect(taken).toBeGreaterThan(0));
      for (let turn = 0; turn < 500; turn++) await nextTurn();
      // What the system's own buffers hold; the gateway adds a piece or two.
      expect(taken).toBeLessThan(most * 0.75);
      reader.listen();
      await flooding;
      await vi.waitFor(() => expect(reader.heard.length).toBe(most), 20_000);
      pair.stop.end();
      await pair.ended;
    },
  );
});

describe("between somebody else's client and server", () => {
  let between: Between;
  beforeAll(async () => {
    between = await Between.start();
    between.upstream.on("connection", (socket) => {
      socket.on("message", (data: Buffer, isBinary: boolean) => {
        if (data.toString() === "close") return socket.close(4001, "as you wish");
        if (data.toString() === "ping") return socket.ping("are you there");
        if (data.toString() === "vanish") return socket.terminate();
        const half = Math.floor(data.length / 2);
        socket.send(data.subarray(0, half), { binary: isBinary, fin: false });
        socket.send(data.subarray(half), { binary: isBinary, fin: true });
      });
      socket.on("pong", (data: Buffer) => socket.send(`pong ${data.toString()}`));
    });
  });
  afterAll(() => between.close());

  const opened = async () => {
    const client = between.client();
    await once(client, "open");
    return client;
  };
  const next = async (client: Awaited<ReturnType<typeof opened>>): Promise<[Buffer, boolean]> =>
    (await once(client, "message")) as [Buffer, boolean];

  it("messages of any kind and size come and go", async () => {
    const client = await opened();
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.string({ unit: "grapheme" }), fc.integer({ min: 0, max: 200_000 })),
        fc.boolean(),
        async (content, isBinary) => {
          const data = typeof content === "string" ? Buffer.from(content) : Buffer.alloc(content, "a");
          fc.pre(!["close", "ping", "vanish"].includes(data.toString()));
          client.send(data, { binary: isBinary });
          const [back, wasBinary] = await next(client);
          expect(back.equals(data)).toBe(true);
          expect(wasBinary).toBe(isBinary);
        },
      ),
      { numRuns: 60 },
    );
    client.terminate();
  });

  it("no extension comes about, although both want one", async () => {
    const client = await opened();
    expect(client.extensions).toBe("");
    client.terminate();
  });

  it("pings and pongs go through with what they carry", async () => {
    const client = await opened();
    client.ping("hello");
    expect(String((await once(client, "pong"))[0])).toBe("hello");
    client.send("ping");
    expect(String((await once(client, "ping"))[0])).toBe("are you there");
    expect((await next(client))[0].toString()).toBe("pong are you there");
    client.terminate();
  });

  it("the upstream's close goes through with code and reason", async () => {
    const client = await opened();
    client.send("close");
    const [code, reason] = (await once(client, "close")) as [number, Buffer];
    expect([code, reason.toString()]).toEqual([4001, "as you wish"]);
    expect(await between.ends.at(-1)).toEqual({ how: "complete" });
  });

  it("the agent's close goes through with code and reason", async () => {
    const arrived = once(between.upstream, "connection");
    const client = await opened();
    const [server] = (await arrived) as [NodeJS.EventEmitter];
    const closed = once(server, "close");
    client.close(3001, "enough");
    const [code, reason] = (await closed) as [number, Buffer];
    expect([code, reason.toString()]).toEqual([3001, "enough"]);
    await once(client, "close");
    expect(await between.ends.at(-1)).toEqual({ how: "complete" });
  });

  it("an upstream that vanishes is a bad gateway", async () => {
    const client = await opened();
    client.send("vanish");
    expect((await once(client, "close"))[0]).toBe(1014);
    expect(await between.ends.at(-1)).toEqual({ how: "upstream_failed" });
  });
});

describe("somebody else's server", () => {
  it("may choose one of the subprotocols that were offered, and no other", async () => {
    const between = await Between.start("b");
    const client = between.client(["a", "b"]);
    await once(client, "open");
    expect(client.protocol).toBe("b");
    client.terminate();
    const refused = between.client(["a"]);
    const [, response] = (await once(refused, "unexpected-response")) as [unknown, { statusMessage: string }];
    expect(response.statusMessage).toBe("the upstream chose a subprotocol that was not offered");
    await between.close();
  });
});
