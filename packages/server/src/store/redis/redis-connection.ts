// SPDX-License-Identifier: Apache-2.0
/** One connection to Redis or Valkey: it comes back by itself, answers in time or not at all, and runs scripts. */
import { createHash } from "node:crypto";
import { createClient } from "@redis/client";
import { Fault } from "../../kernel/fault.ts";
import type { RedisSettings } from "./connection-settings.ts";
import { redisFault } from "./redis-fault.ts";

const CONNECT_TIMEOUT = 5000;
/** Agents wait for it. */
const ANSWER_TIMEOUT = 5000;
/** More calls than that wait for a server that does not answer. */
const MOST_WAITING = 10_000;
const LONGEST_PAUSE = 1000;

type Word = string | number;

export class RedisConnection {
  readonly #client: ReturnType<typeof clientOf>;
  readonly #shown: string;
  readonly #digests = new Map<string, string>();

  private constructor(settings: RedisSettings) {
    this.#client = clientOf(settings);
    this.#shown = settings.shown;
    // It tries again by itself, and every call says what is wrong; without a listener it would end the process.
    this.#client.on("error", () => {});
  }

  /** Rejects where the server cannot be reached now. */
  static async open(settings: RedisSettings): Promise<RedisConnection> {
    const connection = new RedisConnection(settings);
    const client = connection.#client;
    const failed = new Promise<never>((_, reject) => client.once("error", reject));
    try {
      await Promise.race([client.connect(), failed]);
      return connection;
    } catch (error) {
      connection.close();
      throw redisFault(error, settings.shown);
    }
  }

  call(...words: readonly Word[]): Promise<unknown> {
    return this.#inTime(this.#client.sendCommand(words.map(String)));
  }

  /** With one key and these arguments; its text is sent where the server does not have it. */
  async run(script: string, key: string, words: readonly Word[]): Promise<unknown> {
    let digest = this.#digests.get(script);
    if (digest === undefined) {
      // As EVALSHA wants it; nothing depends on its strength.
      digest = createHash("sha1").update(script).digest("hex");
      this.#digests.set(script, digest);
    }
    const rest = ["1", key, ...words.map(String)];
    const sent = this.#client.sendCommand(["EVALSHA", digest, ...rest]).catch((error: unknown) => {
      if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
      return this.#client.sendCommand(["EVAL", script, ...rest]);
    });
    return this.#inTime(sent);
  }

  close(): void {
    // What is under way rejects.
    if (this.#client.isOpen) this.#client.destroy();
  }

  async #inTime(answer: Promise<unknown>): Promise<unknown> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const text = `the budget store ${this.#shown} does not answer`;
      timer = setTimeout(() => reject(new Fault("control_plane_unavailable", text)), ANSWER_TIMEOUT);
    });
    try {
      return await Promise.race([answer, late]);
    } catch (error) {
      throw redisFault(error, this.#shown);
    } finally {
      clearTimeout(timer);
    }
  }
}

function clientOf({ host, port, user, password, database, tls }: RedisSettings) {
  const times = {
    connectTimeout: CONNECT_TIMEOUT,
    reconnectStrategy: (retries: number) => Math.min(LONGEST_PAUSE, 50 * 2 ** Math.min(retries, 10)),
  };
  return createClient({
    RESP: 2,
    ...{ database, name: "postern", disableClientInfo: true },
    ...(user === undefined ? {} : { username: user }),
    ...(password === undefined ? {} : { password }),
    socket: tls === undefined ? { host, port, ...times } : { host, port, ...times, ...tls, tls: true },
    // While it is away calls are refused, not kept: nobody is to be let through late.
    disableOfflineQueue: true,
    commandsQueueMaxLength: MOST_WAITING,
    // Otherwise the server may send the client, with its password, to another address.
    maintNotifications: "disabled",
  });
}
