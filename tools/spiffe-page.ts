// SPDX-License-Identifier: Apache-2.0
/** What does `docs/spiffe.md` say? Made from the table of rules that `npm run conformance -- spiffe` holds. */
import { CLIENT_CATALOGUE, CLIENT_CHECKS, RULES } from "../conformance/spiffe-rules.ts";
import { formatted, table } from "./markdown.ts";

export function spiffePage(): Promise<string> {
  const tested = RULES.filter(({ without }) => without === undefined);
  const rules = RULES.map(({ id, level, says, without }) => [
    id,
    level,
    says,
    without === undefined ? "yes" : `no: ${without}`,
  ]);
  const groups = Object.entries(CLIENT_CATALOGUE).map(([group, { checks, about }]) => [
    group,
    String(checks),
    about,
  ]);
  return formatted(`<!-- Written by \`npm run docs\` from conformance/spiffe-rules.ts. -->

# SPIFFE, rule by rule

\`npm run conformance -- spiffe\` runs the tests whose titles name these rules, and fails where a rule has none. ${tested.length} of ${RULES.length} have.

X: X.509-SVID. J: JWT-SVID. B: trust bundle. F: federation. W: Workload Endpoint and API. The level is the highest of what the row says.

${table(["rule", "level", "says", "tested"], rules)}

Without a row: WIT-SVIDs, which are issued with \`--wit-svid\` only, and the Broker API, which is there with \`--broker-socket\` only. Both are still incubating.

## The client library

Besides, the ${CLIENT_CHECKS.length} checks of the [catalogue for clients](https://github.com/arndt-s/spiffe-conformance-test-suite/blob/main/docs/TEST_CATALOGUE.md) have tests that name them, in [packages/sdk](../packages/sdk/README.md). They were written after the
catalogue's text; the suite's own program has not been run.

${table(["group", "checks", "about"], groups)}
`);
}
