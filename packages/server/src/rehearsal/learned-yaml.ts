// SPDX-License-Identifier: Apache-2.0
/** How do the blocks that were learned read as access policies that can be applied as they are? */
import { type Expr, policyToText } from "@cedar-policy/cedar-wasm/nodejs";
import { AGENT_TYPE, CALL_ACTION, serverWorkloadUid } from "../policy/cedar-schema.ts";
import { type Approval, type Block, type Learned, type Seen, valueOf } from "./learn.ts";

export interface YamlOptions {
  readonly agent: string;
  /** Of the first policy; the others get a number. Made from agent and server workload where absent. */
  readonly name?: string | undefined;
  /** For what was never allowed. */
  readonly credentialOf: (serverWorkload: string) => string | undefined;
}

export interface LearnedYaml {
  readonly text: string;
  readonly policies: number;
  /** Requests that could not be written down, by reason. */
  readonly left: Readonly<Record<string, number>>;
}

export function learnedYaml(learned: Learned, options: YamlOptions): LearnedYaml {
  const left: Record<string, number> = { ...learned.left };
  const names = new Set<string>();
  const documents: string[] = [];
  for (const block of learned.blocks) {
    const credential = block.credentialProvider ?? options.credentialOf(block.serverWorkload);
    if (credential === undefined) {
      left["no_credential_provider"] = (left["no_credential_provider"] ?? 0) + total(block.seen);
      continue;
    }
    // A policy has one question; with two policies both are asked.
    const asks = block.approvals.length === 0 ? [undefined] : block.approvals;
    for (const approval of asks)
      documents.push(documentOf(block, credential, nameFor(block, options, names), options.agent, approval));
  }
  return {
    text: [headOf(learned, left, options.agent), ...documents].join("---\n"),
    policies: documents.length,
    left,
  };
}

function headOf(
  { requests, firstTime, lastTime }: Learned,
  left: LearnedYaml["left"],
  agent: string,
): string {
  if (requests === 0) return `# Nothing was seen of agent ${agent}.\n`;
  const lines = [
    `# What agent ${agent} was seen to do: ${requests} requests from ${day(firstTime)} to ${day(lastTime)}.`,
  ];
  for (const [reason, count] of Object.entries(left).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    lines.push(`# Not covered: ${count} ${LEFT[reason] ?? reason}.`);
  lines.push("# A policy that allows more goes on allowing it until it is deleted or narrowed.");
  return `${lines.join("\n")}\n`;
}

const LEFT: Readonly<Record<string, string>> = {
  cut_short: "that are too long for the log",
  masked: "in which the log hides something",
  incomplete: "of which a value is not in the log",
  beyond_policy: "that a person or a budget decided",
  other_schema: "that a later version wrote",
  not_asked: "that were refused before any policy was asked",
  path_too_long: "with a path that is too long for an access policy",
  too_many_kinds: "that came after too many different ones",
  no_credential_provider:
    "that were never allowed, where no single credential provider is bound to the server workload",
};

function nameFor({ serverWorkload }: Block, { agent, name }: YamlOptions, taken: Set<string>): string {
  const wanted = name ?? `${agent}-learned-${serverWorkload}`;
  for (let number = 1; ; number++) {
    const suffix = number === 1 ? "" : `-${number}`;
    const candidate = `${wanted.slice(0, 63 - suffix.length).replace(/-+$/, "")}${suffix}`;
    if (taken.has(candidate)) continue;
    taken.add(candidate);
    return candidate;
  }
}

function documentOf(
  block: Block,
  credential: string,
  name: string,
  agent: string,
  approval: Approval | undefined,
): string {
  const { seen, serverWorkload, conditions } = block;
  const denied = seen.reduce((sum, one) => sum + one.denied, 0);
  const head = [
    `# ${times(seen)}${denied === 0 ? "" : `, ${denied} of them denied`}`,
    "kind: AccessPolicy",
    `metadata: { name: ${name} }`,
    "spec:",
    `  agents: [${agent}]`,
    `  serverWorkload: ${serverWorkload}`,
    `  credentialProvider: ${credential}`,
    ...(conditions.length === 0 ? [] : [`  conditions: [${conditions.join(", ")}] # held each time`]),
    ...(approval === undefined
      ? []
      : [`  approval: ${JSON.stringify(approval)} # as the policy that allowed it asks`]),
  ];
  return `${[...head, ...(block.isWithoutModel ? cedarLines(block) : allowLines(block))].join("\n")}\n`;
}

const FIELDS = ["operations", "models", "methods", "paths", "pathPatterns"] as const;

function allowLines(block: Block): string[] {
  const lines = ["  allow:"];
  for (const field of FIELDS) {
    const values = block[field] ?? [];
    if (values.length === 0) continue;
    lines.push(`    ${field}:`);
    for (const value of values) {
      const of = block.seen.filter((seen) => valueOf(seen, field) === value);
      lines.push(`      - ${scalar(value)} # ${times(of)}`);
    }
  }
  return lines;
}

/** `allow` cannot say that no model is named. */
function cedarLines(block: Block): string[] {
  const context = (attr: string): Expr => ({ ".": { left: { Var: "context" }, attr } });
  const has = (attr: string): Expr => ({ has: { left: { Var: "context" }, attr } });
  const oneOf = (attr: string, values: readonly string[]): Expr => ({
    contains: { left: { Set: values.map((Value) => ({ Value })) }, right: context(attr) },
  });
  const exact: Expr[] = [{ "&&": { left: has("operation"), right: oneOf("operation", block.operations) } }];
  if (block.paths.length > 0) exact.push(oneOf("path", block.paths));
  const likes = block.pathPatterns.map((pattern): Expr => ({
    like: {
      left: context("path"),
      pattern: pattern
        .split("*")
        .flatMap((Literal, index) => [
          ...(index > 0 ? ["Wildcard" as const] : []),
          ...(Literal === "" ? [] : [{ Literal }]),
        ]),
    },
  }));
  const [first, ...more] = likes;
  if (first !== undefined) exact.push(more.reduce((left, right): Expr => ({ "||": { left, right } }), first));
  const text = policyToText({
    effect: "permit",
    principal: { op: "is", entity_type: AGENT_TYPE },
    action: { op: "==", entity: CALL_ACTION },
    resource: { op: "==", entity: serverWorkloadUid(block.serverWorkload) },
    conditions: [
      ...exact.map((body) => ({ kind: "when" as const, body })),
      { kind: "unless", body: has("model") },
    ],
  });
  if (text.type === "failure") throw new Error(`cedar refused a policy: ${text.errors[0]?.message}`);
  return [
    "  # These name no model although they could, which only Cedar can say.",
    "  cedar: |",
    ...text.text.split("\n").map((line) => `    ${line}`.trimEnd()),
  ];
}

const total = (seen: readonly Seen[]): number => seen.reduce((sum, { count }) => sum + count, 0);

function times(seen: readonly Seen[]): string {
  const last = Math.max(...seen.map(({ lastTime }) => lastTime));
  const count = total(seen);
  return `${count} ${count === 1 ? "time" : "times"}, last ${day(last)}`;
}

const day = (time: number): string => new Date(time).toISOString().slice(0, 10);

/** Plain where no reader of YAML could take it for anything else than this text. */
const scalar = (text: string): string =>
  /^[A-Za-z/][A-Za-z0-9._/-]*$/.test(text) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(text)
    ? text
    : JSON.stringify(text).replaceAll(
        /[\u007f-\u009f\u2028\u2029\ufeff]/g,
        (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
      );
