// SPDX-License-Identifier: Apache-2.0
/**
 * What is one run of an agent, from the moment an operator opens it until its leader ends?
 *
 * `waiting` for its launch, then `running` with a gate (TCP, in the run's own network where it is isolated) and a
 * door (a Unix socket), then `closed`: listeners gone, connections cut, folder removed.
 */
import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, openSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { faultFields, type Log } from "../../kernel/log.ts";
import { ok, refuse, type Result } from "../../kernel/result.ts";
import { HolderSearch } from "./find-holders.ts";
import type { ExecutableHashes } from "./hash-executable.ts";
import {
  identifyTcpCaller,
  identifyUnixCaller,
  searchIn,
  type CallerFacts,
  type CallerSearch,
  type RunFacts,
} from "./identify-caller.ts";
import { belongsTo, type RunProcesses } from "./membership.ts";
import { receiveLaunch } from "./launch-socket.ts";
import {
  closeDescriptor,
  descriptorOf,
  isAlive,
  openProcess,
  peerCredentials,
  peerProcessHandle,
} from "./native.ts";
import { verifyLeader, type Leader } from "./verify-leader.ts";

export interface RunOptions {
  readonly id: string;
  /** Folder of all runs; the run makes `<folder>/<id>` in it. */
  readonly folder: string;
  /** User whose processes the run is for. */
  readonly uid: number;
  readonly isolated: boolean;
  /** Agent that the operator named. */
  readonly agent?: string;
  readonly launchTimeoutMs: number;
  /** That it may have at once, on gate and door together. */
  readonly mostConnections: number;
  readonly hashes: ExecutableHashes;
  readonly log: Log;
}

export interface PendingCaller {
  readonly run: RunFacts;
  /** Under way since the connection was accepted; every call gives the same answer. */
  identify(): Promise<Result<CallerFacts, string>>;
}

/** The socket is paused: whoever takes it calls `resume()` once its handlers stand. */
export type ConnectionListener = (socket: Socket, caller: PendingCaller) => void;

export type RunState = "waiting" | "verifying" | "running" | "refused" | "closed";

const EXIT_CHECK_MS = 100;
const MOST_LAUNCH_CONNECTIONS = 16;

export class Run {
  readonly facts: RunFacts;
  readonly folder: string;
  readonly launchSocket: string;
  readonly doorSocket: string;
  /** Of the SPIFFE Workload API; there where somebody serves it. */
  readonly workloadSocket: string;
  /** Shown once, to the operator who opened the run. */
  readonly launchToken = randomBytes(32).toString("base64url");
  readonly #options: RunOptions;
  readonly #servers = new Set<Server>();
  readonly #sockets = new Set<Socket>();
  readonly #listeners = new Set<ConnectionListener>();
  readonly #workloadListeners = new Set<ConnectionListener>();
  readonly #closed = Promise.withResolvers<string>();
  readonly #launched = Promise.withResolvers<Result<Leader, string>>();
  #state: RunState = "waiting";
  #isFull = false;
  #launchServer: Server | undefined;
  #launchTimer: NodeJS.Timeout | undefined;
  #exitTimer: NodeJS.Timeout | undefined;
  #pidfd: number | undefined;
  #processes: RunProcesses | undefined;
  #folderDescriptor: number | undefined;

  private constructor(options: RunOptions) {
    this.#options = options;
    const { id, isolated, agent } = options;
    this.facts = { id, isolated, ...(agent === undefined ? {} : { agent }) };
    this.folder = join(options.folder, id);
    this.launchSocket = join(this.folder, "launch.sock");
    this.doorSocket = join(this.folder, "door.sock");
    this.workloadSocket = join(this.folder, "workload.sock");
  }

  /** Makes the folder and opens both sockets; once it resolves the agent may launch. */
  static async open(options: RunOptions): Promise<Run> {
    const run = new Run(options);
    mkdirSync(run.folder, { recursive: true, mode: 0o700 });
    // A socket address holds 107 bytes; through the folder's descriptor every path is short.
    run.#folderDescriptor = openSync(run.folder, "r");
    try {
      run.#launchServer = await run.#listenUnix("launch.sock", MOST_LAUNCH_CONNECTIONS, (socket) =>
        run.#takeLaunch(socket),
      );
    } catch (error) {
      run.close("the launch socket could not be opened");
      throw error;
    }
    run.#launchTimer = setTimeout(() => run.close("no launch in time"), options.launchTimeoutMs);
    run.#launchTimer.unref();
    return run;
  }

  get state(): RunState {
    return this.#state;
  }

  /** The leader once it has launched, or why that will not happen. */
  get launched(): Promise<Result<Leader, string>> {
    return this.#launched.promise;
  }

  /** Resolves with the reason when the run has closed. */
  get closed(): Promise<string> {
    return this.#closed.promise;
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Whether the process is one of this run's; before the launch none is. */
  has(pid: number): boolean {
    return this.#processes !== undefined && belongsTo(pid, this.#processes);
  }

  onConnection(listener: ConnectionListener): void {
    this.#listeners.add(listener);
  }

  /** For connections to the run's Workload API. Called before the launch, or there is no such socket. */
  onWorkload(listener: ConnectionListener): void {
    this.#workloadListeners.add(listener);
  }

  /** Ends the run: nothing is accepted any more and every connection is cut. */
  close(reason = "closed by the server"): void {
    if (this.#state === "closed") return;
    this.#options.log.write("info", "run closed", { run: this.facts.id, state: this.#state });
    this.#state = "closed";
    clearTimeout(this.#launchTimer);
    clearInterval(this.#exitTimer);
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
    if (this.#pidfd !== undefined) closeDescriptor(this.#pidfd);
    rmSync(this.folder, { recursive: true, force: true });
    if (this.#folderDescriptor !== undefined) closeSync(this.#folderDescriptor);
    this.#launched.resolve(refuse(reason));
    this.#closed.resolve(reason);
  }

  #takeLaunch(socket: Socket): void {
    this.#onLaunch(socket).catch((error: unknown) => {
      this.#refuseLaunch(
        `the launch failed: ${error instanceof Error ? error.message : String(error)}`,
        socket,
      );
    });
  }

  async #onLaunch(socket: Socket): Promise<void> {
    this.#track(socket);
    const message = await receiveLaunch(socket, this.launchToken);
    if (message.kind === "gone") return void socket.destroy();
    if (message.kind === "wrong") return this.#refuseLaunch(message.reason, socket);
    if (this.#state !== "waiting") {
      closeDescriptor(message.listener);
      return void socket.end("no the run has been launched already\n");
    }
    this.#state = "verifying";
    const pidfd = openProcess(message.peer.pid);
    this.#pidfd = pidfd;
    const leader =
      pidfd === undefined
        ? refuse("the launching process has ended")
        : await verifyLeader(message.peer, pidfd, message.listener, this.#options);
    if (this.state === "closed") return closeDescriptor(message.listener);
    if (!leader.ok) {
      closeDescriptor(message.listener);
      return this.#refuseLaunch(leader.reason, socket);
    }
    await this.#start(leader.value, message.listener, socket);
  }

  /** A refused launch ends the run, as soon as the refusal is written or the peer is gone. */
  #refuseLaunch(reason: string, socket: Socket): void {
    if (this.#state !== "waiting" && this.#state !== "verifying") return void socket.destroy();
    this.#state = "refused";
    const close = () => this.close(`launch refused: ${reason}`);
    socket.once("close", close);
    socket.end(`no ${reason}\n`, close);
  }

  async #start(leader: Leader, listener: number, socket: Socket): Promise<void> {
    this.#state = "running";
    clearTimeout(this.#launchTimer);
    const { hashes } = this.#options;
    const holders = new HolderSearch(leader.processes);
    const search = searchIn(this.facts, leader.processes, holders, hashes);
    this.#processes = leader.processes;
    try {
      const { mostConnections } = this.#options;
      await this.#listen({ fd: listener }, mostConnections, (each) => this.#onGate(each, search));
      const door = (listeners: ReadonlySet<ConnectionListener>) => (each: Socket) =>
        this.#onDoor(each, search, listeners);
      await this.#listenUnix("door.sock", mostConnections, door(this.#listeners));
      if (this.#workloadListeners.size > 0)
        await this.#listenUnix("workload.sock", mostConnections, door(this.#workloadListeners));
    } catch (error) {
      return this.close(
        `the gate could not be opened: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
    if (this.state === "closed") return;
    this.#launchServer?.close();
    rmSync(this.launchSocket, { force: true });
    this.#exitTimer = setInterval(() => this.#checkLeader(), EXIT_CHECK_MS);
    this.#exitTimer.unref();
    socket.end(`go ${leader.processes.leader.pid}\n`);
    this.#launched.resolve(ok(leader));
  }

  #checkLeader(): void {
    if (this.#pidfd !== undefined && !isAlive(this.#pidfd)) this.close("the agent ended");
  }

  /** Said once: a run that does it does it very often. */
  #turnAway(socket?: Socket): void {
    socket?.destroy();
    if (this.#isFull) return;
    this.#isFull = true;
    const fields = { run: this.facts.id, count: this.#sockets.size };
    this.#options.log.write("warn", "a run has all the connections it may have", fields);
  }

  #onGate(socket: Socket, search: CallerSearch): void {
    const { remoteAddress, remotePort, localAddress, localPort } = socket;
    if (!remoteAddress || !remotePort || !localAddress || !localPort) return void socket.destroy();
    this.#pass(
      socket,
      identifyTcpCaller(search, {
        clientAddress: remoteAddress,
        clientPort: remotePort,
        gateAddress: localAddress,
        gatePort: localPort,
      }),
      this.#listeners,
    );
  }

  #onDoor(socket: Socket, search: CallerSearch, listeners: ReadonlySet<ConnectionListener>): void {
    const fd = descriptorOf(socket);
    const peer = fd === undefined ? undefined : peerCredentials(fd);
    if (fd === undefined || peer === undefined) return void socket.destroy();
    const pidfd = peerProcessHandle(fd);
    const identity = identifyUnixCaller(search, { ...peer, pidfd }).finally(() => {
      if (pidfd !== undefined) closeDescriptor(pidfd);
    });
    this.#pass(socket, identity, listeners);
  }

  #pass(
    socket: Socket,
    identity: Promise<Result<CallerFacts, string>>,
    listeners: ReadonlySet<ConnectionListener>,
  ): void {
    this.#track(socket);
    if (listeners.size === 0) socket.destroy();
    // Settled here, because nobody may ever ask.
    const settled = identity.catch(() => refuse("the caller could not be identified"));
    const caller: PendingCaller = { run: this.facts, identify: () => settled };
    for (const listener of listeners) listener(socket, caller);
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    // Peers vanish at any moment; whoever serves the socket sees it close.
    socket.on("error", () => {});
  }

  #listenUnix(name: string, most: number, take: (socket: Socket) => void): Promise<Server> {
    return this.#listen({ path: `/proc/self/fd/${this.#folderDescriptor}/${name}` }, most, take);
  }

  #listen(
    where: { path: string } | { fd: number },
    most: number,
    take: (socket: Socket) => void,
  ): Promise<Server> {
    // Each listener has its own count, all of them together one limit.
    const server = createServer({ pauseOnConnect: true, noDelay: true, allowHalfOpen: true }, (socket) =>
      this.#sockets.size < most ? take(socket) : this.#turnAway(socket),
    );
    server.maxConnections = most;
    server.on("drop", () => this.#turnAway());
    this.#servers.add(server);
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(where, () => {
        server.off("error", reject);
        // Running out of descriptors must not end the server: the connection is lost, the run goes on.
        server.on("error", (error) => {
          this.#options.log.write("warn", "listener failed", { run: this.facts.id, ...faultFields(error) });
        });
        resolve(server);
      });
    });
  }
}
