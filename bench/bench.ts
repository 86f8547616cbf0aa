// SPDX-License-Identifier: Apache-2.0
/** `npm run bench -- NAME …`: runs `NAME.bench.ts` of this folder with the arguments that follow. */
import { existsSync, readdirSync } from "node:fs";

const [name = "", ...rest] = process.argv.slice(2);
const file = new URL(`./${name}.bench.ts`, import.meta.url);
if (!/^[a-z-]+$/.test(name) || !existsSync(file)) {
  const names = readdirSync(new URL(".", import.meta.url)).flatMap(
    (each) => /^(.*)\.bench\.ts$/.exec(each)?.[1] ?? [],
  );
  process.stderr.write(`bench: give one of ${names.join(", ")}\n`);
  process.exit(2);
}
process.argv.splice(2, process.argv.length, ...rest);
await import(file.href);
