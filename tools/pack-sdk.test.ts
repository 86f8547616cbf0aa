// SPDX-License-Identifier: Apache-2.0
/** Is what others install of the client library whole, and does it stand alone? */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packSdk } from "./pack-sdk.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const project = mkdtempSync(join(tmpdir(), "postern-pack-"));
const installed = join(project, "node_modules/@postern/sdk");
beforeAll(() => {
  mkdirSync(installed, { recursive: true });
  packSdk(installed);
});
afterAll(() => rmSync(project, { recursive: true }));

const files = (): string[] =>
  readdirSync(installed, { recursive: true, encoding: "utf8" }).filter((name) => /\.(js|ts)$/.test(name));

describe("the packed library", () => {
  it("has no dependencies, and imports nothing but itself and Node", () => {
    const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as object;
    expect(Object.keys(manifest).filter((name) => /dependencies/i.test(name))).toEqual([]);
    const imports = files().flatMap((name) =>
      [...readFileSync(join(installed, name), "utf8").matchAll(/\b(?:from|import)\s*\(?"([^"]+)"/g)].map(
        ([, to]) => to!,
      ),
    );
    expect(imports.length).toBeGreaterThan(50);
    expect(files().some((name) => name.endsWith("identity/src/verify-x509-svid.js"))).toBe(true);
    expect(imports.filter((to) => !/^(node:|\.\.?\/.*\.js$)/.test(to))).toEqual([]);
  });

  it("leaves out what writes certificates, and every test", () => {
    expect(files().filter((name) => /test|fixture|svid-certificate|spiffe-id-template/.test(name))).toEqual(
      [],
    );
  });

  it("runs as JavaScript", () => {
    const code = `import { memberOf, parseEndpoint, X509Source } from "@postern/sdk";`;
    writeFileSync(join(project, "bad.mjs"), code);
    writeFileSync(
      join(project, "good.mjs"),
      `import { memberOf, X509Source } from "@postern/sdk";
       await X509Source.open({ endpoint: "nowhere" }).catch(({ code }) => console.log(code));
       console.log(memberOf("corp")({ uri: "spiffe://corp/a", trustDomain: "corp", path: "/a" }));`,
    );
    const run = (name: string) =>
      spawnSync(process.execPath, ["--no-strip-types", join(project, name)], { encoding: "utf8" });
    expect(run("bad.mjs").stderr).toContain("parseEndpoint");
    expect(run("good.mjs").stdout).toBe("endpoint_invalid\ntrue\n");
  });

  it("has types that others can compile against", () => {
    const options = {
      strict: true,
      noEmit: true,
      module: "nodenext",
      target: "es2024",
      types: ["node"],
      skipLibCheck: false,
    };
    const typeRoots = [join(root, "node_modules/@types")];
    writeFileSync(
      join(project, "tsconfig.json"),
      JSON.stringify({ compilerOptions: { ...options, typeRoots }, files: ["a.mts"] }),
    );
    const check = (code: string) => {
      writeFileSync(join(project, "a.mts"), code);
      return spawnSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", project], {
        encoding: "utf8",
      }).stdout;
    };
    const use = `import { X509Source, spiffeFetch, memberOf } from "@postern/sdk";
      const source = await X509Source.open();
      const id: string = source.svid.id.uri;`;
    expect(
      check(`${use} export const call: typeof fetch = spiffeFetch({ source, authorize: memberOf(id) });`),
    ).toBe("");
    expect(check(`${use} export const call = spiffeFetch({ source });`)).toContain("authorize");
  });
});
