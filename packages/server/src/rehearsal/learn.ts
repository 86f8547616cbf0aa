// SPDX-License-Identifier: Apache-2.0
/**
 * What is the smallest set of access policies that covers what an agent was seen to do?
 *
 * Smallest in what it allows: exactly what was seen and nothing beside it, unless generalising was asked for. Every field of
 * an `allow` holds for every value of the others, so what was seen is cut into blocks in which that is true.
 */
import type { ResourceOf } from "@postern/contract";
import canonicalize from "canonicalize";
import type { RecordedDecision } from "../policy/recorded-decision.ts";
import type { OperationPaths, PathNeed } from "./operation-paths.ts";

export interface LearnOptions {
  /** Also what no policy allowed; never what one forbade. */
  readonly includeDenied: boolean;
  /** Operations stand for all of their paths, and parts of other paths that look like ids for any. */
  readonly generalise: boolean;
}

/** One kind of request that was seen. */
export interface Seen {
  readonly serverWorkload: string;
  readonly operation?: string;
  readonly model?: string;
  readonly method: string;
  readonly path: PathNeed;
  /** Of the newest; absent where it was never allowed. */
  credentialProvider?: string;
  /** Names of the AccessConditions that held each time. */
  conditions: readonly string[];
  /** The policies that allowed the newest. */
  policies: readonly string[];
  count: number;
  denied: number;
  lastTime: number;
}

/** Everything in which all of these go together. */
export interface Block {
  readonly serverWorkload: string;
  readonly credentialProvider?: string;
  readonly operations: readonly string[];
  /** Absent: whatever the model, which these cannot name. */
  readonly models?: readonly string[];
  /** Requests that could name a model and did not; nothing but Cedar can say so. */
  readonly isWithoutModel: boolean;
  readonly methods: readonly string[];
  readonly paths: readonly string[];
  readonly pathPatterns: readonly string[];
  readonly conditions: readonly string[];
  /** What the policies that allowed it ask persons: all of it, as with those policies. */
  readonly approvals: readonly Approval[];
  readonly seen: readonly Seen[];
}

export type Approval = NonNullable<ResourceOf<"AccessPolicy">["spec"]["approval"]>;

/** What an access policy that is there asks persons. */
export type ApprovalOf = (policy: string) => Approval | undefined;

export interface Learned {
  readonly blocks: readonly Block[];
  readonly requests: number;
  readonly firstTime: number;
  readonly lastTime: number;
  /** Requests that no block covers, by reason. */
  readonly left: Readonly<Record<string, number>>;
}

/** More kinds than these are no set of policies that a person reads. */
const MOST_SEEN = 50_000;

export class Learner {
  readonly #paths: OperationPaths;
  readonly #options: LearnOptions;
  readonly #approvalOf: ApprovalOf;
  readonly #seen = new Map<string, Seen>();
  readonly #left: Record<string, number> = {};
  #requests = 0;
  #firstTime = Number.POSITIVE_INFINITY;
  #lastTime = 0;

  constructor(paths: OperationPaths, options: LearnOptions, approvalOf: ApprovalOf = () => undefined) {
    this.#paths = paths;
    this.#approvalOf = approvalOf;
    this.#options = options;
  }

  add(decision: RecordedDecision): void {
    if (!this.#counts(decision)) return;
    this.#requests++;
    this.#firstTime = Math.min(this.#firstTime, decision.time);
    this.#lastTime = Math.max(this.#lastTime, decision.time);
    if (!decision.asked.ok) return this.#leave(decision.asked.reason);
    const { serverWorkload, operation, model, method, path, conditions = [] } = decision.asked.value;
    const need = this.#pathNeed(serverWorkload, operation, path);
    const what = need.kind === "none" ? "" : need.kind === "pattern" ? need.pattern : need.path;
    if (what.length > LONGEST) return this.#leave("path_too_long");
    const key = JSON.stringify([serverWorkload, operation ?? method, model ?? null, need.kind, what]);
    let seen = this.#seen.get(key);
    if (seen === undefined) {
      if (this.#seen.size >= MOST_SEEN) return this.#leave("too_many_kinds");
      seen = {
        ...{ serverWorkload, method, path: need, count: 0, denied: 0, lastTime: 0, conditions, policies: [] },
        ...(operation === undefined ? {} : { operation }),
        ...(model === undefined ? {} : { model }),
      };
      this.#seen.set(key, seen);
    }
    seen.count++;
    if (decision.outcome === "deny") seen.denied++;
    seen.lastTime = Math.max(seen.lastTime, decision.time);
    seen.conditions = seen.conditions.filter((name) => conditions.includes(name));
    const provider = decision.credentialProvider ?? decision.dryRun?.credentialProvider;
    if (provider !== undefined) seen.credentialProvider = provider;
    if (decision.outcome === "allow") seen.policies = decision.policies;
  }

  result(): Learned {
    return {
      blocks: blocksOf(
        [...this.#seen].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, seen]) => seen),
        this.#paths,
        this.#approvalOf,
      ),
      requests: this.#requests,
      firstTime: this.#firstTime,
      lastTime: this.#lastTime,
      left: { ...this.#left },
    };
  }

  #counts({ outcome, reasons, dryRun }: RecordedDecision): boolean {
    if (outcome === "allow" || dryRun?.outcome === "allow") return true;
    return this.#options.includeDenied && reasons.includes("no_matching_policy");
  }

  #leave(reason: string): void {
    this.#left[reason] = (this.#left[reason] ?? 0) + 1;
  }

  #pathNeed(serverWorkload: string, operation: string | undefined, path: string): PathNeed {
    const { generalise } = this.#options;
    if (operation !== undefined)
      return generalise ? { kind: "none" } : this.#paths.pathNeed(serverWorkload, operation, path);
    const pattern = generalise ? path.replaceAll(ID, "/*") : path;
    return pattern === path ? { kind: "exact", path } : { kind: "pattern", pattern };
  }
}

/** As long as a path may be in an access policy. */
const LONGEST = 500;

/** A part of a path that is a number, a UUID, or a long run of letters with digits in it. */
const ID = /\/(\d+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=[^/]*\d)[A-Za-z0-9_-]{16,})(?=\/|$)/gi;

/** The longest list that an `allow` takes. */
const MOST_LISTED = 200;

function blocksOf(all: readonly Seen[], paths: OperationPaths, approvalOf: ApprovalOf): Block[] {
  const byPaths = merge(
    all.map((seen) => blockOf(seen, paths, approvalOf)),
    "paths",
    "pathPatterns",
  );
  // Which of the two comes first makes no difference to what is allowed, only to how many policies it takes.
  const [one, other] = [joinedBy("models", byPaths), joinedBy("what", byPaths)];
  const fewest = other.length < one.length ? other : one;
  return fewest.flatMap(split).toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

/** Each step joins only what is equal in all the rest, so that nothing is combined that was not seen together. */
function joinedBy(first: "models" | "what", blocks: readonly Block[]): Block[] {
  return first === "models" ? byWhat(merge(blocks, "models")) : merge(byWhat(blocks), "models");
}

function byWhat(blocks: readonly Block[]): Block[] {
  // A path says which operation it is: operations with paths of their own would make pairs that never occur.
  const isFree = (block: Block): boolean => block.paths.length + block.pathPatterns.length === 0;
  return [
    ...merge(blocks.filter(isFree), "operations"),
    ...merge(
      blocks.filter((block) => !isFree(block)),
      "methods",
    ),
  ];
}

function blockOf(seen: Seen, operationPaths: OperationPaths, approvalOf: ApprovalOf): Block {
  const { serverWorkload, operation, model, method, path, credentialProvider } = seen;
  const couldHave = operation !== undefined && operationPaths.canHaveModel(serverWorkload, operation);
  return {
    serverWorkload,
    ...(credentialProvider === undefined ? {} : { credentialProvider }),
    operations: operation === undefined ? [] : [operation],
    ...(model === undefined ? {} : { models: [model] }),
    isWithoutModel: model === undefined && couldHave,
    methods: operation === undefined ? [method] : [],
    paths: path.kind === "exact" ? [path.path] : [],
    pathPatterns: path.kind === "pattern" ? [path.pattern] : [],
    conditions: seen.conditions,
    approvals: approvalsOf(seen, approvalOf),
    seen: [seen],
  };
}

/** Two policies that ask the same ask once. */
function approvalsOf({ policies }: Seen, approvalOf: ApprovalOf): Approval[] {
  const all = policies.flatMap((policy) => approvalOf(policy) ?? []);
  return [...new Map(all.map((approval) => [canonicalize(approval) ?? "", approval]))]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, approval]) => approval);
}

type ListField = (typeof FIELDS)[number];

/** Joins blocks that are equal in everything but these lists; which of them are empty has to be equal too. */
function merge(blocks: readonly Block[], ...fields: readonly ListField[]): Block[] {
  const joined = new Map<string, Block>();
  for (const block of blocks) {
    const empty = fields.map((field) => [field, (block[field] ?? []).length === 0]);
    const key = JSON.stringify([keyOf(block, fields), empty]);
    const known = joined.get(key);
    if (known === undefined) {
      joined.set(key, block);
      continue;
    }
    const lists = fields.flatMap((field) =>
      known[field] === undefined ? [] : [[field, sorted([...known[field], ...(block[field] ?? [])])]],
    );
    joined.set(key, { ...known, ...Object.fromEntries(lists), seen: [...known.seen, ...block.seen] });
  }
  return [...joined.values()];
}

const FIELDS = ["operations", "models", "methods", "paths", "pathPatterns"] as const;

function keyOf(block: Block, without: readonly ListField[] = []): string {
  const lists = FIELDS.map((field) => (without.includes(field) ? 0 : (block[field] ?? null)));
  const { serverWorkload, credentialProvider, conditions, approvals, isWithoutModel } = block;
  const rest = [conditions, isWithoutModel, approvals];
  return JSON.stringify([serverWorkload, credentialProvider ?? null, ...rest, lists]);
}

const sorted = (values: readonly string[]): string[] =>
  [...new Set(values)].toSorted((a, b) => (a < b ? -1 : 1));

/** Lists longer than an access policy takes, over several. */
function split(block: Block): Block[] {
  for (const field of ["operations", "models", "paths", "pathPatterns"] as const) {
    const list = block[field] ?? [];
    if (list.length <= MOST_LISTED) continue;
    const half = (part: readonly string[]): Block => ({
      ...block,
      [field]: part,
      seen: block.seen.filter((seen) => part.includes(valueOf(seen, field) ?? "")),
    });
    return [...split(half(list.slice(0, MOST_LISTED))), ...split(half(list.slice(MOST_LISTED)))];
  }
  return [block];
}

/** What of `seen` stands in that list. */
export function valueOf({ operation, model, method, path }: Seen, field: ListField): string | undefined {
  switch (field) {
    case "operations":
      return operation;
    case "models":
      return model;
    case "methods":
      return operation === undefined ? method : undefined;
    case "paths":
      return path.kind === "exact" ? path.path : undefined;
    case "pathPatterns":
      return path.kind === "pattern" ? path.pattern : undefined;
  }
}
