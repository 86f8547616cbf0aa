// SPDX-License-Identifier: Apache-2.0
/** Runs an agent under `postern run` that a test controls connection by connection. */
import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { LeakWatch, POSTERN } from "@postern/testkit";
import type { AgentCommand, AgentEvent } from "./agent-protocol.ts";
import { readAnswer, type Answer } from "./http-answer.ts";

const SCRIPT = fileURLToPath(new URL("remote-agent.ts", import.meta.url));
const PATIENCE = 15_000;

export interface RunAgentOptions {
  /** Data folder of the server. */
  readonly folder: string;
  readonly agent: string;
}

export class RunningAgent {
  readonly environment: Readonly<Record<string, string>>;
  readonly #child: ChildProcess;
  readonly #connections: Map<number, AgentConnection>;

  private constructor(
    child: ChildProcess,
    connections: Map<number, AgentConnection>,
    environment: Readonly<Record<string, string>>,
  ) {
    this.#child = child;
    this.#connections = connections;
    this.environment = environment;
  }

  static async start({ folder, agent }: RunAgentOptions): Promise<RunningAgent> {
    const child = spawn(POSTERN, ["run", "--agent", agent, "--", process.execPath, SCRIPT], {
      env: { ...process.env, POSTERN_HOME: folder },
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    });
    let complaints = "";
    child.stderr.on("data", (text: Buffer) => (complaints += text.toString()));
    child.stdin.on("error", () => {});
    const connections = new Map<number, AgentConnection>();
    const environment = await new Promise<Readonly<Record<string, string>>>((resolve, reject) => {
      child.once("close", (code) => reject(new Error(`the agent ended with ${code}: ${complaints}`)));
      createInterface({ input: child.stdout }).on("line", (line) => {
        const event = JSON.parse(line) as AgentEvent;
        if (event.event === "ready") resolve(event.environment);
        else connections.get(event.id)?.hear(event);
      });
    });
    return new RunningAgent(child, connections, environment);
  }

  connect(to: "gate" | "door" = "gate"): AgentConnection {
    const id = this.#connections.size + 1;
    const connection = new AgentConnection(
      id,
      (command) => void this.#child.stdin!.write(`${JSON.stringify(command)}\n`),
    );
    this.#connections.set(id, connection);
    connection.say({ do: "connect", id, to });
    return connection;
  }

  /** A connection into a tunnel whose TLS is done. */
  async tunnel(host: string, serverName: string | undefined = host): Promise<AgentConnection> {
    const connection = this.connect();
    connection.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`);
    await connection.until((bytes) => bytes.includes("\r\n\r\n"));
    if (!connection.take().toString().startsWith("HTTP/1.1 200")) throw new Error("the tunnel was refused");
    connection.tls(serverName);
    await connection.secure();
    return connection;
  }

  /** One request on a connection of its own. */
  async send(bytes: string | Buffer, to: "gate" | "door" = "gate"): Promise<Answer> {
    const connection = this.connect(to);
    connection.write(bytes);
    try {
      return await connection.answer();
    } finally {
      connection.destroy();
    }
  }

  /** Host value of the gate. */
  get authority(): string {
    return new URL(this.environment["POSTERN_GATE"]!).host;
  }

  /** Ends it; rejects where the agent got a secret, in its environment or in an answer. */
  async stop(): Promise<void> {
    const environment = new LeakWatch("environment of an agent");
    environment.feed(Buffer.from(JSON.stringify(this.environment)));
    const watches = [environment, ...[...this.#connections.values()].map(({ watch }) => watch)];
    await this.#end();
    for (const watch of watches) watch.requireClean();
  }

  async #end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = once(this.#child, "close");
    this.#child.stdin!.end();
    const insist = setTimeout(() => process.kill(-this.#child.pid!, "SIGKILL"), 3000);
    await closed;
    clearTimeout(insist);
  }
}

export class AgentConnection {
  readonly id: number;
  readonly say: (command: AgentCommand) => void;
  readonly watch = new LeakWatch("answer to an agent");
  readonly #changes = new EventEmitter();
  #received: Buffer = Buffer.alloc(0);
  #isSecure = false;
  #closedAt: number | undefined;
  #error: string | undefined;
  #firstByteAt: number | undefined;

  constructor(id: number, say: (command: AgentCommand) => void) {
    this.id = id;
    this.say = say;
  }

  hear(event: Exclude<AgentEvent, { event: "ready" }>): void {
    if (event.event === "data") {
      this.#firstByteAt ??= event.at;
      const bytes = Buffer.from(event.bytes, "base64");
      this.watch.feed(bytes);
      this.#received = Buffer.concat([this.#received, bytes]);
    } else if (event.event === "secure") this.#isSecure = true;
    else if (event.event === "error") this.#error = event.code;
    else this.#closedAt = event.at;
    this.#changes.emit("change");
  }

  get received(): Buffer {
    return this.#received;
  }

  /** When the first byte came that was not taken yet, on the agent's clock. */
  get firstByteAt(): number | undefined {
    return this.#firstByteAt;
  }

  get error(): string | undefined {
    return this.#error;
  }

  get isClosed(): boolean {
    return this.#closedAt !== undefined;
  }

  write(bytes: string | Buffer): void {
    this.say({ do: "write", id: this.id, bytes: Buffer.from(bytes as string, "latin1").toString("base64") });
  }

  tls(serverName: string | undefined, alpn: readonly string[] = ["http/1.1"], isCareless = false): void {
    this.say({ do: "tls", id: this.id, serverName, alpn, isCareless });
  }

  pause(): void {
    this.say({ do: "pause", id: this.id });
  }

  end(): void {
    this.say({ do: "end", id: this.id });
  }

  destroy(): void {
    this.say({ do: "destroy", id: this.id });
  }

  /** What has come, which is then forgotten. */
  take(count = this.#received.length): Buffer {
    const taken = this.#received.subarray(0, count);
    this.#received = this.#received.subarray(count);
    this.#firstByteAt = undefined;
    return taken;
  }

  async until(isEnough: (received: Buffer) => boolean): Promise<Buffer> {
    await this.#wait(() => isEnough(this.#received), "the bytes expected");
    return this.#received;
  }

  async secure(): Promise<void> {
    await this.#wait(() => this.#isSecure, "the TLS handshake");
  }

  /** Resolves with the time of the agent's clock. */
  async closed(): Promise<number> {
    await this.#wait(() => this.#closedAt !== undefined, "the end of the connection");
    return this.#closedAt!;
  }

  /** The next complete answer; also one that ends with the connection. */
  async answer(): Promise<Answer> {
    let answer: { value: Answer; size: number } | undefined;
    await this.#wait(() => {
      answer = readAnswer(this.#received, this.isClosed);
      return answer !== undefined;
    }, "an answer");
    this.take(answer!.size);
    return answer!.value;
  }

  async #wait(isDone: () => boolean, what: string): Promise<void> {
    const deadline = AbortSignal.timeout(PATIENCE);
    while (!isDone()) {
      if (this.isClosed)
        throw new Error(
          `closed (${this.#error ?? "no error"}) before ${what}: ${this.#received.toString("latin1").slice(0, 500)}`,
        );
      try {
        await once(this.#changes, "change", { signal: deadline });
      } catch {
        throw new Error(
          `${what} did not come in ${PATIENCE} ms: ${this.#received.toString("latin1").slice(0, 500)}`,
        );
      }
    }
  }
}
