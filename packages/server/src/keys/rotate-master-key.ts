// SPDX-License-Identifier: Apache-2.0
/**
 * Puts everything sealed under another master key while the server goes on.
 *
 * Every value is sealed anew, under a new data key, because its content is bound to the master key's id too.
 * The store swaps all of it in one transaction: at every moment exactly one master key opens everything.
 */
import { setImmediate } from "node:timers/promises";
import { Fault } from "../kernel/fault.ts";
import type { KeyEncryption } from "./key-encryption.ts";
import type { KeyRing } from "./key-ring.ts";
import { open, seal, type Sealed, type SealIdentity } from "./seal.ts";

type SealedRow = SealIdentity & Sealed;

/** What this module needs of a store; `main` passes one. */
export interface SealedRows<Row extends SealedRow> {
  masterKeyId(): Promise<string | undefined>;
  all(): Promise<readonly Row[]>;
  /** All at once or not at all; false where the rows are other ones by now. */
  replaceAll(from: string, to: string, rows: readonly Row[]): Promise<boolean>;
}

export interface Rotation {
  readonly from: string;
  readonly to: string;
  /** How many values were sealed anew; 0 where the store was under that key already. */
  readonly values: number;
}

const ATTEMPTS = 10;
/** So many between two turns of the event loop: requests go on meanwhile. */
const AT_ONCE = 50;

/** A value that does not open stops it, is named, and leaves everything as it was. */
export async function rotateMasterKey<Row extends SealedRow>(
  rows: SealedRows<Row>,
  ring: KeyRing,
  to: KeyEncryption,
): Promise<Rotation> {
  ring.accept(to);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const from = (await rows.masterKeyId()) ?? ring.current.id;
    if (from === to.id) {
      await ring.realign();
      return { from, to: to.id, values: 0 };
    }
    const before = await rows.all();
    const after = await resealAll(before, ring, to);
    if (await rows.replaceAll(from, to.id, after)) {
      await ring.realign();
      return { from, to: to.id, values: after.length };
    }
  }
  throw new Fault("resource_conflict", "secrets were changed all the time: nothing was done, try again");
}

async function resealAll<Row extends SealedRow>(
  rows: readonly Row[],
  ring: KeyRing,
  to: KeyEncryption,
): Promise<readonly Row[]> {
  const done: Row[] = [];
  for (const row of rows) {
    const { table, name, version } = row;
    const plain = await open(row, { table, name, version }, ring.opening(row.keyId));
    try {
      done.push({ ...row, ...(await seal(plain, { table, name, version }, to)) });
    } finally {
      plain.wipe();
    }
    if (done.length % AT_ONCE === 0) await setImmediate();
  }
  return done;
}
