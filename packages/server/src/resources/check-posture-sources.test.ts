// SPDX-License-Identifier: Apache-2.0
import { type Resource, resourceSchema } from "@postern/contract";
import { describe, expect, it } from "vitest";
import { checkPostureSources } from "./check-posture-sources.ts";
import { ResourceSet } from "./resource-set.ts";

const source = (spec: object): Resource =>
  resourceSchema.parse({
    kind: "PostureSource",
    metadata: { name: "watch" },
    spec: { kind: "report", url: "https://watch.example/posture", ...spec },
  });
const found = (spec: object): string[] =>
  checkPostureSources(new ResourceSet([source(spec)])).map(
    ({ path, message }) => `${path.join(".")}: ${message}`,
  );
const wiz = { kind: "wiz", url: "https://api.example/graphql", clientId: "c", secret: "s" };

describe("a posture source", () => {
  it("that can be asked is taken", () => {
    expect(found({})).toEqual([]);
    expect(found({ ...wiz, subject: "spiffe:id=spiffe://corp/{externalId}" })).toEqual([]);
  });

  it.each<[string, object, RegExp]>([
    ["whose word ends before the next one", { every: 300, validFor: 300 }, /^spec\.validFor: /],
    ["at an address of this machine", { url: "https://127.0.0.1/posture" }, /^spec\.url: /],
    [
      "whose tokens come from this machine",
      { ...wiz, subject: "spiffe:id=spiffe://corp/{id}", tokenUrl: "https://127.0.0.1/token" },
      /^spec\.tokenUrl: /,
    ],
    [
      "connected to where nobody listed it",
      { connectTo: { address: "10.0.0.1", port: 443 } },
      /^spec\.connectTo/,
    ],
    ["with certificates that are none", { caCertificates: "x" }, /^spec\.caCertificates: /],
  ])("%s is refused with the place", (_, spec, message) => {
    expect(found(spec)).toEqual([expect.stringMatching(message)]);
  });
});
