// SPDX-License-Identifier: Apache-2.0
/** Puts approvals together: the desk, what operators say at it, and the sweep that ends what nobody answered. */
import type { ApprovalPorts } from "../api/approval-routes.ts";
import { objectionTo, type OpenRun } from "../attestation/process/who-asks.ts";
import { identityOfAccount } from "../audit/approval-events.ts";
import type { Config } from "../config/config.ts";
import type { AuditEvent } from "../audit/event-frame.ts";
import { ApprovalDesk } from "../governance/approval-desk.ts";
import { GrantDesk } from "../governance/grant-desk.ts";
import type { Vault } from "../credentials/vault/vault.ts";
import type { Clock } from "../kernel/clock.ts";
import { faultFields, type Log } from "../kernel/log.ts";
import { type ContentKey, contentKey } from "../keys/content-key.ts";
import type { ResourceSet } from "../resources/resource-set.ts";
import { type ApprovalChannel, openApprovalChannel } from "./approval-channel.ts";
import type { Storage } from "./open-storage.ts";

export interface ApprovalParts {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly log: Log;
  audit(event: AuditEvent): Promise<void>;
  resources(): ResourceSet;
  /** Open now: their processes approve nothing. */
  runs(): readonly OpenRun[];
  readonly config: Pick<Config, "approvals">;
  readonly vault: Vault;
}

const SWEEP_EVERY = 30_000;

export interface ApprovalsSetUp {
  readonly desk: ApprovalDesk;
  readonly ports: ApprovalPorts;
  close(): void;
}

export async function setUpApprovals(parts: ApprovalParts): Promise<ApprovalsSetUp> {
  const { clock, log, storage } = parts;
  let channel: ApprovalChannel | undefined;
  let key: Promise<ContentKey> | undefined;
  const shared = {
    ...{ clock, resources: () => parts.resources() },
    audit: (event: AuditEvent) => parts.audit(event),
  };
  const grants = new GrantDesk({ ...shared, store: storage.store.grants });
  const desk = new ApprovalDesk({
    ...{ ...shared, grants },
    store: storage.store.approvals,
    asked: (approval) => channel?.asked(approval),
    // Made with the first question: who asks nobody has none.
    contentKey: () => {
      key ??= contentKey("approvals", storage.store.keys, storage.keys);
      key.catch(() => (key = undefined));
      return key;
    },
  });
  const { evidence } = storage.store;
  const settings = parts.config.approvals;
  if (settings !== undefined)
    channel = await openApprovalChannel(settings, { desk, vault: parts.vault, evidence, clock, log });
  const sweep = setInterval(() => {
    desk
      .sweep()
      .catch((error: unknown) => log.write("error", "approvals could not be swept", faultFields(error)));
  }, SWEEP_EVERY);
  sweep.unref();
  const close = (): void => {
    clearInterval(sweep);
    channel?.close();
  };
  return { desk, ports: portsOf(desk, grants, parts), close };
}

const portsOf = (desk: ApprovalDesk, grants: GrantDesk, { runs }: ApprovalParts): ApprovalPorts => {
  const giverOf = ({ pid, uid }: { readonly pid: number; readonly uid: number }) => ({
    identity: identityOfAccount(uid),
    objectionFor: (agent: string) => objectionTo(pid, agent, runs()),
  });
  return {
    list: (which) => desk.list(which),
    show: (id) => desk.show(id),
    say: (id, verdict, { grant, reason }, operator) => {
      const word = { ...giverOf(operator), verdict, reason, isOperator: true };
      return grant === undefined ? desk.say(id, word) : desk.grant(id, word, grant);
    },
    listGrants: (which) => grants.list(which),
    giveGrant: (request, operator) => grants.give(request, giverOf(operator)),
    revokeGrant: (id, { uid }) => grants.revoke(id, identityOfAccount(uid)),
  };
};
