// SPDX-License-Identifier: Apache-2.0
/**
 * What operators do to the state: apply, delete, cut, restore. Each change is checked as a whole, written to
 * the audit log, stored, and then published; readers see all of it or nothing.
 */
import { createHash } from "node:crypto";
import type { ApplyRequest, Change, Place, Resource, ResourceKind } from "@postern/contract";
import canonicalize from "canonicalize";
import type { AuditEvent } from "../audit/event-frame.ts";
import { agentStateEvent, resourceChangeEvent } from "../audit/change-events.ts";
import type { Clock } from "../kernel/clock.ts";
import { newId } from "../kernel/ids.ts";
import { type Result, ok, refuse } from "../kernel/result.ts";
import { foresee, type Foreseen } from "./foresee.ts";
import { type CompiledPolicies, compilePolicies } from "../policy/compile.ts";
import { checkDeletion, checkResources } from "../resources/check.ts";
import { diffResource, type ResourceChange, shortValue } from "../resources/diff.ts";
import { parseResources } from "../resources/parse.ts";
import { type PlaceOf, placesOf } from "../resources/places.ts";
import type { ProfileFacts } from "../resources/profile-facts.ts";
import { ResourceSet } from "../resources/resource-set.ts";
import type { AgentState, AgentStateStore } from "../store/agent-state-store.ts";
import type { ResourceStore, StoredResource } from "../store/resource-store.ts";

/** Everything that decisions depend on, at one moment. */
export interface PublishedState {
  /** Grows with every publication. */
  readonly epoch: number;
  readonly resources: ResourceSet;
  readonly policies: CompiledPolicies;
  /** Names of agents that are cut off. */
  readonly cut: ReadonlySet<string>;
}

export interface ControlPlaneParts {
  readonly resources: ResourceStore;
  readonly agentStates: AgentStateStore;
  readonly profiles: ReadonlyMap<string, ProfileFacts>;
  /** Names of the secrets that are set. */
  secretNames(): Promise<ReadonlySet<string>>;
  /** In which this server issues identities; absent where it does not. */
  readonly trustDomain?: string | undefined;
  /** Resolves when the event is durable; throws or rejects when it cannot be kept. */
  audit(event: AuditEvent): Promise<void>;
  readonly clock: Clock;
  /** Called with every new state, the first one included. */
  publish(state: PublishedState): void;
}

/** Who did it, for the audit log. */
export interface Operator {
  readonly uid: number;
}

export interface Applied extends Foreseen {
  readonly changes: readonly Change[];
  /** Of the policies that are in force then, or would be. */
  readonly policyDigest: string;
}

export type ApplyRefusal = { readonly detail: string; readonly places: readonly Place[] };

export interface AgentStateRefusal {
  readonly code: "not_found" | "audit_unavailable" | "internal_error";
  readonly detail: string;
}

export class ControlPlane {
  readonly #parts: ControlPlaneParts;
  #state!: PublishedState;
  /** Epoch of the store at which `#stored` was read. */
  #storeEpoch = -1;
  #stored!: readonly StoredResource[];
  #states!: readonly AgentState[];
  /** Agents that are cut off although it could not be stored. */
  readonly #cutUnstored = new Map<string, Parameters<AgentStateStore["set"]>[0]>();
  /** Changes wait for each other: a check must still hold when its change is written. */
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(parts: ControlPlaneParts) {
    this.#parts = parts;
  }

  /** Loads what is stored and publishes it. A stored policy that no longer compiles stops the start. */
  static async open(parts: ControlPlaneParts): Promise<ControlPlane> {
    const plane = new ControlPlane(parts);
    await plane.#reload();
    return plane;
  }

  get state(): PublishedState {
    return this.#state;
  }

  get stored(): readonly StoredResource[] {
    return this.#stored;
  }

  get agentStates(): readonly AgentState[] {
    return this.#states;
  }

  /** Takes over what another server has changed in the store, and stores cuts that could not be stored before. */
  refresh(): Promise<void> {
    return this.#alone(async () => {
      for (const [agent, state] of this.#cutUnstored) {
        await this.#parts.agentStates.set(state);
        this.#cutUnstored.delete(agent);
      }
      await this.#reload();
    });
  }

  apply(request: ApplyRequest, operator: Operator): Promise<Result<Applied, ApplyRefusal>> {
    return this.#alone(async () => {
      const parsed = parseResources(request.files);
      if (!parsed.ok) return refuse(invalid(parsed.reason));
      await this.#catchUp();
      const put = parsed.value.map(({ resource }) => resource);
      const next = this.#state.resources.with({ put });
      const compiled = await this.#checked(next, placesOf(parsed.value));
      if (!compiled.ok) return compiled;
      const foreseen = foresee(
        this.#state,
        { policies: compiled.value, resources: next },
        put,
        placesOf(parsed.value),
      );
      if (!foreseen.ok) return refuse(invalid(foreseen.reason));
      const changes = put.map((resource) =>
        diffResource(this.#state.resources.get(resource.kind, resource.metadata.name), resource),
      );
      if (!request.dryRun) await this.#write(put, changes, operator, compiled.value);
      return ok({ changes: changes.map(inWords), policyDigest: compiled.value.digest, ...foreseen.value });
    });
  }

  delete(kind: ResourceKind, name: string, operator: Operator): Promise<Result<Change, ApplyRefusal>> {
    return this.#alone(async () => {
      await this.#catchUp();
      const [problem] = checkDeletion(this.#state.resources, [{ kind, name }]);
      if (problem !== undefined) return refuse({ detail: problem.message, places: [] });
      const next = this.#state.resources.with({ remove: [{ kind, name }] });
      const compiled = await this.#checked(next, placesOf([]));
      if (!compiled.ok) return compiled;
      await this.#audit("delete", kind, name, operator);
      const { epoch } = await this.#parts.resources.replace(
        { put: [], delete: [{ kind, name }] },
        this.#storeEpoch,
      );
      await this.#reload({ epoch, policies: compiled.value });
      return ok({ action: "deleted", kind, name, details: [] });
    });
  }

  /**
   * Cuts or restores an agent; in force when it resolves. Refuses a name that is no agent, and says so where
   * a cut is in force but not in the log.
   */
  setAgentState(
    agent: string,
    change: "cut" | "restore",
    reason: string,
    operator: Operator,
  ): Promise<Result<undefined, AgentStateRefusal>> {
    return this.#alone(async () => {
      if (!(await this.#isAgent(agent)))
        return refuse({ code: "not_found", detail: `there is no Agent \`${agent}\`` });
      const state = {
        agent,
        state: change === "cut" ? "cut" : "active",
        reason,
        changedBy: `uid:${operator.uid}`,
      } as const;
      const event = agentStateEvent({ ...this.#stamp(operator), change, agent, reason });
      if (change === "cut") return this.#cut(state, event);
      await this.#parts.audit(event);
      await this.#parts.agentStates.set(state);
      this.#cutUnstored.delete(agent);
      await this.#reload();
      return ok(undefined);
    });
  }

  /** Cutting comes first: neither a full disk nor a log that cannot be written must keep an agent alive. */
  async #cut(
    state: Parameters<AgentStateStore["set"]>[0],
    event: AuditEvent,
  ): Promise<Result<undefined, AgentStateRefusal>> {
    const { agent } = state;
    this.#cutUnstored.set(agent, state);
    this.#publish({ ...this.#state, cut: new Set([...this.#state.cut, agent]) });
    try {
      await this.#parts.agentStates.set(state);
      this.#cutUnstored.delete(agent);
      await this.#reload();
    } catch {
      const detail = `agent ${agent} is cut off until this server ends, but this could not be stored: cut it again later`;
      return refuse({ code: "internal_error", detail });
    }
    try {
      await this.#parts.audit(event);
    } catch {
      const detail = `agent ${agent} is cut off, but the audit log cannot be written to say so`;
      return refuse({ code: "audit_unavailable", detail });
    }
    return ok(undefined);
  }

  /** One that another server has just made counts too. */
  async #isAgent(name: string): Promise<boolean> {
    const isKnown = (): boolean => this.#state.resources.get("Agent", name) !== undefined;
    if (!isKnown()) await this.#catchUp();
    return isKnown();
  }

  /** What is checked must be what is stored, also where another server has just changed it. */
  async #catchUp(): Promise<void> {
    if ((await this.#parts.resources.epoch()) !== this.#storeEpoch) await this.#reload();
  }

  async #checked(next: ResourceSet, placeOf: PlaceOf): Promise<Result<CompiledPolicies, ApplyRefusal>> {
    const { profiles, secretNames, trustDomain } = this.#parts;
    const places = checkResources(next, { profiles, secretNames: await secretNames(), trustDomain }, placeOf);
    if (places.length > 0) return refuse(invalid(places));
    const compiled = compilePolicies(next);
    if (compiled.ok) return compiled;
    const problems = compiled.reason.map(({ kind, name, path, message }) => ({
      ...placeOf(next.get(kind, name)!, path),
      message,
    }));
    return refuse(invalid(problems));
  }

  async #write(
    put: readonly Resource[],
    changes: readonly ResourceChange[],
    operator: Operator,
    compiled: CompiledPolicies,
  ): Promise<void> {
    const different = changes.filter(({ change }) => change !== "unchanged");
    if (different.length === 0) return;
    await Promise.all(
      different.map(({ change, kind, name }) => {
        const resource = put.find((item) => item.kind === kind && item.metadata.name === name);
        return this.#audit(change === "created" ? "create" : "update", kind, name, operator, resource);
      }),
    );
    const isDifferent = new Set(different.map(({ kind, name }) => `${kind}/${name}`));
    const changed = put.filter(({ kind, metadata }) => isDifferent.has(`${kind}/${metadata.name}`));
    const { epoch } = await this.#parts.resources.replace({ put: changed, delete: [] }, this.#storeEpoch);
    await this.#reload({ epoch, policies: compiled });
  }

  #audit(
    change: "create" | "update" | "delete",
    resourceKind: ResourceKind,
    name: string,
    operator: Operator,
    resource?: Resource,
  ): Promise<void> {
    const digest =
      resource === undefined
        ? undefined
        : createHash("sha256")
            .update(canonicalize(resource) ?? "")
            .digest("hex");
    return this.#parts.audit(
      resourceChangeEvent({ ...this.#stamp(operator), change, resourceKind, name, digest }),
    );
  }

  #stamp(operator: Operator) {
    const time = this.#parts.clock.now();
    return { id: newId(time), time, operatorUid: operator.uid };
  }

  /** Reads the store and publishes what it holds. `compiled` spares the work where it is still of that epoch. */
  async #reload(compiled?: { readonly epoch: number; readonly policies: CompiledPolicies }): Promise<void> {
    const { epoch, resources: rows } = await this.#parts.resources.snapshot();
    const states = await this.#parts.agentStates.list();
    const isSame = epoch === this.#storeEpoch;
    const resources = isSame ? this.#state.resources : new ResourceSet(rows.map(({ resource }) => resource));
    const known = isSame ? this.#state.policies : undefined;
    const policies = compiled?.epoch === epoch ? compiled.policies : (known ?? requireCompiled(resources));
    [this.#stored, this.#states, this.#storeEpoch] = [rows, states, epoch];
    const stored = this.#states.filter(({ state }) => state === "cut").map(({ agent }) => agent);
    this.#publish({ resources, policies, cut: new Set([...stored, ...this.#cutUnstored.keys()]) });
  }

  #publish(state: Omit<PublishedState, "epoch">): void {
    this.#state = { ...state, epoch: (this.#state?.epoch ?? 0) + 1 };
    this.#parts.publish(this.#state);
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => {});
    return result;
  }
}

function requireCompiled(resources: ResourceSet): CompiledPolicies {
  const compiled = compilePolicies(resources);
  if (compiled.ok) return compiled.value;
  const [first] = compiled.reason;
  throw new Error(`stored ${first?.kind} ${first?.name} does not compile: ${first?.message}`);
}

const invalid = (places: readonly Place[]): ApplyRefusal => ({
  detail: `${places.length} problem${places.length === 1 ? "" : "s"}; nothing was changed`,
  places,
});

const inWords = ({ kind, name, change, fields }: ResourceChange): Change => ({
  action: change,
  kind,
  name,
  details: fields.map(({ path, before, after }) => `${path}: ${shortValue(before)} → ${shortValue(after)}`),
});
