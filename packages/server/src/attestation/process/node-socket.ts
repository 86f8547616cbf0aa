// SPDX-License-Identifier: Apache-2.0
/**
 * Where do processes of this machine ask that no run was opened for?
 *
 * One Unix socket that every account may connect to. Who connected is asked of the kernel; which identity it gets, if
 * any, is asked of the agents' selectors. No account may take all the connections.
 */
import { chmodSync, lstatSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { faultFields, type Log } from "../../kernel/log.ts";
import { refuse, type Result } from "../../kernel/result.ts";
import { ExecutableHashes } from "./hash-executable.ts";
import { type CallerFacts, identifyUnixCaller } from "./identify-caller.ts";
import { closeDescriptor, descriptorOf, peerCredentials, peerProcessHandle } from "./native.ts";
import { descriptorLimit } from "./proc.ts";

export interface NodeCaller {
  /** Under way since the connection was accepted; every call gives the same answer. */
  identify(): Promise<Result<CallerFacts, string>>;
}

export interface NodeSocketParts {
  readonly path: string;
  readonly log: Log;
  /** Whether a process belongs to a run: it has a socket of its own, and is somebody there. */
  isInRun(pid: number): boolean;
  /** The socket is paused: whoever takes it calls `resume()` once its handlers stand. */
  onConnection(socket: Socket, caller: NodeCaller): void;
}

const MOST_CONNECTIONS = 8192;
/** This part of the descriptors that the server may have: runs and upstreams need theirs. */
const PART_OF_DESCRIPTORS = 4;
const LONGEST_PATH = 107;

export class NodeSocket {
  readonly #parts: NodeSocketParts;
  readonly #server: Server;
  readonly #hashes = new ExecutableHashes();
  /** Account → open connections. */
  readonly #connections = new Map<number, number>();
  readonly #most = Math.min(MOST_CONNECTIONS, Math.floor(descriptorLimit() / PART_OF_DESCRIPTORS));
  /** Device and inode of our own socket. */
  #identity: string | undefined;
  #isFull = false;

  private constructor(parts: NodeSocketParts) {
    this.#parts = parts;
    const { log } = parts;
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) =>
      this.#take(socket),
    );
    this.#server.maxConnections = this.#most;
    this.#server.on("drop", () => this.#sayFull());
    // Running out of descriptors must not end the server.
    this.#server.on("error", (error) => log.write("warn", "listener failed", faultFields(error)));
  }

  /** @throws {Error} where something else stands at the path, or a server that is alive */
  static async open(parts: NodeSocketParts): Promise<NodeSocket> {
    const { path } = parts;
    if (Buffer.byteLength(path) > LONGEST_PATH)
      throw new Error(`the path ${path} is too long for a socket: at most ${LONGEST_PATH} bytes`);
    await removeStale(path);
    const opened = new NodeSocket(parts);
    await new Promise<void>((resolve, reject) => {
      opened.#server.once("error", reject);
      opened.#server.listen(path, () => {
        opened.#server.off("error", reject);
        resolve();
      });
    });
    // Whoever may reach it is decided by its folder, who gets something by attestation.
    chmodSync(path, 0o666);
    opened.#identity = identityOf(path);
    return opened;
  }

  /** Open connections are whoever's who took them. */
  close(): void {
    const { path } = this.#parts;
    // Node removes the path when it closes, whoever stands there by then: so what is not ours is left first.
    if (identityOf(path) === this.#identity) rmSync(path, { force: true });
    this.#server.close();
  }

  #take(socket: Socket): void {
    const fd = descriptorOf(socket);
    const peer = fd === undefined ? undefined : peerCredentials(fd);
    if (fd === undefined || peer === undefined) return void socket.destroy();
    const open = this.#connections.get(peer.uid) ?? 0;
    if (open >= this.#most / 2) {
      this.#sayFull();
      return void socket.destroy();
    }
    this.#connections.set(peer.uid, open + 1);
    socket.once("close", () => this.#release(peer.uid));
    // Peers vanish at any moment; whoever serves the socket sees it close.
    socket.on("error", () => {});
    const pidfd = peerProcessHandle(fd);
    const strangerProblem = (pid: number) =>
      this.#parts.isInRun(pid)
        ? "the caller belongs to a run, which has a Workload API of its own"
        : undefined;
    const bounds = { run: undefined, hashes: this.#hashes, strangerProblem };
    const identity = identifyUnixCaller(bounds, { ...peer, pidfd })
      .catch(() => refuse("the caller could not be identified"))
      .finally(() => {
        if (pidfd !== undefined) closeDescriptor(pidfd);
      });
    this.#parts.onConnection(socket, { identify: () => identity });
  }

  #release(uid: number): void {
    const left = (this.#connections.get(uid) ?? 1) - 1;
    if (left > 0) this.#connections.set(uid, left);
    else this.#connections.delete(uid);
  }

  /** Said once: whoever does it does it very often. */
  #sayFull(): void {
    if (this.#isFull) return;
    this.#isFull = true;
    this.#parts.log.write("warn", "the socket for local workloads has all the connections it may have");
  }
}

function identityOf(path: string): string | undefined {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? undefined : `${found.dev}:${found.ino}`;
}

/** A socket that a killed server left behind, and nothing else. */
async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`${path} is not a socket: move it away`);
  const isServed = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
  if (isServed) throw new Error(`${path} is served by another program`);
  rmSync(path, { force: true });
}
