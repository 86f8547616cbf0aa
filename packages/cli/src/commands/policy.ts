// SPDX-License-Identifier: Apache-2.0
import type { WhyResponse } from "@postern/contract";
import type { PolicyTestResult } from "@postern/server/rehearsal";
import { type Command, FilesError, type Invocation, listFlag, oneWord, UsageError } from "../command.ts";
import { printable } from "../printable.ts";
import { fileFlag, readResourceFiles } from "./resource-files.ts";

const test: Command = {
  name: "policy test",
  usage: "policy test DIR",
  summary: "check access policies against fixtures in files; needs no server",
  flags: {
    file: { ...fileFlag.file, help: "policies to test (default: the other YAML files in DIR)" },
  },
  details:
    "A fixture is a YAML document of kind PolicyTest: a request, and what is expected of it. `postern policy record`\n" +
    "makes one from a decision. Exit codes: 0 all pass, 1 one failed or cannot be read.",
  run: async (invocation) => {
    const { parsePolicyTests, policySet, ResourceSet, runPolicyTest } =
      await import("@postern/server/rehearsal");
    const folder = oneWord(invocation, "folder");
    const parsed = parsePolicyTests(readResourceFiles([folder]));
    if (!parsed.ok) throw new FilesError("a policy test cannot be read", parsed.reason);
    const { tests, others } = parsed.value;
    if (tests.length === 0) throw new UsageError(`there is no PolicyTest in ${folder}`);
    const given = listFlag(invocation.flags["file"]);
    const set = policySet(ResourceSet.empty, given.length === 0 ? others : readResourceFiles(given));
    if (!set.ok) throw new FilesError("the policies cannot be used", set.reason);
    const results = tests.map((each) => runPolicyTest(each, set.value.policies));
    return report(invocation, results);
  },
};

function report({ json, print }: Invocation, results: readonly PolicyTestResult[]): number {
  const failed = results.filter(({ passed }) => !passed);
  if (json) print(JSON.stringify({ passed: results.length - failed.length, failed: failed.length, results }));
  else {
    for (const { file, line, name, differences, explanation = "" } of failed) {
      print(printable(`FAILED ${file}:${line} ${name}`));
      for (const difference of differences) print(printable(`  ${difference}`));
      for (const reason of explanation.trimEnd().split("\n")) print(printable(`    ${reason}`));
    }
    print(`${results.length - failed.length} passed, ${failed.length} failed`);
  }
  return failed.length === 0 ? 0 : 1;
}

const record: Command = {
  name: "policy record",
  usage: "policy record ID",
  summary: "write the fixture that expects what was decided then",
  flags: {},
  details: "ID as for `postern why`. Prints YAML: `postern policy record ID > tests/NAME.yaml`.",
  run: async (invocation) => {
    const id = oneWord(invocation, "id").replace(/^urn:uuid:/, "");
    const answer = await invocation.control.get<WhyResponse>(`/v1/decisions/${encodeURIComponent(id)}`);
    const { fixtureOf, parseDecision } = await import("@postern/server/rehearsal");
    const recorded = parseDecision(answer.decision);
    if (recorded === undefined) throw new Error(`${id} is no decision that can be read`);
    const fixture = fixtureOf(recorded);
    if (!fixture.ok) throw new Error(`no test can be made of ${id}: ${NOT_REPLAYABLE[fixture.reason]}`);
    invocation.print(invocation.json ? JSON.stringify({ fixture: fixture.value }) : fixture.value.trimEnd());
    return 0;
  },
};

const NOT_REPLAYABLE = {
  not_asked: "the request was refused before any policy was asked",
  cut_short: "the request is too long for the log",
  masked: "the log hides a part of the request",
  incomplete: "a part of the request is not in the log",
  beyond_policy: "a person or a budget decided it, not a policy",
  other_schema: "a later version wrote it",
  condition_not_judged: "a condition was not judged then",
} as const;

export const policyCommands: readonly Command[] = [test, record];
