// SPDX-License-Identifier: Apache-2.0
import type { Resource } from "@postern/contract";
import { describe, expect, it } from "vitest";
import { checkSpiffeIds } from "./check-spiffe-ids.ts";
import { ResourceSet } from "./resource-set.ts";

const agent = (name: string, spiffeId: string | undefined, ...selectors: string[]): Resource => ({
  kind: "Agent",
  metadata: { name },
  spec: {
    trustProvider: "local",
    selectors: [`process:agent=${name}`, ...selectors],
    ...(spiffeId === undefined ? {} : { spiffeId }),
  },
});
const problems = (agents: readonly Resource[], trustDomain: string | undefined = "corp") =>
  checkSpiffeIds(new ResourceSet(agents), trustDomain).map(
    ({ resource, path, message }) => `${resource.metadata.name} ${path.join(".")}: ${message}`,
  );

describe("the SPIFFE IDs of agents", () => {
  it.each([
    ["is none", "corp/a", "begins with spiffe://"],
    ["has no path", "spiffe://corp", "has a path"],
    ["is of another trust domain", "spiffe://lab/a", "the trust domain of this server is `corp`"],
    ["has two values in one segment", "spiffe://corp/{process.uid}{process.gid}", "one value at most"],
  ])("are refused where one %s", (_, spiffeId, message) => {
    expect(problems([agent("a", spiffeId)])).toEqual([expect.stringContaining(message)]);
  });

  it("are refused where the trust provider cannot prove a fact, with the nearest name", () => {
    const provider: Resource = {
      kind: "TrustProvider",
      metadata: { name: "local" },
      spec: { kind: "process" },
    };
    const find = (spiffeId: string) => problems([provider, agent("a", spiffeId)]);
    expect(find("spiffe://corp/{process.user}")).toEqual([
      expect.stringContaining("proves no `process:user`"),
    ]);
    expect(find("spiffe://corp/{process.uidd}")).toEqual([
      expect.stringContaining("did you mean `process:uid=`"),
    ]);
    expect(find("spiffe://corp/{k8s.namespace}")).toEqual([expect.stringContaining("is of kind process")]);
    expect(find("spiffe://corp/{process.uid}")).toEqual([]);
  });

  it("are refused at a server without a trust domain, which says how to get one", () => {
    const found = checkSpiffeIds(new ResourceSet([agent("a", "spiffe://corp/a")]), undefined);
    expect(found.map(({ message }) => message)).toEqual([expect.stringContaining("--trust-domain NAME")]);
  });

  it("are refused where two agents could come to the same one", () => {
    expect(problems([agent("a", "spiffe://corp/x"), agent("b", "spiffe://corp/x")])).toEqual([
      expect.stringContaining("b spec.spiffeId: could come to the same SPIFFE ID as Agent `a`"),
    ]);
    expect(
      problems([agent("a", "spiffe://corp/{process.uid}"), agent("b", "spiffe://corp/1000")]),
    ).toHaveLength(1);
  });

  it("are accepted where the selectors keep them apart, and where there are none", () => {
    const shared = "spiffe://corp/agents/{process.agent}";
    expect(problems([agent("a", shared), agent("b", shared), agent("c", undefined)])).toEqual([]);
    expect(
      problems([
        agent("a", "spiffe://corp/{process.uid}", "process:uid=1"),
        agent("b", "spiffe://corp/{process.uid}", "process:uid=2"),
      ]),
    ).toEqual([]);
  });
});
