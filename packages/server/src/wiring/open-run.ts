// SPDX-License-Identifier: Apache-2.0
/** Opens a run for an operator: door, certificates, environment; audited when it opens and when it ends. */
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { OpenRunRequest, OpenRunResponse, RunSummary } from "@postern/contract";
import { type OpenRun, openerOf } from "../attestation/process/who-asks.ts";
import type { Run } from "../attestation/process/run.ts";
import type { Runs } from "../attestation/process/runs.ts";
import { runEvent } from "../audit/change-events.ts";
import type { AuditEvent } from "../audit/event-frame.ts";
import type { Vault } from "../credentials/vault/vault.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { InterceptionAuthority } from "../gateway/ports.ts";
import type { Clock } from "../kernel/clock.ts";
import { newId } from "../kernel/ids.ts";
import { nearestName } from "../kernel/nearest-name.ts";
import { type Result, ok, refuse } from "../kernel/result.ts";
import type { Profile } from "../profiles/profile.ts";
import type { ResourceSet } from "../resources/resource-set.ts";
import { addedVariables, removedVariables } from "./agent-environment.ts";
import { authorityBundle } from "./authority.ts";
import { serveRun } from "./run-callers.ts";

export interface RunParts {
  readonly runs: Runs;
  readonly gateway: Gateway;
  readonly vault: Vault;
  readonly authority: InterceptionAuthority;
  readonly profiles: ReadonlyMap<string, Profile>;
  readonly dataFolder: string;
  readonly clock: Clock;
  /** Absent where this server issues no identities. */
  readonly workloads?: { serve(run: Run): void } | undefined;
  resources(): ResourceSet;
  audit(event: AuditEvent): Promise<void>;
}

/** Device and inode, by which a folder is told from another at the same path. */
function identityOf(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? undefined : `${found.dev}:${found.ino}`;
}

export class RunDesk {
  readonly #parts: RunParts;
  readonly #bundle: string;
  /** As it was when the server started: the path may be led elsewhere later. */
  readonly #dataFolder: string | undefined;
  readonly #summaries = new Map<string, RunSummary>();
  readonly #processes = new Map<string, OpenRun>();

  constructor(parts: RunParts) {
    this.#parts = parts;
    this.#dataFolder = identityOf(parts.dataFolder);
    this.#bundle = authorityBundle(parts.authority);
  }

  /** Runs whose agent has been started. */
  get open(): readonly RunSummary[] {
    return [...this.#summaries.values()].filter(({ pid }) => pid !== undefined);
  }

  /** Which processes belong to runs, and who started them. */
  get processes(): readonly OpenRun[] {
    return [...this.#processes.values()];
  }

  async openRun(
    request: OpenRunRequest,
    operator: { uid: number; pid: number },
  ): Promise<Result<OpenRunResponse, string>> {
    if (this.#dataFolder === undefined || identityOf(this.#parts.dataFolder) !== this.#dataFolder)
      return refuse(
        `${this.#parts.dataFolder} is no longer the folder that this server was started with; ` +
          "find out who moved it, put it back and start the server again",
      );
    const chosen = this.#chooseAgent(request.agent);
    if (!chosen.ok) return chosen;
    const { runs, gateway, vault, profiles, dataFolder, resources } = this.#parts;
    const { isolated } = request;
    const agent = chosen.value;
    const run = await runs.openRun({
      uid: operator.uid,
      isolated,
      ...(agent === undefined ? {} : { agent }),
    });
    try {
      const authority = join(run.folder, "ca.pem");
      const bundle = join(run.folder, "ca-bundle.pem");
      writeFileSync(authority, this.#parts.authority.certificatePem, { mode: 0o444 });
      writeFileSync(bundle, this.#bundle, { mode: 0o444 });
      this.#note(run, { id: run.facts.id, agent, opener: openerOf(operator.pid) });
      await this.#record(run, agent, request, operator.uid);
      serveRun(run, gateway, resources);
      this.#parts.workloads?.serve(run);
      return ok({
        run: run.facts.id,
        folder: run.folder,
        launchSocket: run.launchSocket,
        launchToken: run.launchToken,
        environment: {
          ...addedVariables(resources(), profiles, agent, { authority, bundle, doorSocket: run.doorSocket }),
          POSTERN_RUN: run.facts.id,
          // Workload Endpoint §4: how clients find it.
          ...(this.#parts.workloads === undefined
            ? {}
            : { SPIFFE_ENDPOINT_SOCKET: `unix://${run.workloadSocket}` }),
        },
        removedVariables: removedVariables(
          request.environment,
          request.keep,
          await vault.allSecrets(),
          profiles.values(),
        ),
        hide: [dataFolder],
        identities: Object.fromEntries(
          [dataFolder, run.folder].map((path) => [path, identityOf(path) ?? "missing"]),
        ),
      });
    } catch (error) {
      run.close("the run could not be opened");
      throw error;
    }
  }

  #note(run: Run, open: OpenRun): void {
    this.#processes.set(open.id, open);
    void run.launched.then((leader) => {
      if (leader.ok && this.#processes.has(open.id))
        this.#processes.set(open.id, { ...open, processes: leader.value.processes });
    });
    void run.closed.then(() => this.#processes.delete(open.id));
  }

  /** The agent named by the operator, or the only one there is; undefined leaves it to the selectors. */
  #chooseAgent(asked: string | undefined): Result<string | undefined, string> {
    const resources = this.#parts.resources();
    const agents = resources
      .all("Agent")
      .filter(({ spec }) => resources.get("TrustProvider", spec.trustProvider)?.spec.kind === "process");
    const names = agents.map(({ metadata }) => metadata.name);
    const [first] = names;
    if (first === undefined)
      return refuse(
        "no agent of a TrustProvider of kind process is registered: apply one first, see examples/local.yaml",
      );
    if (asked === undefined) {
      if (names.length === 1) return ok(first);
      const canMatch = agents.some(
        ({ spec }) => !spec.selectors.some((each) => each.startsWith("process:agent=")),
      );
      return canMatch
        ? ok(undefined)
        : refuse(`say which agent it is: --agent NAME, one of ${names.join(", ")}`);
    }
    if (names.includes(asked)) return ok(asked);
    const nearest = nearestName(asked, names);
    const hint = nearest === undefined ? `there are ${names.join(", ")}` : `did you mean \`${nearest}\`?`;
    return refuse(`there is no Agent \`${asked}\`; ${hint}`);
  }

  async #record(
    run: Run,
    agent: string | undefined,
    { command, isolated }: OpenRunRequest,
    uid: number,
  ): Promise<void> {
    const { clock, audit } = this.#parts;
    const { id } = run.facts;
    const summary: RunSummary = {
      id,
      isolated,
      command,
      startedAt: new Date(clock.now()).toISOString(),
      ...(agent === undefined ? {} : { agent }),
    };
    const event = (what: "open" | "close", pid?: number): AuditEvent => {
      const time = clock.now();
      return runEvent({
        id: newId(time),
        time,
        change: what,
        run: id,
        agent: agent ?? "",
        isolated,
        operatorUid: uid,
        pid,
      });
    };
    await audit(event("open"));
    this.#summaries.set(id, summary);
    void run.launched.then((leader) => {
      if (leader.ok && this.#summaries.has(id))
        this.#summaries.set(id, { ...summary, pid: leader.value.processes.leader.pid });
    });
    void run.closed.then(() => {
      this.#summaries.delete(id);
      // The end of a run opens nothing: it is noted where it can be.
      return audit(event("close")).catch(() => {});
    });
  }
}
