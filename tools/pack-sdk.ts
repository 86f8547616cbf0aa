// SPDX-License-Identifier: Apache-2.0
/**
 * Writes `@postern/sdk` as others install it: JavaScript and types, with the modules of `packages/identity` that it uses
 * copied in. `npm run pack:sdk -- FOLDER`, and then `npm pack` or `npm publish` in that folder.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const sdk = join(root, "packages/sdk");

export function packSdk(folder: string): void {
  const dist = join(folder, "dist");
  mkdirSync(dist, { recursive: true });
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { status, stdout } = spawnSync(
    process.execPath,
    [tsc, "-p", join(sdk, "tsconfig.json"), "--outDir", dist],
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`tsc failed:\n${stdout}`);
  for (const name of readdirSync(dist, { recursive: true, encoding: "utf8" })) {
    if (!/\.(js|ts)$/.test(name)) continue;
    const file = join(dist, name);
    const text = readFileSync(file, "utf8")
      .replaceAll(/"@postern\/identity\/([^"]+)"/g, '"../../identity/src/$1.js"')
      // The compiler leaves the endings of type declarations as they are.
      .replaceAll(/"(\.\.?\/[^"]+)\.ts"/g, '"$1.js"');
    writeFileSync(file, text);
  }
  const { name, version, license } = JSON.parse(readFileSync(join(sdk, "package.json"), "utf8")) as Record<
    string,
    unknown
  >;
  const manifest = {
    ...{ name, version, license, type: "module" },
    description: "SPIFFE identities for TypeScript: Workload API, X.509 peer authentication, JWT-SVIDs",
    engines: { node: ">=22" },
    exports: { ".": { types: "./dist/sdk/src/index.d.ts", default: "./dist/sdk/src/index.js" } },
    files: ["dist"],
  };
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
  copyFileSync(join(sdk, "README.md"), join(folder, "README.md"));
  copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [folder] = process.argv.slice(2);
  if (folder === undefined) {
    process.stderr.write("pack:sdk: give the folder to write to\n");
    process.exit(2);
  }
  packSdk(folder);
}
