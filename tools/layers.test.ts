// SPDX-License-Identifier: Apache-2.0
/**
 * Does the code keep to the layer table of `ARCHITECTURE.md`?
 *
 * Read with a real parser, type-only imports included. A rule that has nothing left to check, an exception that
 * nobody needs and a module that is not there fail too: a rule must not rot.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import {
  ENVIRONMENT_READERS,
  type Exception,
  PLANNED,
  PURE_BUILTINS,
  PURE_MODULES,
  PURE_WORKSPACES,
  PURITY_EXCEPTIONS,
  ROWS,
  SECRET_READERS,
  UNDECLARED,
  WORKSPACES,
} from "./layers.ts";
import { parseSource, readSources, type SourceFile } from "./read-sources.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const SERVER = "packages/server/src/";
const workspaces = [...readdirSync(join(root, "packages")).map((name) => `packages/${name}`), "e2e"];
const sources = readSources(
  root,
  workspaces
    .map((folder) => (folder === "e2e" ? folder : `${folder}/src`))
    .filter((folder) => existsSync(join(root, folder))),
);
const server = sources.filter(({ path }) => path.startsWith(SERVER));
const product = sources.filter(({ isTest, path }) => !isTest && !path.startsWith("e2e/"));

/** `gateway` of `packages/server/src/gateway/stages/5-decide.ts`. */
const moduleOf = (path: string): string => path.slice(SERVER.length).split("/")[0]!.replace(/\.ts$/, "");
const rowOf = (module: string): number => ROWS.findIndex(({ modules }) => modules.includes(module));
const workspaceOf = (path: string): string =>
  path
    .split("/")
    .slice(0, path.startsWith("packages/") ? 2 : 1)
    .join("/");

/** Every offence as `file: what; reason`. */
function edgeProblems(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, imports }) =>
    imports
      .filter((specifier) => specifier.startsWith("."))
      .flatMap((specifier) => {
        const from = moduleOf(path);
        const to = moduleOf(new URL(specifier, `file:///${path}`).pathname.slice(1));
        if (from === to) return [];
        const row = ROWS[rowOf(from)];
        if (row === undefined) return [`${path}: module ${from} is in no row of tools/layers.ts`];
        return row.mayImport === "all" || row.mayImport.includes(rowOf(to))
          ? []
          : [`${path}: ${from} must not import ${to}; ${row.reason}`];
      }),
  );
}

function purityProblems(files: readonly SourceFile[]): string[] {
  const why = "pure: what it needs from outside is passed in";
  return files.flatMap(({ path, imports, readsClock, readsEnvironment }) => [
    ...imports
      .filter((specifier) => specifier.startsWith("node:") && !PURE_BUILTINS.has(specifier))
      .map((specifier) => `${path}: imports ${specifier}; ${why}`),
    ...(readsClock ? [`${path}: reads the clock; ${why}`] : []),
    ...(readsEnvironment ? [`${path}: reads process.env; ${why}`] : []),
  ]);
}

/** Offenders that no exception covers, and exceptions that cover nobody. */
function against(offenders: readonly string[], exceptions: readonly Exception[], what: string): string[] {
  const excepted = new Set(exceptions.map(({ file }) => file));
  return [
    ...offenders.filter((file) => !excepted.has(file)).map((file) => `${file}: ${what}`),
    ...[...excepted]
      .filter((file) => !offenders.includes(file))
      .map((file) => `${file}: exception is unused`),
  ];
}

const isPure = ({ path, isTest }: SourceFile): boolean =>
  !isTest &&
  (path.startsWith(SERVER)
    ? PURE_MODULES.includes(moduleOf(path))
    : PURE_WORKSPACES.some((workspace) => path.startsWith(`${workspace}/`)));

const packageName = (specifier: string): string =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");

interface Manifest {
  readonly name?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

function manifestOf(workspace: string): Manifest {
  const file = join(root, workspace, "package.json");
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Manifest) : {};
}

describe("the layer table", () => {
  it("has read the code", () => {
    expect(server.length).toBeGreaterThan(80);
    for (const folder of [
      "packages/cli",
      "packages/contract",
      "packages/identity",
      "packages/testkit",
      "packages/demo",
    ])
      expect(sources.filter(({ path }) => path.startsWith(`${folder}/`)).length, folder).toBeGreaterThan(2);
    expect(server.flatMap(({ imports }) => imports).length).toBeGreaterThan(300);
  });

  it("names every module of the server, and none that is not there", () => {
    const there = [...new Set(server.map(({ path }) => moduleOf(path)))].toSorted();
    const named = ROWS.flatMap(({ modules }) => modules);
    expect(there).toEqual(named.filter((module) => !PLANNED.includes(module)).toSorted());
    expect(PURE_MODULES.filter((module) => !there.includes(module))).toEqual([]);
    expect(Object.keys(WORKSPACES).toSorted()).toEqual(
      workspaces.filter((name) => name !== "packages/server").toSorted(),
    );
  });

  it("gives a reason for every ban and every exception", () => {
    const reasons = [
      ...ROWS,
      ...Object.values(WORKSPACES),
      ...[PURITY_EXCEPTIONS, ENVIRONMENT_READERS, SECRET_READERS, UNDECLARED].flat(),
    ].map(({ reason }) => reason);
    expect(reasons.filter((reason) => reason.length < 15)).toEqual([]);
  });

  it("sees every form of import, and what a file reads", () => {
    const text = `import type { A } from "./a.ts"; import "b"; export { c } from "c"; export * from "d";
      const e = await import("e"); import.meta.resolve("f"); process["env"].X; new Date(); secret?.expose("inject");`;
    expect(parseSource("x.ts", text)).toMatchObject({
      imports: ["./a.ts", "b", "c", "d", "e"],
      resolves: ["f"],
      readsEnvironment: true,
      readsClock: true,
      exposesSecrets: true,
    });
    expect(parseSource("x.ts", "new Date(5); const env = process.pid; expose()")).toMatchObject({
      readsEnvironment: false,
      readsClock: false,
      exposesSecrets: false,
    });
  });

  it("refuses what it is there to refuse", () => {
    const upward = parseSource(
      `${SERVER}policy/x.ts`,
      `import type { Vault } from "../credentials/vault/vault.ts";`,
    );
    const sideways = parseSource(`${SERVER}keys/x.ts`, `export { a } from "../store/store.ts";`);
    const unknown = parseSource(`${SERVER}elsewhere/x.ts`, `import "../kernel/result.ts";`);
    const pure = parseSource(`${SERVER}guard/x.ts`, `import { readFileSync } from "node:fs"; Date.now();`);
    expect(edgeProblems([upward, sideways, unknown])).toHaveLength(3);
    expect(purityProblems([pure])).toHaveLength(2);
  });
});

describe("the code", () => {
  it("imports downwards only, and never a sibling", () => {
    expect(edgeProblems(server)).toEqual([]);
  });

  it("keeps pure modules pure", () => {
    const problems = purityProblems(sources.filter(isPure));
    const excepted = PURITY_EXCEPTIONS.map(({ file }) => file);
    expect(problems.filter((problem) => !excepted.some((file) => problem.startsWith(`${file}:`)))).toEqual(
      [],
    );
    expect(excepted.filter((file) => !problems.some((problem) => problem.startsWith(`${file}:`)))).toEqual(
      [],
    );
    const used = new Set(sources.filter(isPure).flatMap(({ imports }) => imports));
    expect([...PURE_BUILTINS.keys()].filter((builtin) => !used.has(builtin))).toEqual([]);
  });

  it("reads process.env in the places that are named for it", () => {
    const readers = product.filter(({ readsEnvironment }) => readsEnvironment).map(({ path }) => path);
    expect(
      against(readers, ENVIRONMENT_READERS, "reads process.env; settings are read in one place"),
    ).toEqual([]);
  });

  it("turns secrets into bytes in the places that are named for it", () => {
    const readers = product.filter(({ exposesSecrets }) => exposesSecrets).map(({ path }) => path);
    expect(against(readers, SECRET_READERS, "exposes a secret; pass the Secret on instead")).toEqual([]);
  });

  it("keeps the workspaces apart", () => {
    const problems = sources.flatMap(({ path, isTest, imports, resolves }) => {
      const allowed = WORKSPACES[workspaceOf(path)];
      if (allowed === undefined) {
        // Its tests start a real database as the tests of the whole product do.
        const own = ["@postern/contract", "@postern/identity", ...(isTest ? ["@postern/testkit"] : [])];
        const foreign = imports.filter((name) => name.startsWith("@postern/") && !mayImport(own, name));
        return foreign.map(
          (name) =>
            `${path}: the server imports ${name}; it imports the contract and the formats of identities only`,
        );
      }
      const own = [...allowed.imports, ...((isTest ? allowed.testImports : undefined) ?? [])];
      return [
        ...imports.filter((name) => name.startsWith("@postern/") && !mayImport(own, name)),
        ...resolves.filter((name) => name.startsWith("@postern/") && !allowed.resolves.includes(name)),
        ...imports.filter((name) => name.startsWith(".") && leaves(path, name)),
      ].map((name) => `${path}: must not use ${name}; ${allowed.reason}`);
    });
    expect(problems).toEqual([]);
    const cli = sources.filter(({ path }) => path.startsWith("packages/cli/"));
    const used = new Set(cli.flatMap(({ imports, resolves }) => [...imports, ...resolves]));
    const { imports, resolves } = WORKSPACES["packages/cli"]!;
    expect([...imports, ...resolves].filter((name) => !used.has(name))).toEqual([]);
  });

  it("declares every package that it imports or starts", () => {
    const missing = sources.flatMap(({ path, isTest, imports, resolves }) => {
      const workspace = workspaceOf(path);
      const { dependencies, devDependencies } = manifestOf(workspace);
      // What only tests use may stand in the root's manifest.
      const own = {
        ...dependencies,
        ...devDependencies,
        ...(isTest || workspace === "e2e" ? manifestOf(".").devDependencies : {}),
      };
      return [...imports, ...resolves]
        .filter((name) => !/^(\.|node:)/.test(name))
        .map(packageName)
        .filter((name) => !(name in own) && !isOfClients(path))
        .map((name) => ({ path, name }));
    });
    const excepted = (path: string, name: string): boolean =>
      UNDECLARED.some(({ file, workspace }) => file === path && workspace === name);
    expect(missing.filter(({ path, name }) => !excepted(path, name))).toEqual([]);
    const unused = UNDECLARED.filter(
      ({ file, workspace }) => !missing.some(({ path, name }) => path === file && name === workspace),
    );
    expect(unused).toEqual([]);
  });
});

/** What depends on nobody as a whole; of other workspaces only what is listed, to the letter. */
const mayImport = (allowed: readonly string[], name: string): boolean =>
  allowed.includes(name) ||
  ["@postern/contract", "@postern/identity"].some(
    (shared) => allowed.includes(shared) && name.startsWith(`${shared}/`),
  );

/** A relative import that leads out of the workspace. */
function leaves(path: string, specifier: string): boolean {
  return workspaceOf(new URL(specifier, `file:///${path}`).pathname.slice(1)) !== workspaceOf(path);
}

/** The client matrix installs its clients by itself, from its own manifest. */
const isOfClients = (path: string): boolean => path.startsWith("e2e/clients/");
