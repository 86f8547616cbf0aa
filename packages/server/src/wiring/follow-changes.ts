// SPDX-License-Identifier: Apache-2.0
/** What this server does when another one on the same database has changed something. */
import type { Vault } from "../credentials/vault/vault.ts";
import type { ControlPlane } from "../governance/control-plane.ts";
import { Fault } from "../kernel/fault.ts";
import { faultFields, type Log } from "../kernel/log.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import type { ChangeFeed, ChangeWatch, Epochs } from "../store/changes.ts";

export interface Followers {
  readonly plane: ControlPlane;
  readonly vault: Vault;
  readonly keys: KeyRing;
  readonly log: Log;
  readonly posture: { refresh(): Promise<void> };
  /** Absent where this server issues no identities. */
  readonly issuer?: { refresh(): Promise<void> } | undefined;
}

/** `known`: epochs read before anything else was. */
export function followChanges(feed: ChangeFeed, known: Epochs, parts: Followers): ChangeWatch {
  const { plane, vault, keys, log, issuer, posture } = parts;
  // A credential that cannot be loaded ahead is asked for again by the request that needs it.
  const preload = (): void => void vault.preload().catch(() => {});
  preload();
  return feed.watch(known, {
    async changed(areas) {
      if (areas.includes("secrets")) vault.forgetAll();
      if (areas.includes("resources") || areas.includes("agents")) await refresh(plane);
      if (areas.includes("keys")) await realign(keys, log);
      if (areas.includes("posture")) await posture.refresh();
      if (areas.includes("authorities")) await issuer?.refresh();
      if (areas.includes("secrets")) preload();
    },
    reachable({ isReachable, error }) {
      if (isReachable) log.write("warn", "the database is there again");
      else log.write("error", "the database is lost", faultFields(error));
      // Where that fails, the database is lost again and this is called again.
      if (isReachable) void plane.refresh().catch(() => {});
    },
  });
}

/** What cannot be taken over is said; until it can, the snapshot grows old and is refused in the end. */
async function refresh(plane: ControlPlane): Promise<void> {
  try {
    await plane.refresh();
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Fault(
      "internal_error",
      `what another server stored is of no use here: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
}

/** Without the new key, what is in memory goes on serving. */
async function realign(keys: KeyRing, log: Log): Promise<void> {
  try {
    await keys.realign();
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== "credential_unavailable") throw error;
    log.write("error", "another server changed the master key: run `postern vault accept-key REF` here");
  }
}
