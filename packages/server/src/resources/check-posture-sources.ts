// SPDX-License-Identifier: Apache-2.0
/** Can a posture source be asked as it is written? */
import { reachProblems } from "./check-reach.ts";
import { hostProblem, resolutionProblem } from "./host-name.ts";
import type { Finding } from "./places.ts";
import type { ResourceSet } from "./resource-set.ts";

export const checkPostureSources = (next: ResourceSet): Finding[] =>
  next.all("PostureSource").flatMap((resource) => {
    const { spec } = resource;
    const urls = [["url", spec.url], ...(spec.kind === "wiz" ? [["tokenUrl", spec.tokenUrl]] : [])] as const;
    const hosts = urls.flatMap(([name = "", url = ""]) => {
      const host = new URL(url).hostname;
      const wrong = hostProblem(host) ?? (spec.connectTo === undefined ? resolutionProblem(host) : undefined);
      return wrong === undefined ? [] : [{ resource, path: ["spec", name], message: `the host ${wrong}` }];
    });
    const reached = reachProblems(spec).map(([path, message]) => ({
      ...{ resource, path: ["spec", ...path], message },
    }));
    const tooShort =
      spec.validFor <= spec.every
        ? [
            {
              ...{ resource, path: ["spec", "validFor"] },
              message: `is not more than \`every\` (${spec.every}): between two answers nothing would hold`,
            },
          ]
        : [];
    return [...hosts, ...reached, ...tooShort];
  });
