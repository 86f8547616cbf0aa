// SPDX-License-Identifier: Apache-2.0
/**
 * The way between approvals and persons who are not at this machine: messages out, clicks in; each only where asked for.
 *
 * Both secrets are in the vault, read at each use: there they are looked for in what agents send and get, and a new version
 * counts at once.
 */
import { createHash } from "node:crypto";
import type { ApprovalSummary } from "@postern/contract";
import type { Config } from "../config/config.ts";
import type { Vault } from "../credentials/vault/vault.ts";
import type { ApprovalDesk } from "../governance/approval-desk.ts";
import { approvalMessage } from "../governance/approval-message.ts";
import type { Clock } from "../kernel/clock.ts";
import { Fault } from "../kernel/fault.ts";
import { faultFields, type Log } from "../kernel/log.ts";
import type { Secret } from "../kernel/secret.ts";
import { MessageKey } from "../keys/message-key.ts";
import type { EvidenceStore } from "../store/evidence-store.ts";
import { listenForClicks } from "./approval-listener.ts";
import { ApprovalWebhook } from "./approval-webhook.ts";

export interface ChannelParts {
  readonly desk: Pick<ApprovalDesk, "list" | "say" | "show">;
  readonly vault: Pick<Vault, "resolve">;
  readonly evidence: EvidenceStore;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ApprovalChannel {
  asked(approval: ApprovalSummary): void;
  close(): void;
}

type Settings = NonNullable<Config["approvals"]>;

export async function openApprovalChannel(settings: Settings, parts: ChannelParts): Promise<ApprovalChannel> {
  const { listen, networks, signingSecret, webhook: urlSecret } = settings;
  const { clock, log } = parts;
  const key = async (): Promise<MessageKey> => new MessageKey(await secretOf(signingSecret, parts));
  const webhook =
    urlSecret === undefined
      ? undefined
      : new ApprovalWebhook({
          ...{ key, clock, log, reach: { allowedNetworks: networks } },
          url: async () => urlOf(await secretOf(urlSecret, parts)),
        });
  const listener = listen === undefined ? undefined : await listenForClicks(listen, { ...parts, key });
  const asked = (approval: ApprovalSummary): void => webhook?.send(messageOf(approval, parts));
  if (webhook !== undefined)
    void sendMissed(parts, asked).catch((error: unknown) =>
      log.write("warn", "questions from before the start could not be sent", faultFields(error)),
    );
  return {
    asked,
    close: () => {
      webhook?.close();
      listener?.close();
    },
  };
}

const messageOf = ({ id, expiresAt }: ApprovalSummary, { desk, evidence }: ChannelParts) => ({
  make: async () => {
    const details = await desk.show(id);
    return details?.state === "pending" ? approvalMessage(details) : undefined;
  },
  sent: async () => void (await evidence.useOnce(sentMark(id), Date.parse(expiresAt))),
});

/** What was asked while no server could send it; twice is better than never, where it is not known. */
async function sendMissed(
  { desk, evidence }: ChannelParts,
  asked: (approval: ApprovalSummary) => void,
): Promise<void> {
  for (const approval of await desk.list("pending"))
    // eslint-disable-next-line no-await-in-loop
    if (await evidence.useOnce(sentMark(approval.id), Date.parse(approval.expiresAt))) asked(approval);
}

const sentMark = (id: string): string => createHash("sha256").update(`approval message ${id}`).digest("hex");

async function secretOf(name: string, { vault }: ChannelParts): Promise<Secret> {
  const found = await vault.resolve(name);
  if (found.ok) return found.value.secret;
  throw new Fault("credential_unavailable", found.reason.detail);
}

function urlOf(secret: Secret): URL {
  const url = URL.parse(secret.expose("connect").toString("utf8").trim());
  if (url !== null && url.protocol === "https:" && url.username === "" && url.password === "") return url;
  throw new Fault(
    "credential_unavailable",
    "the secret of the approvals webhook is no https URL without user",
  );
}
