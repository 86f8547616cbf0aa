// SPDX-License-Identifier: Apache-2.0
/** Which processes of a run hold the client's end of a TCP connection? */
import { setImmediate as breathe } from "node:timers/promises";
import { ok, refuse, type Result } from "../../kernel/result.ts";
import { listMembers, type RunProcesses } from "./membership.ts";
import {
  listDescriptors,
  mappedTcpTableAddress,
  readTcpTable,
  socketAt,
  tcpRows,
  tcpTableAddress,
} from "./proc.ts";

/** Descriptors or table rows looked at before other work gets its turn: less than a millisecond. */
const TURN = 250;
/** A run with more open descriptors than this gets no identity: the search would cost everybody else too much. */
const MOST_DESCRIPTORS = 300_000;

/** Addresses of a connection, as the gate's side has them. */
export interface ConnectionAddresses {
  readonly clientAddress: string;
  readonly clientPort: number;
  readonly gateAddress: string;
  readonly gatePort: number;
}

export interface Holder {
  readonly pid: number;
  /** One of its descriptors for the socket. */
  readonly descriptor: string;
}

export interface Held {
  /** Inode of the client's socket. */
  readonly inode: string;
  readonly holders: readonly Holder[];
}

/** A connection that more processes hold than this gets no identity: each of them would be read at each request. */
const MOST_HOLDERS = 64;

interface Search {
  readonly addresses: ConnectionAddresses;
  inode?: string;
  readonly holders: Holder[];
  readonly settle: (result: Result<Held, string>) => void;
}

/**
 * Searches for one run. The kernel walks its whole table for one question (some 5 ms), so that is read off the
 * event loop, and callers that come while a pass is under way share the next one.
 */
export class HolderSearch {
  readonly #run: RunProcesses;
  #waiting: Search[] = [];
  #busy = false;

  constructor(run: RunProcesses) {
    this.#run = run;
  }

  find(addresses: ConnectionAddresses): Promise<Result<Held, string>> {
    return new Promise((settle) => {
      this.#waiting.push({ addresses, holders: [], settle });
      if (!this.#busy) void this.#work();
    });
  }

  async #work(): Promise<void> {
    this.#busy = true;
    while (this.#waiting.length > 0) {
      const searches = this.#waiting;
      this.#waiting = [];
      // Passes follow each other on purpose: each serves everybody who came meanwhile.
      // eslint-disable-next-line no-await-in-loop
      await this.#pass(searches);
    }
    this.#busy = false;
  }

  /** Settles every search, whatever happens: a server out of descriptors cannot read /proc and must say no. */
  async #pass(searches: readonly Search[]): Promise<void> {
    try {
      await this.#findInodes(searches);
      const complete = await this.#findHolders(searches);
      for (const search of searches) search.settle(resultOf(search, complete));
    } catch {
      for (const { settle } of searches) settle(refuse("the processes of the run could not be read"));
    }
  }

  async #findInodes(searches: readonly Search[]): Promise<void> {
    for (const [family, form] of [
      ["tcp", tcpTableAddress],
      ["tcp6", mappedTcpTableAddress],
    ] as const) {
      const open = searches.filter(({ inode }) => inode === undefined);
      if (open.length === 0) return;
      const wanted = Map.groupBy(
        open,
        ({ addresses: { clientAddress, clientPort, gateAddress, gatePort } }) =>
          [form(clientAddress, clientPort), form(gateAddress, gatePort)].join(" "),
      );
      // The second family is read only for those whom the first one does not have.
      // eslint-disable-next-line no-await-in-loop
      const table = await readTcpTable(this.#run.leader.pid, family);
      let row = 0;
      for (const { local, remote, inode } of tcpRows(table)) {
        for (const search of wanted.get(`${local} ${remote}`) ?? []) search.inode = inode;
        // eslint-disable-next-line no-await-in-loop
        if (++row % TURN === 0) await breathe();
      }
    }
  }

  /** False where the run has too many descriptors to be searched. */
  async #findHolders(searches: readonly Search[]): Promise<boolean> {
    const byInode = Map.groupBy(searches, ({ inode }) => inode);
    let inspected = 0;
    for (const pid of await listMembers(this.#run)) {
      // One process after the other: a hostile run has as many as it likes.
      // eslint-disable-next-line no-await-in-loop
      const descriptors = await listDescriptors(pid);
      const seen = new Set<string>();
      for (const descriptor of descriptors) {
        const inode = socketAt(pid, descriptor);
        if (inode !== undefined && !seen.has(inode)) {
          seen.add(inode);
          for (const search of byInode.get(inode) ?? []) search.holders.push({ pid, descriptor });
        }
        if (++inspected >= MOST_DESCRIPTORS) return false;
        // eslint-disable-next-line no-await-in-loop
        if (inspected % TURN === 0) await breathe();
      }
    }
    return true;
  }
}

function resultOf({ inode, holders }: Search, complete: boolean): Result<Held, string> {
  if (inode === undefined) return refuse("the caller's socket is not in the run's network");
  if (inode === "0") return refuse("the caller closed the connection before it could be identified");
  if (!complete) return refuse("the run has too many open descriptors to find the caller");
  if (holders.length === 0) return refuse("no process of the run holds the connection");
  if (holders.length > MOST_HOLDERS) return refuse("too many processes hold the connection");
  return ok({ inode, holders });
}
