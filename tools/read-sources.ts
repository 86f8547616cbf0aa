// SPDX-License-Identifier: Apache-2.0
/** What does each source file import, and which places of it need a reason? Read with a real parser. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { parseSync } from "oxc-parser";

export interface SourceFile {
  /** From the root of the repository, with forward slashes. */
  readonly path: string;
  readonly isTest: boolean;
  /** Everything after `from`, in `import()` and in `export … from`. */
  readonly imports: readonly string[];
  /** Arguments of `import.meta.resolve` that are plain strings. */
  readonly resolves: readonly string[];
  readonly readsEnvironment: boolean;
  /** `Date.now()`, `new Date()` without a time, `performance.now()`. */
  readonly readsClock: boolean;
  /** Calls `something.expose(…)`. */
  readonly exposesSecrets: boolean;
}

/** Tests, and what only tests use. */
const TEST_FILE = /\.(test|fixture|contract)\.ts$|-fixtures\.ts$/;

export function readSources(root: string, folders: readonly string[]): SourceFile[] {
  return folders.flatMap((folder) =>
    typescriptFiles(join(root, folder)).map((file) => readSource(root, file)),
  );
}

function typescriptFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === "node_modules" ? [] : typescriptFiles(path);
    return /\.(ts|mjs)$/.test(entry.name) ? [path] : [];
  });
}

function readSource(root: string, file: string): SourceFile {
  const path = relative(root, file).split(sep).join("/");
  return parseSource(path, readFileSync(file, "utf8"));
}

/** @throws {Error} on a file that does not parse: an unread file would pass every rule */
export function parseSource(path: string, text: string): SourceFile {
  const { program, module, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]?.message}`);
  const facts = {
    resolves: [] as string[],
    readsEnvironment: false,
    readsClock: false,
    exposesSecrets: false,
  };
  walk(program, (node) => note(node, facts));
  const specifiers = [
    ...module.staticImports.map(({ moduleRequest }) => moduleRequest.value),
    ...module.staticExports.flatMap(({ entries }) =>
      entries.map(({ moduleRequest }) => moduleRequest?.value),
    ),
    ...module.dynamicImports.map(({ moduleRequest }) =>
      unquoted(text.slice(moduleRequest.start, moduleRequest.end)),
    ),
  ];
  const imports = [...new Set(specifiers.filter((each) => each !== undefined))];
  return { path, isTest: TEST_FILE.test(path), imports, ...facts };
}

const unquoted = (literal: string): string => literal.replaceAll(/^["'`]|["'`]$/g, "");

type Node = Readonly<Record<string, unknown>> & { readonly type: string };

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && typeof (value as { type?: unknown }).type === "string";

function walk(root: unknown, visit: (node: Node) => void): void {
  const open: unknown[] = [root];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (Array.isArray(value)) open.push(...(value as unknown[]));
    else if (isNode(value)) {
      visit(value);
      open.push(...Object.values(value).filter((child) => typeof child === "object" && child !== null));
    }
  }
}

interface Facts {
  readonly resolves: string[];
  readsEnvironment: boolean;
  readsClock: boolean;
  exposesSecrets: boolean;
}

function note(node: Node, facts: Facts): void {
  if (isMember(node, "process", "env")) facts.readsEnvironment = true;
  if (isMember(node, "Date", "now") || isMember(node, "performance", "now")) facts.readsClock = true;
  if (node.type === "NewExpression" && named(node["callee"]) === "Date" && count(node["arguments"]) === 0)
    facts.readsClock = true;
  if (node.type !== "CallExpression" || !isNode(node["callee"])) return;
  const property = named(node["callee"]["property"]);
  if (property === "expose") facts.exposesSecrets = true;
  const owner = node["callee"]["object"];
  if (property !== "resolve" || !isNode(owner) || owner.type !== "MetaProperty") return;
  const [argument] = node["arguments"] as readonly unknown[];
  if (isNode(argument) && typeof argument["value"] === "string") facts.resolves.push(argument["value"]);
}

function isMember(node: Node, object: string, property: string): boolean {
  if (node.type !== "MemberExpression" || named(node["object"]) !== object) return false;
  const { property: key } = node as { property?: unknown };
  return named(key) === property || (isNode(key) && key["value"] === property);
}

const named = (value: unknown): string | undefined =>
  isNode(value) && typeof value["name"] === "string" ? value["name"] : undefined;

const count = (value: unknown): number => (Array.isArray(value) ? value.length : 0);
