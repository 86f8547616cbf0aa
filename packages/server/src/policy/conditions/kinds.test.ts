// SPDX-License-Identifier: Apache-2.0
/** Every kind but time: what holds, what does not, of what nobody can tell, and what is refused. */
import { type AccessConditionSpec, resourceSchema } from "@postern/contract";
import { describe, expect, it } from "vitest";
import { condition, problemsOf } from "../policy-fixtures.ts";
import { compileCondition, conditionConflict } from "./compile-condition.ts";
import { callerFacts, conditionFacts } from "./condition.fixture.ts";
import type { Verdict } from "./condition-kind.ts";
import { type ConditionFacts, NO_SOURCES, type RegionSource } from "./facts.ts";

const judge = (spec: AccessConditionSpec, facts: Partial<ConditionFacts>): Verdict =>
  compileCondition(condition("c", spec)).judge(conditionFacts(facts)) as Verdict;

const messages = (spec: AccessConditionSpec): string[] =>
  problemsOf(condition("c", spec)).map(({ path, message }) => `${path.join(".")}: ${message}`);

describe("region", () => {
  const places: Record<string, ReturnType<RegionSource["locate"]>> = {
    "81.2.69.142": { country: "GB", continent: "EU" },
    "2001:218::1": { country: "JP", continent: "AS" },
    "192.0.2.1": { continent: "EU" },
  };
  const regions = { machine: ["81.2.69.142"], locate: (address: string) => places[address] };
  const at = (
    spec: Omit<Extract<AccessConditionSpec, { kind: "region" }>, "kind" | "of">,
    address?: string,
  ) =>
    judge(
      { kind: "region", of: "caller", ...spec },
      {
        caller: callerFacts(address === undefined ? {} : { address }),
        sources: { ...NO_SOURCES, regions },
      },
    );

  it.each([
    ["of another country", { countries: ["DE", "FR"] }, "81.2.69.142"],
    ["of another continent", { continents: ["AS" as const] }, "81.2.69.142"],
    [
      "of the right country and the wrong network",
      { countries: ["GB"], networks: ["81.2.70.0/24"] },
      "81.2.69.142",
    ],
    ["of IPv6 where the network is IPv4", { networks: ["0.0.0.0/1"] }, "::1"],
  ])("a caller %s is not met", (_name, spec, address) => {
    expect(at(spec, address)).toMatchObject({ holds: false });
    expect(at(spec, address).isUnknown).toBeUndefined();
  });

  it.each([
    ["an address that stands in no file", { countries: ["GB"] }, "198.51.100.7"],
    ["one whose continent is known, and not the country", { countries: ["GB"] }, "192.0.2.1"],
    ["no address", { countries: ["GB"] }, "x"],
  ])("%s is unknown", (_name, spec, address) => {
    expect(at(spec, address)).toMatchObject({ holds: false, isUnknown: true });
  });

  it("a process of this machine is where the machine is, with all its addresses", () => {
    expect(at({ countries: ["GB"] })).toEqual({ holds: true, words: "81.2.69.142 is in GB, EU" });
    const both = { ...NO_SOURCES, regions: { ...regions, machine: ["81.2.69.142", "2001:218::1"] } };
    expect(judge({ kind: "region", of: "machine", countries: ["GB"] }, { sources: both }).holds).toBe(false);
    const none = { ...NO_SOURCES, regions: { ...regions, machine: [] } };
    expect(judge({ kind: "region", of: "machine", countries: ["GB"] }, { sources: none })).toMatchObject({
      isUnknown: true,
    });
    expect(judge({ kind: "region", of: "caller", countries: ["GB"] }, {})).toMatchObject({ isUnknown: true });
  });

  it("of a cloud is what attestation says of it", () => {
    const spec = { kind: "region", of: "caller", selectors: ["aws-ec2:region=eu-central-1"] } as const;
    const with_ = (...selectors: string[]) =>
      judge({ ...spec, selectors: [...spec.selectors] }, { caller: callerFacts({ selectors }) });
    expect(with_("aws-ec2:region=eu-central-1").holds).toBe(true);
    expect(with_("aws-ec2:region=us-east-1")).toEqual({
      holds: false,
      words: "attested is aws-ec2:region=us-east-1; wanted aws-ec2:region=eu-central-1",
    });
    expect(with_("process:uid=0")).toMatchObject({ isUnknown: true });
  });

  it.each<[AccessConditionSpec, string]>([
    [{ kind: "region", of: "caller", countries: ["UK"] }, "the United Kingdom is `GB`"],
    [{ kind: "region", of: "caller", countries: ["QZ"] }, "no country `QZ`"],
    [{ kind: "region", of: "caller", networks: ["10.1.2.3/8"] }, "write `10.0.0.0/8`"],
    [{ kind: "region", of: "caller", networks: ["::/0"] }, "every address"],
    [{ kind: "region", of: "caller", networks: ["::ffff:10.0.0.0/104"] }, "write it as IPv4"],
    [{ kind: "region", of: "machine", selectors: ["a:b=c"] }, "facts about the caller"],
  ])("%j is refused", (spec, message) => {
    expect(messages(spec)).toEqual([expect.stringContaining(message)]);
  });

  it("two that share no country never hold at once", () => {
    const a = { kind: "region", of: "caller", countries: ["GB"] } as AccessConditionSpec;
    expect(conditionConflict(a, { kind: "region", of: "caller", countries: ["FR"] })).toContain("in common");
    expect(conditionConflict(a, { kind: "region", of: "machine", countries: ["FR"] })).toBeUndefined();
  });
});

describe("attested", () => {
  const selectors = ["kubernetes:namespace=prod", "kubernetes:image=reg/app@sha256:00", "process:uid=1000"];
  const with_ = (spec: Omit<Extract<AccessConditionSpec, { kind: "attested" }>, "kind">) =>
    judge({ kind: "attested", ...spec }, { caller: callerFacts({ selectors }) });

  it.each([
    [{ allOf: ["kubernetes:namespace=prod", "process:uid=1000"] }, true],
    [{ allOf: ["kubernetes:namespace=prod", "process:uid=0"] }, false],
    [{ anyOf: ["process:uid=0", "process:uid=1000"] }, true],
    [{ anyOf: ["process:uid=100", "process:uid=10000"] }, false],
    [{ noneOf: ["kubernetes:namespace=dev"] }, true],
    [{ noneOf: ["kubernetes:namespace=prod"] }, false],
    [{ anyOfPatterns: ["kubernetes:image=reg/*"] }, true],
    [{ anyOfPatterns: ["kubernetes:image=other/*"] }, false],
    [{ anyOf: ["process:uid=0"], anyOfPatterns: ["kubernetes:image=reg/*"] }, true],
    [{ noneOfPatterns: ["kubernetes:image=reg/*"] }, false],
    // A star does not reach over the name of a fact.
    [{ anyOfPatterns: ["kubernetes:name=*prod"] }, false],
    [{ allOf: ["kubernetes:namespace=Prod"] }, false],
  ])("%j: %s", (spec, expected) => {
    expect(with_(spec).holds).toBe(expected);
  });

  it("what must not be and was not attested is unknown", () => {
    expect(with_({ noneOf: ["aws-ec2:account=1"] })).toMatchObject({ holds: false, isUnknown: true });
  });

  it.each<[AccessConditionSpec, string]>([
    [{ kind: "attested", allOf: ["a:b=c"], noneOf: ["a:b=c"] }, "can never hold"],
    [{ kind: "attested", anyOf: ["a:b=c"], noneOfPatterns: ["a:b=c*"] }, "can never hold"],
    [{ kind: "attested", anyOfPatterns: ["process:uid=1*"] }, "a part of process:uid says nothing"],
    [{ kind: "attested", anyOfPatterns: ["process:sha256=ab*"] }, "whole values in `anyOf`"],
    [{ kind: "attested", anyOfPatterns: ["a:b=*"] }, "matches everything"],
    [{ kind: "attested", noneOfPatterns: ["a:b=c"] }, "holds no `*`"],
  ])("%j is refused", (spec, message) => {
    expect(messages(spec)).toEqual([expect.stringContaining(message)]);
  });

  it("two of which one bans what the other wants never hold at once", () => {
    const a: AccessConditionSpec = { kind: "attested", allOf: ["a:b=c"] };
    expect(conditionConflict(a, { kind: "attested", noneOf: ["a:b=c"] })).toContain("must not be");
    expect(conditionConflict(a, { kind: "attested", noneOf: ["a:b=d"] })).toBeUndefined();
  });
});

describe("delegation", () => {
  const of = (
    spec: Omit<Extract<AccessConditionSpec, { kind: "delegation" }>, "kind">,
    subject?: string,
    depth = 1,
  ) =>
    judge(
      { kind: "delegation", ...spec },
      { caller: callerFacts(subject === undefined ? {} : { delegation: { subject, depth } }) },
    ).holds;

  it("of who shows nothing has depth 0 and no subject", () => {
    expect(of({ maxDepth: 0 })).toBe(true);
    expect(of({ minDepth: 1 })).toBe(false);
    expect(of({ subjects: ["alice"] })).toBe(false);
  });

  it("is bounded, and bound to exact subjects", () => {
    expect(of({ maxDepth: 1 }, "alice", 1)).toBe(true);
    expect(of({ maxDepth: 1 }, "alice", 2)).toBe(false);
    expect(of({ subjects: ["alice"] }, "alice")).toBe(true);
    expect(of({ subjects: ["alice"] }, "alice2")).toBe(false);
  });

  it("that can never or always be is refused", () => {
    expect(messages({ kind: "delegation", minDepth: 2, maxDepth: 1 })).toEqual([
      expect.stringContaining("swap them"),
    ]);
    expect(messages({ kind: "delegation", minDepth: 0 })).toEqual([expect.stringContaining("always")]);
    expect(
      conditionConflict({ kind: "delegation", maxDepth: 1 }, { kind: "delegation", minDepth: 2 }),
    ).toContain("depth");
  });
});

describe("the schema", () => {
  it.each([
    { kind: "time", zone: "UTC" },
    { kind: "region" },
    { kind: "region", countries: [] },
    { kind: "attested" },
    { kind: "attested", anyOf: ["no selector"] },
    { kind: "delegation" },
    { kind: "request" },
    { kind: "request", body: [{ pointer: "/a" }] },
    { kind: "request", body: [{ pointer: "a", equals: 1 }] },
    { kind: "request", body: [{ pointer: "/a", equals: 1, in: [2] }] },
    { kind: "request", body: [{ pointer: "/a", absent: true, orAbsent: true }] },
    { kind: "nothing" },
  ])("refuses a condition that says nothing, or two things: %j", (spec) => {
    const resource = { kind: "AccessCondition", metadata: { name: "c" }, spec };
    expect(resourceSchema.safeParse(resource).success).toBe(false);
  });
});
