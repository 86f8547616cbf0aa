// SPDX-License-Identifier: Apache-2.0
/** For tests of this folder: keys, events and logs in a temporary folder. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newId } from "../kernel/ids.ts";
import type { CheckpointSigner } from "./checkpoint.ts";
import type { AuditEvent } from "./event-frame.ts";
import { decisionEvent } from "./events.ts";
import { openAuditLog } from "./log.ts";
import type { AuditLog, AuditLogOptions } from "./log.ts";

export const START = Date.UTC(2026, 0, 1);

type TestSigner = CheckpointSigner & { readonly pem: string };

export function newSigner(name = "postern.test/audit"): TestSigner {
  return signerOf(generateKeyPairSync("ed25519").privateKey, name);
}

/** The same in every process: the key of RFC 8032 §7.1, test 1. */
export function childSigner(): TestSigner {
  const seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
  const der = Buffer.from(`302e020100300506032b657004220420${seed}`, "hex");
  return signerOf(createPrivateKey({ key: der, format: "der", type: "pkcs8" }), "postern.test/audit");
}

function signerOf(privateKey: KeyObject, name: string): TestSigner {
  const publicKey = createPublicKey(privateKey);
  return {
    name,
    publicKey: Buffer.from(publicKey.export({ format: "jwk" }).x!, "base64url"),
    sign: (note) => sign(null, note, privateKey),
    pem: publicKey.export({ format: "pem", type: "spki" }),
  };
}

export function anEvent(number: number, id = newId(START + number)): AuditEvent {
  return decisionEvent({
    id,
    time: START + number,
    agent: "support-agent",
    selectors: ["process:uid:1000"],
    serverWorkload: "openai",
    method: "POST",
    host: "api.openai.com",
    path: `/v1/number/${number}`,
    outcome: "allow",
    reasons: [],
    policies: ["support-agent-may-chat"],
    mode: "base-url",
  });
}

/** A folder that goes away with `using`. */
export function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "postern-audit-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export function openLog(
  folder: string,
  signer: CheckpointSigner,
  more: Partial<AuditLogOptions> = {},
): Promise<AuditLog> {
  return openAuditLog({
    folder,
    signer,
    clock: { now: () => START },
    checkpointIntervalMs: 3_600_000,
    ...more,
  });
}

export function appendMany(log: AuditLog, count: number): Promise<void> {
  let durable = Promise.resolve();
  const first = log.size();
  for (let index = first; index < first + count; index++) durable = log.append(anEvent(index)).durable;
  return durable;
}

export async function* linesOf(lines: readonly (string | Buffer)[]): AsyncGenerator<string | Buffer> {
  yield* lines;
}
