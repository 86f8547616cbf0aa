// SPDX-License-Identifier: Apache-2.0
/**
 * Who gains and who loses what, when one set of policies takes the place of another?
 *
 * What policies permit is cut into pieces with one value in each field; a piece is gained where nothing of before covers
 * it, and lost where nothing of after does. It says what policies say, not what requests there are: `simulate` does that.
 */
import type { ApprovalRule, ApprovalRules } from "./approval-rules.ts";
import type { CompiledPolicies, CompiledPolicy, Slice } from "./compile.ts";
import { conditionsNamedBy } from "./compile-conditions.ts";
import { globMatches } from "./glob.ts";

/** One state of the access policies, and of what they ask persons. */
export interface Side {
  readonly policies: CompiledPolicies;
  readonly rules: ApprovalRules | undefined;
}

export interface AccessChange {
  readonly agents: readonly string[];
  readonly serverWorkload: string;
  readonly gains: readonly string[];
  readonly loses: readonly string[];
  /** Conditions that are not what they were: whether that gives or takes is a matter of requests. */
  readonly conditions: readonly string[];
}

type Effect = Omit<AccessChange, "agents" | "serverWorkload">;

/** One combination that is permitted; an absent field may have any value. */
interface Piece {
  readonly operation?: Wanted;
  readonly model?: Wanted;
  readonly method?: Wanted;
  readonly path?: Wanted;
  /** Raw Cedar, about which nothing else is known. */
  readonly cedar?: string;
  readonly conditions: readonly string[];
  readonly credentialProvider: string;
}

type Wanted = { readonly exact: string } | { readonly pattern: string };

export function accessDiff(before: Side, after: Side): AccessChange[] {
  const grouped = new Map<string, { agents: string[]; change: AccessChange }>();
  const known = new Map<string, Effect>();
  for (const [agent, serverWorkload] of touched(before, after)) {
    const old = before.policies.sliceOf(agent, serverWorkload);
    const new_ = after.policies.sliceOf(agent, serverWorkload);
    // Agents under the same policies share the work.
    const pair = `${old?.key}/${new_?.key}`;
    const effect = known.get(pair) ?? compare([old, before.rules], [new_, after.rules]);
    known.set(pair, effect);
    if (effect.gains.length + effect.loses.length + effect.conditions.length === 0) continue;
    const key = JSON.stringify([serverWorkload, effect]);
    const group = grouped.get(key) ?? { agents: [], change: { agents: [], serverWorkload, ...effect } };
    group.agents.push(agent);
    grouped.set(key, group);
  }
  return [...grouped.values()].map(({ agents, change }) => ({ ...change, agents: agents.toSorted() }));
}

/** Agents and server workloads of policies that are not the same in both. */
function touched(before: Side, after: Side): [agent: string, workload: string][] {
  const [old, new_] = [contentsOf(before), contentsOf(after)];
  const pairs = new Map<string, [string, string]>();
  for (const { id, agents, serverWorkload } of [...before.policies.policies, ...after.policies.policies])
    if (old.get(id) !== new_.get(id))
      for (const agent of agents) pairs.set(`${agent}/${serverWorkload}`, [agent, serverWorkload]);
  return [...pairs].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, pair]) => pair);
}

/** By id of the policy: what it says, what its conditions say and whom it asks. */
const contentsOf = ({ policies, rules }: Side): Map<string, string> =>
  new Map(
    policies.policies.map((policy) => {
      const named = conditionsNamedBy(policy);
      const slice =
        named.length === 0 ? undefined : policies.sliceOf(policy.agents[0] ?? "", policy.serverWorkload);
      const definitions = slice?.conditions.filter(({ name }) => named.includes(name));
      const rule = rules?.get(policy.policy);
      return [
        policy.id,
        JSON.stringify([policy, definitions?.map(({ definition }) => definition), rule && askText(rule)]),
      ];
    }),
  );

type SliceAndRules = readonly [Slice | undefined, ApprovalRules | undefined];

function compare([old, oldRules]: SliceAndRules, [new_, newRules]: SliceAndRules): Effect {
  const [had, has] = [piecesOf(old), piecesOf(new_)];
  const gained = has.filter((piece) => !had.some((each) => covers(each, piece)));
  const lost = had.filter((piece) => !has.some((each) => covers(each, piece)));
  const [forbade, forbids] = [forbidsOf(old), forbidsOf(new_)];
  // Who had nothing, or has nothing left, does not go without asking.
  const isBoth = had.length > 0 && has.length > 0;
  const [asked, asks] = isBoth ? [asksOf(old, oldRules), asksOf(new_, newRules)] : [[], []];
  return {
    gains: [
      ...inWords(gained),
      ...only(forbade, forbids).map((text) => `what was forbidden by ${text}`),
      ...without(asked, asks).map((ask) => `to go ahead without ${ask}`),
    ],
    loses: [
      ...inWords(lost),
      ...only(forbids, forbade).map((text) => `what is forbidden by ${text}`),
      ...without(asks, asked).map((ask) => `to go ahead without ${ask}`),
      ...without(contestedOf(has), contestedOf(had)),
    ],
    conditions: (old?.conditions ?? [])
      .filter(({ name, definition }) =>
        new_?.conditions.some((each) => each.name === name && each.definition !== definition),
      )
      .map(({ name }) => name),
  };
}

const without = (these: readonly string[], those: readonly string[]): string[] =>
  these.filter((text) => !those.includes(text));

const asksOf = (slice: Slice | undefined, rules: ApprovalRules | undefined): string[] => [
  ...new Set(
    permits(slice).flatMap(({ policy }) => {
      const rule = rules?.get(policy);
      return rule === undefined ? [] : [askText(rule)];
    }),
  ),
];

/** Times are no part of it: they change for how long a yes holds, not who has to give it. */
function askText(rule: ApprovalRule): string {
  const { policy, approvers, needed, for: part, unless, when, ownerMayApprove, grants } = rule;
  const of =
    needed === 1 ? `a yes of ${approvers.join(" or ")}` : `${needed} yeses of ${approvers.join(", ")}`;
  const more = [
    ...(part === undefined ? [] : [`for ${partText(part)}`]),
    ...(unless === undefined ? [] : [`unless ${listed(unless)} hold`]),
    ...(when === "first-use" ? ["for the first use"] : []),
    ...(ownerMayApprove ? ["the agent's owner too"] : []),
    ...(grants === undefined ? [] : ["or a grant"]),
  ];
  return `${[of, ...more].join(", ")} (\`${policy}\`)`;
}

const partText = (part: NonNullable<ApprovalRule["for"]>): string =>
  Object.entries(part)
    .map(([name, values = []]) => `${name} ${listed(values)}`)
    .join(" and ");

/** What two credential providers would serve is denied, because which one would be chance. */
const contestedOf = (pieces: readonly Piece[]): string[] =>
  inWords(
    pieces.filter((piece) =>
      pieces.some(
        (other) =>
          other.credentialProvider !== piece.credentialProvider &&
          covers({ ...other, credentialProvider: piece.credentialProvider }, piece),
      ),
    ),
  ).map((text) => `${text}, because another policy uses another one for it`);

const only = (these: ReadonlyMap<string, string>, those: ReadonlyMap<string, string>): string[] =>
  [...these].filter(([text]) => !those.has(text)).map(([text, id]) => `\`${id}\`: ${oneLine(text)}`);

const permits = (slice: Slice | undefined): CompiledPolicy[] =>
  [...(slice?.policies.values() ?? [])].filter(({ effect }) => effect === "permit");

/** By text: the id says only where it stands. */
const forbidsOf = (slice: Slice | undefined): Map<string, string> =>
  new Map(
    [...(slice?.policies.values() ?? [])]
      .filter(({ effect }) => effect === "forbid")
      .map(({ id, cedar }) => [typeof cedar === "string" ? cedar : JSON.stringify(cedar), id]),
  );

const piecesOf = (slice: Slice | undefined): Piece[] => permits(slice).flatMap(piecesOfPolicy);

/** More pieces than these of one policy are no words for a person. */
const MOST_PIECES = 2000;

function piecesOfPolicy({ allow, cedar, conditions = [], credentialProvider = "" }: CompiledPolicy): Piece[] {
  const rest = { conditions, credentialProvider };
  if (allow === undefined)
    return [{ ...rest, cedar: typeof cedar === "string" ? cedar : JSON.stringify(cedar) }];
  const fields = {
    operation: exactly(allow.operations),
    model: exactly(allow.models) ?? like(allow.modelPatterns),
    method: exactly(allow.methods),
    path: exactly(allow.paths) ?? like(allow.pathPatterns),
  };
  let pieces: Piece[] = [rest];
  for (const [name, wanted] of Object.entries(fields)) {
    if (wanted === undefined) continue;
    if (pieces.length * wanted.length > MOST_PIECES) return [{ ...rest, cedar: JSON.stringify(allow) }];
    pieces = pieces.flatMap((piece) => wanted.map((value) => ({ ...piece, [name]: value })));
  }
  return pieces;
}

const exactly = (values: readonly string[] | undefined): Wanted[] | undefined =>
  values?.map((exact) => ({ exact }));
const like = (values: readonly string[] | undefined): Wanted[] | undefined =>
  values?.map((pattern) => ({ pattern }));

const FIELDS = ["operation", "model", "method", "path"] as const;

function covers(wide: Piece, narrow: Piece): boolean {
  if (wide.credentialProvider !== narrow.credentialProvider) return false;
  if (!wide.conditions.every((name) => narrow.conditions.includes(name))) return false;
  if (wide.cedar !== undefined) return wide.cedar === narrow.cedar;
  if (narrow.cedar !== undefined) return FIELDS.every((field) => wide[field] === undefined);
  return FIELDS.every((field) => coversValue(wide[field], narrow[field], ALWAYS_THERE.has(field)));
}

/** What every request has. */
const ALWAYS_THERE: ReadonlySet<string> = new Set(["method", "path"]);

function coversValue(wide: Wanted | undefined, narrow: Wanted | undefined, isThere: boolean): boolean {
  if (wide === undefined) return true;
  if (narrow === undefined) return isThere && "pattern" in wide && wide.pattern === "*";
  if ("exact" in wide) return "exact" in narrow && narrow.exact === wide.exact;
  // An asterisk of the narrow pattern can only be matched by one of the wide pattern, so whatever it stands for is, too.
  return globMatches(wide.pattern, "exact" in narrow ? narrow.exact : narrow.pattern);
}

/** Pieces that differ in the model alone are one line. */
function inWords(pieces: readonly Piece[]): string[] {
  const lines = new Map<string, string[]>();
  for (const piece of pieces) {
    const { model, ...rest } = piece;
    const key = JSON.stringify(rest);
    const models = lines.get(key) ?? [];
    if (model !== undefined) models.push(textOf(model));
    lines.set(key, models);
  }
  return [...lines].map(([key, models]) => pieceText(JSON.parse(key) as Piece, models));
}

function pieceText(
  { operation, method, path, cedar, conditions, credentialProvider }: Piece,
  models: string[],
): string {
  const what = [
    ...(cedar === undefined ? [] : [`what \`${oneLine(cedar)}\` allows`]),
    ...(operation === undefined ? [] : [textOf(operation)]),
    ...(method === undefined ? [] : [textOf(method)]),
    ...(path === undefined ? [] : [`path ${textOf(path)}`]),
  ];
  const shown = what.length === 0 ? "everything" : what.join(" ");
  const model = models.length === 0 ? "" : ` with model ${listed(models)}`;
  const when =
    conditions.length === 0
      ? ""
      : ` while ${conditions.join(" and ")} ${conditions.length === 1 ? "holds" : "hold"}`;
  return `${shown}${model}${when}, by credential provider ${credentialProvider}`;
}

const textOf = (wanted: Wanted): string => ("exact" in wanted ? wanted.exact : wanted.pattern);

const MOST_LISTED = 20;

const listed = (values: readonly string[]): string =>
  values.length <= MOST_LISTED
    ? values.join(", ")
    : `${values.slice(0, MOST_LISTED).join(", ")} and ${values.length - MOST_LISTED} more`;

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length > 200 ? `${line.slice(0, 200).toWellFormed()}…` : line;
}
