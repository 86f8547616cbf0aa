// SPDX-License-Identifier: Apache-2.0
/** Runs an agent under `postern run` that a test controls WebSocket by WebSocket. */
import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { POSTERN } from "@postern/testkit";
import type { RunAgentOptions } from "./run-agent.ts";
import type { SocketCommand, SocketEvent } from "./websocket-agent.ts";

const SCRIPT = fileURLToPath(new URL("websocket-agent.ts", import.meta.url));
const PATIENCE = 15_000;

/** The two ways to a WebSocket that agents have. */
export type Way = "base URL" | "proxy";

export interface OpenOptions {
  readonly way?: Way;
  readonly protocols?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
}

export class SocketAgent {
  readonly #child: ChildProcess;
  readonly #sockets = new Map<number, AgentSocket>();

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start({ folder, agent }: RunAgentOptions): Promise<SocketAgent> {
    const child = spawn(POSTERN, ["run", "--agent", agent, "--", process.execPath, SCRIPT], {
      env: { ...process.env, POSTERN_HOME: folder },
      stdio: ["pipe", "pipe", "pipe"],
    });
    let complaints = "";
    child.stderr.on("data", (text: Buffer) => (complaints += text.toString()));
    child.stdin.on("error", () => {});
    const started = new SocketAgent(child);
    await new Promise<void>((resolve, reject) => {
      child.once("close", (code) => reject(new Error(`the agent ended with ${code}: ${complaints}`)));
      createInterface({ input: child.stdout }).on("line", (line) => {
        const event = JSON.parse(line) as SocketEvent;
        if (event.event === "ready") resolve();
        else started.#sockets.get(event.id)?.hear(event);
      });
    });
    return started;
  }

  /** Asks for a WebSocket at a path of OpenAI's API; what comes of it is an event. */
  ask(path: string, { way = "base URL", protocols = [], headers = {} }: OpenOptions = {}): AgentSocket {
    const id = this.#sockets.size + 1;
    const socket = new AgentSocket(
      id,
      (command) => void this.#child.stdin!.write(`${JSON.stringify(command)}\n`),
    );
    this.#sockets.set(id, socket);
    const url = way === "proxy" ? `wss://api.openai.com${path}` : `ws://{gate}/openai${path}`;
    socket.say({ do: "open", id, url, throughProxy: way === "proxy", protocols, headers });
    return socket;
  }

  /** The same, and it was opened. */
  async open(path: string, options: OpenOptions = {}): Promise<AgentSocket> {
    const socket = this.ask(path, options);
    await socket.next("open");
    return socket;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = once(this.#child, "close");
    this.#child.stdin!.end();
    const insist = setTimeout(() => this.#child.kill("SIGKILL"), 3000);
    await closed;
    clearTimeout(insist);
  }
}

type EventOf<Name extends SocketEvent["event"]> = Extract<SocketEvent, { event: Name }>;

export class AgentSocket {
  readonly id: number;
  readonly say: (command: SocketCommand) => void;
  readonly heard: SocketEvent[] = [];
  readonly #changes = new EventEmitter();
  #taken = 0;

  constructor(id: number, say: (command: SocketCommand) => void) {
    this.id = id;
    this.say = say;
  }

  hear(event: SocketEvent): void {
    this.heard.push(event);
    this.#changes.emit("change");
  }

  send(data: string | Buffer, isLast = true): void {
    const bytes = Buffer.from(data as string).toString("base64");
    this.say({ do: "send", id: this.id, bytes, isBinary: typeof data !== "string", isLast });
  }

  /** The next event, which must be of this kind. */
  async next<Name extends SocketEvent["event"]>(name: Name): Promise<EventOf<Name>> {
    const deadline = AbortSignal.timeout(PATIENCE);
    while (this.heard.length <= this.#taken) {
      // oxlint-disable-next-line no-await-in-loop
      await once(this.#changes, "change", { signal: deadline }).catch(() => {
        throw new Error(`${name} did not come in ${PATIENCE} ms`);
      });
    }
    const event = this.heard[this.#taken++]!;
    if (event.event !== name) throw new Error(`not ${name}, but ${JSON.stringify(event)}`);
    return event as EventOf<Name>;
  }

  /** The next message as text. */
  async text(): Promise<string> {
    return Buffer.from((await this.next("message")).bytes, "base64").toString();
  }

  async json(): Promise<Record<string, unknown>> {
    return JSON.parse(await this.text()) as Record<string, unknown>;
  }
}
