// SPDX-License-Identifier: Apache-2.0
/** Writes the pages that are made from code: `node tools/write-docs.ts`. `docs.test.ts` fails while they are behind. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { cliPage } from "./cli-page.ts";
import { ROOT } from "./markdown.ts";
import { resourcesPage } from "./resources-page.ts";
import { spiffePage } from "./spiffe-page.ts";

writeFileSync(join(ROOT, "docs/cli.md"), await cliPage());
writeFileSync(join(ROOT, "docs/resources.md"), await resourcesPage());
writeFileSync(join(ROOT, "docs/spiffe.md"), await spiffePage());
