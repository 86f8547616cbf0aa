// SPDX-License-Identifier: Apache-2.0
/** Does a template of an operation match what an obvious matcher says, and take the model from where it stands? */
import { BodyMemory, DEFAULT_BODY_LIMITS } from "../../packages/server/src/gateway/body-memory.ts";
import { canonicalOf, rawRequest, workloadOf } from "../../packages/server/src/gateway/request.fixture.ts";
import { canonicalPath } from "../../packages/server/src/gateway/stages/2-canonicalize.ts";
import { matchServerWorkload } from "../../packages/server/src/gateway/stages/4-match-server-workload.ts";
import { checkServerWorkload } from "../../packages/server/src/resources/check-server-workload.ts";
import { resourceSchema } from "@postern/contract";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const facts = new Map([["http", { name: "http", hosts: [], operations: [] }]]);

/** The operation, where an operator could have applied it. */
function applied(path: string): boolean {
  const resource = resourceSchema.safeParse({
    kind: "ServerWorkload",
    metadata: { name: "w" },
    spec: {
      profile: "http",
      hosts: ["a.example"],
      injection: { kind: "bearer" },
      operations: [{ name: "op", method: "POST", path }],
    },
  });
  return (
    resource.success &&
    resource.data.kind === "ServerWorkload" &&
    checkServerWorkload(resource.data, { profiles: facts }).length === 0
  );
}

/**
 * Where `{name}` stands for one or more characters other than `/` and `:`; what it stood for, each as long as
 * possible. A table of what is left of both, so that no template takes more than its length times the path's.
 */
function slowlyMatched(template: string, path: string): Record<string, string> | undefined {
  const parts = template.match(/\{[A-Za-z][A-Za-z0-9_]*\}|[^{]/g) ?? [];
  const known = new Map<string, Record<string, string> | undefined>();
  const from = (part: number, at: number): Record<string, string> | undefined => {
    const key = `${part}:${at}`;
    if (known.has(key)) return known.get(key);
    known.set(key, matchFrom(part, at));
    return known.get(key);
  };
  const matchFrom = (part: number, at: number): Record<string, string> | undefined => {
    const wanted = parts[part];
    if (wanted === undefined) return at === path.length ? {} : undefined;
    if (wanted.length === 1) return path[at] === wanted ? from(part + 1, at + 1) : undefined;
    let end = at;
    while (end < path.length && path[end] !== "/" && path[end] !== ":") end++;
    for (; end > at; end--) {
      const rest = from(part + 1, end);
      if (rest !== undefined) return { ...rest, [wanted.slice(1, -1)]: path.slice(at, end) };
    }
    return undefined;
  };
  return from(0, 0);
}

/** Template and path, a line each. */
async function check(input: Buffer): Promise<void> {
  const [template = "", rest = ""] = input.toString("latin1").split("\n");
  const path = canonicalPath(rest);
  if (!applied(template) || !path.ok) return;
  const workload = workloadOf("http", {
    operations: [
      {
        name: "op",
        method: "POST",
        path: template,
        ...(template.includes("{model}") ? { model: { path: "model" } } : {}),
      },
    ],
  });
  const share = new BodyMemory(DEFAULT_BODY_LIMITS).share("a");
  const matched = await matchServerWorkload(canonicalOf(path.value), rawRequest(), workload, share);
  demand(matched.ok, "a request was refused");
  const { operation, model } = matched.value;
  if (path.value.length > 300) return;
  const wanted = slowlyMatched(template, path.value);
  demandEqual(operation, wanted === undefined ? undefined : "op", "the operation");
  demandEqual(
    model,
    wanted?.["model"] === undefined ? undefined : decodeURIComponent(wanted["model"]),
    "the model",
  );
}

const PARTS = [
  "/",
  "v1",
  "/v1/",
  "{model}",
  "{id}",
  "{id_2}",
  "{a}",
  ":",
  ":run",
  "-",
  ".",
  "x",
  "%C3%A4",
  "(",
  "+",
  "$",
  "*",
  "{",
  "}",
  "^",
];

const target: FuzzTarget = {
  parsers: [
    "packages/server/src/gateway/stages/4-match-server-workload.ts",
    "packages/server/src/resources/check-server-workload.ts",
  ],
  property:
    "A template that an operator may apply matches what an obvious matcher matches, with the same model, in time that grows with the path only.",
  words: PARTS,
  make: (choose) => {
    const template = `/${choose.list(8, () => choose.pick(PARTS)).join("")}`;
    const path = template.replaceAll(/\{[^}]*\}/g, () =>
      choose.pick(["m", "gpt-4o", "a.b", "x-x-x-x", "a:b", "", "%41", "%C3%A4"]),
    );
    return `${template}\n${path}`;
  },
  check,
};
export default target;
