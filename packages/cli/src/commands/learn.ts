// SPDX-License-Identifier: Apache-2.0
import { type Command, FilesError, nameOf, oneWord, stringFlag } from "../command.ts";
import { logFlags, openLog, requireVerified, resourcesInForce } from "./log-source.ts";

export const learn: Command = {
  name: "learn",
  usage: "learn AGENT",
  summary: "write the smallest access policies that cover what an agent was seen to do",
  flags: {
    ...logFlags,
    "include-denied": {
      type: "boolean",
      help: "also what no policy allowed; what one forbade is never proposed",
    },
    generalise: {
      type: "boolean",
      help: "let operations stand for all their paths, and ids in other paths for any text",
    },
    name: {
      type: "string",
      value: "NAME",
      help: "name of the first policy, such as one that it is to replace",
    },
    "credential-provider": {
      type: "string",
      value: "NAME",
      help: "for what was never allowed, where several could be meant",
    },
  },
  details:
    "Prints YAML for `postern apply`. It allows what was seen and nothing else, unless --generalise is given; comments\n" +
    "say how often each was used. Try it with `postern simulate` first.",
  run: async (invocation) => {
    const { flags, json, print, note } = invocation;
    const agent = nameOf(oneWord(invocation, "agent"));
    const name = stringFlag(flags["name"]);
    const provider = stringFlag(flags["credential-provider"]);
    const { Learner, learnedYaml, loadProfiles, OperationPaths, policySet, ResourceSet } =
      await import("@postern/server/rehearsal");
    const resources = (await resourcesInForce(invocation)) ?? ResourceSet.empty;
    const learner = new Learner(
      new OperationPaths(resources, loadProfiles()),
      { includeDenied: flags["include-denied"] === true, generalise: flags["generalise"] === true },
      (policy) => resources.get("AccessPolicy", policy)?.spec.approval,
    );
    await requireVerified(
      { ...invocation, flags: { ...flags, agent } },
      await openLog(invocation),
      (decision) => learner.add(decision),
    );
    const learned = learner.result();
    const bound = (workload: string): string[] =>
      resources
        .all("CredentialProvider")
        .filter(({ spec }) => spec.serverWorkloads.includes(workload))
        .map(({ metadata }) => metadata.name);
    const yaml = learnedYaml(learned, {
      agent,
      name: name === undefined ? undefined : nameOf(name),
      credentialOf: (workload) => {
        const [only, ...others] = bound(workload);
        return provider ?? (others.length === 0 ? only : undefined);
      },
    });
    const check = policySet(ResourceSet.empty, [{ name: "(learned)", text: yaml.text }]);
    if (!check.ok) throw new FilesError("what was learned is no policy that could be applied", check.reason);
    if (json) print(JSON.stringify({ ...learned, left: yaml.left, yaml: yaml.text }));
    else print(yaml.text.trimEnd());
    if (yaml.policies === 0)
      note(`nothing was learned about agent ${agent}: see --since and --include-denied`);
    return yaml.policies === 0 ? 1 : 0;
  },
};
