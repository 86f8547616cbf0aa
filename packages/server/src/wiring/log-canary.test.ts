// SPDX-License-Identifier: Apache-2.0
/** Every place that logs a surprise is given one whose words hold a secret. */
import { once } from "node:events";
import { request } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createApiServer } from "../api/router.ts";
import { Runs } from "../attestation/process/runs.ts";
import type { Vault } from "../credentials/vault/vault.ts";
import type { ControlPlane } from "../governance/control-plane.ts";
import { Fault } from "../kernel/fault.ts";
import { faultFields, jsonLog, type Log } from "../kernel/log.ts";
import { Secret } from "../kernel/secret.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import type { ChangeListener } from "../store/changes.ts";
import { aDecision, anOutcome, aRefusal } from "../telemetry/exchange.fixture.ts";
import { RequestLog } from "../telemetry/request-log.ts";
import { followChanges } from "./follow-changes.ts";

const CANARY = "canary-Zq8vX2mT4nB7";
/** As an error of a library would: words, a cause, more members, and a stack that repeats the words. */
const surprise = (): Error =>
  Object.assign(
    new Error(`${CANARY} at postgres://u:${CANARY}@h/d\n    at ${CANARY} (/x/${CANARY}.ts:1:1)`, {
      cause: new TypeError(CANARY),
    }),
    { detail: CANARY, key: Secret.fromUtf8(CANARY), body: Buffer.from(CANARY), query: CANARY },
  );
const fault = (): Fault => new Fault("credential_unavailable", CANARY, { cause: surprise() });

function listening(): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const log = jsonLog(
    (line) => void lines.push(line),
    () => 0,
    "debug",
  );
  return { log, lines };
}

describe("the log holds no canary", () => {
  it("of an operator's request that fails unexpectedly", async () => {
    const { log, lines } = listening();
    const handler = () => Promise.reject(surprise());
    const api = createApiServer([{ method: "GET", path: "/:", handler }], () => ({ uid: 0, pid: 1 }), log);
    api.listen(0, "127.0.0.1");
    await once(api, "listening");
    const { port } = api.address() as AddressInfo;
    const sent = request({ port, host: "127.0.0.1", path: `/${CANARY}`, agent: false }).end();
    const [response] = (await once(sent, "response")) as [NodeJS.ReadableStream];
    response.resume();
    api.close();
    api.closeAllConnections();
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { level: "error", message: "operator request failed", error: "Error" },
    ]);
    expect(lines.join("")).not.toMatch(/Zq8vX|withheld/);
  });

  it("of a database that is lost, and of keys that another server changed", async () => {
    const { log, lines } = listening();
    let listener!: ChangeListener;
    const unavailable = (): Promise<never> => Promise.reject(fault());
    followChanges(
      {
        watch: (_known, given) => {
          listener = given;
          return { age: () => 0, stop: async () => {} };
        },
      },
      { resources: 0, agents: 0, secrets: 0, keys: 0, authorities: 0, posture: 0 },
      {
        plane: { refresh: unavailable } as unknown as ControlPlane,
        vault: { preload: unavailable, forgetAll: () => {} } as unknown as Vault,
        keys: { realign: unavailable } as unknown as KeyRing,
        posture: { refresh: unavailable },
        log,
      },
    );
    listener.reachable({ isReachable: false, error: surprise() });
    listener.reachable({ isReachable: false, error: fault() });
    listener.reachable({ isReachable: true });
    await listener.changed(["keys", "secrets"]);
    expect(lines).toHaveLength(4);
    expect(lines[1]).toContain('"error":"credential_unavailable:Error"');
    expect(lines.join("")).not.toMatch(/Zq8vX|withheld/);
  });

  it("of a run that is closed with a reason", async () => {
    const { log, lines } = listening();
    const folder = mkdtempSync(join(tmpdir(), "postern-log-"));
    try {
      const runs = new Runs(join(folder, "runs"), log);
      const run = await runs.openRun({ uid: 0, isolated: true, agent: CANARY });
      run.close(`launch refused: ${CANARY}`);
      expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
        { level: "info", message: "run closed", run: run.facts.id, state: "waiting" },
      ]);
      expect(lines.join("")).not.toMatch(/Zq8vX|withheld/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("of requests, whatever their records hold", () => {
    const { log, lines } = listening();
    const requests = new RequestLog(log);
    const made = { method: CANARY, host: CANARY, model: CANARY };
    requests.ended(aDecision(made), aRefusal("content_refused"));
    requests.ended(aDecision(made), anOutcome());
    expect(lines).toHaveLength(2);
    expect(lines.join("")).not.toMatch(/Zq8vX|withheld/);
  });

  it("of anything else: every line of the server's sources that logs passes literals, or `faultFields`", () => {
    const { log, lines } = listening();
    log.write("error", "anything", faultFields(surprise()));
    log.write("error", "anything", faultFields(fault()));
    expect(lines.join("")).not.toMatch(/Zq8vX|withheld/);
    const root = join(import.meta.dirname, "..");
    const sources = readdirSync(root, { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts"))
      .map((path) => readFileSync(join(root, path), "utf8"));
    const calls = sources.flatMap((text) => [...text.matchAll(/\blog\.write\(([^;]*?)\);/gs)]);
    expect(calls.length).toBeGreaterThan(8);
    expect(calls.filter(([call]) => /\.(message|stack|detail)\b|`[^`]*\$\{/.test(call))).toEqual([]);
  });
});
