// SPDX-License-Identifier: Apache-2.0
/** `npm run conformance -- NAME`: runs `NAME.conformance.ts` of this folder. */
import { existsSync, readdirSync } from "node:fs";

const [name = ""] = process.argv.slice(2);
const file = new URL(`./${name}.conformance.ts`, import.meta.url);
if (!/^[a-z-]+$/.test(name) || !existsSync(file)) {
  const names = readdirSync(new URL(".", import.meta.url)).flatMap(
    (each) => /^(.*)\.conformance\.ts$/.exec(each)?.[1] ?? [],
  );
  process.stderr.write(`conformance: give one of ${names.join(", ")}\n`);
  process.exit(2);
}
await import(file.href);
