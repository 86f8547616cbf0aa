// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  fillTemplate,
  matchesTemplate,
  narrowTemplate,
  parseTemplate,
  type SpiffeIdTemplate,
  templatesOverlap,
} from "./spiffe-id-template.ts";

function template(text: string): SpiffeIdTemplate {
  const parsed = parseTemplate(text);
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.value;
}
const fill = (text: string, ...selectors: string[]) => {
  const filled = fillTemplate(template(text), selectors);
  return filled.ok ? filled.value.uri : filled.reason;
};
const K8S = "spiffe://corp/agents/{k8s.namespace}/{k8s.serviceAccount}";

describe("a template", () => {
  it.each([
    ["no SPIFFE ID at all", "agents/{k8s.namespace}"],
    ["no path", "spiffe://corp"],
    ["a value in the trust domain", "spiffe://{k8s.namespace}/a"],
    ["a value as a part of the trust domain", "spiffe://corp-{k8s.namespace}/a"],
    ["two values in one segment", "spiffe://corp/{k8s.namespace}-{k8s.pod}"],
    ["an empty value", "spiffe://corp/{}"],
    ["a value without a kind", "spiffe://corp/{namespace}"],
    ["a brace that is not closed", "spiffe://corp/{k8s.namespace"],
    ["a brace in a value", "spiffe://corp/{k8s.{x.y}}"],
    ["an empty segment", "spiffe://corp//{k8s.namespace}"],
    ["a dot segment", "spiffe://corp/../{k8s.namespace}"],
    ["a slash at the end", "spiffe://corp/{k8s.namespace}/"],
    ["upper case in the trust domain", "spiffe://Corp/a"],
    ["a path of the server's own", "spiffe://corp/postern/{k8s.namespace}"],
    ["the server's own path", "spiffe://corp/postern"],
  ])("is refused with %s", (_, text) => {
    expect(parseTemplate(text)).toEqual({ ok: false, reason: expect.any(String) });
  });

  it.each([
    ["a slash", "k8s:namespace=a/b"],
    ["a dot segment", "k8s:namespace=.."],
    ["a dot", "k8s:namespace=."],
    ["nothing", "k8s:namespace="],
    ["a percent-encoding", "k8s:namespace=a%2fb"],
    ["another brace", "k8s:namespace={x.y}"],
    ["a line break", "k8s:namespace=a\n"],
    ["a letter beyond ASCII", "k8s:namespace=ä"],
  ])("gives no ID where a value is %s", (_, selector) => {
    expect(fill("spiffe://corp/{k8s.namespace}", selector)).toContain("cannot stand in a SPIFFE ID");
    expect(fill("spiffe://corp/x{k8s.namespace}", selector)).toContain("cannot stand in a SPIFFE ID");
  });

  it("gives no ID where a fact is missing, or has two values", () => {
    expect(fill(K8S, "k8s:namespace=a")).toBe("nothing is known of k8s:serviceAccount");
    expect(fill(K8S, "k8s:namespace=a", "k8s:namespace=b", "k8s:serviceAccount=c")).toBe(
      "k8s:namespace has several values",
    );
    expect(fill(K8S, "xk8s:namespace=a", "k8s:serviceAccount=c")).toContain("nothing is known");
  });

  it("gives no ID of the server's own, whatever the facts are called", () => {
    const text = "spiffe://corp/{k8s.namespace}/{k8s.serviceAccount}";
    expect(fill(text, "k8s:namespace=postern", "k8s:serviceAccount=gateway")).toContain("server's own");
    expect(fill("spiffe://corp/{k8s.namespace}", "k8s:namespace=postern")).toContain("server's own");
    expect(fill("spiffe://corp/{k8s.namespace}", "k8s:namespace=postern-2")).toBe("spiffe://corp/postern-2");
  });

  it("gives no ID that is longer than the standard allows", () => {
    expect(fill("spiffe://corp/{a.b}", `a:b=${"x".repeat(2035)}`)).toContain("too long");
    expect(fill("spiffe://corp/{a.b}", `a:b=${"x".repeat(2034)}`)).toHaveLength(2048);
  });

  it("gives the ID that the facts make", () => {
    expect(fill(K8S, "k8s:namespace=prod", "k8s:serviceAccount=bot", "k8s:pod=x")).toBe(
      "spiffe://corp/agents/prod/bot",
    );
    expect(fill("spiffe://corp/u-{process.uid}.x", "process:uid=1000")).toBe("spiffe://corp/u-1000.x");
    expect(fill("spiffe://corp/fixed")).toBe("spiffe://corp/fixed");
  });

  it("gives different IDs for different facts", () => {
    const value = fc.stringMatching(/^[a-z./-]{1,4}$/);
    fc.assert(
      fc.property(value, value, value, value, (a, b, c, d) => {
        const [one, other] = [
          fillTemplate(template(K8S), [`k8s:namespace=${a}`, `k8s:serviceAccount=${b}`]),
          fillTemplate(template(K8S), [`k8s:namespace=${c}`, `k8s:serviceAccount=${d}`]),
        ];
        if (one.ok && other.ok) expect(one.value.uri === other.value.uri).toBe(a === c && b === d);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("two templates", () => {
  it.each([
    ["spiffe://corp/a", "spiffe://corp/a", true],
    ["spiffe://corp/a", "spiffe://corp/b", false],
    ["spiffe://corp/a", "spiffe://lab/a", false],
    ["spiffe://corp/{a.b}", "spiffe://corp/x", true],
    ["spiffe://corp/{a.b}", "spiffe://corp/x/y", false],
    ["spiffe://corp/{a.b}", "spiffe://corp/{c.d}", true],
    ["spiffe://corp/a-{a.b}", "spiffe://corp/b-{a.b}", false],
    ["spiffe://corp/a-{a.b}", "spiffe://corp/a-b-{a.b}", true],
    ["spiffe://corp/{a.b}-x", "spiffe://corp/{a.b}-y", false],
    ["spiffe://corp/a-{a.b}", "spiffe://corp/a-", false],
    ["spiffe://corp/a/{a.b}", "spiffe://corp/{a.b}/b", true],
  ])("%s and %s: the same ID could come from both: %s", (a, b, expected) => {
    expect(templatesOverlap(template(a), template(b))).toBe(expected);
    expect(templatesOverlap(template(b), template(a))).toBe(expected);
  });

  it("are apart where their agents' selectors fix different values", () => {
    const one = narrowTemplate(template(K8S), ["k8s:namespace=prod"]);
    const other = narrowTemplate(template(K8S), ["k8s:namespace=test"]);
    expect(templatesOverlap(one, other)).toBe(false);
    expect(templatesOverlap(one, template(K8S))).toBe(true);
  });

  it("match every ID that comes from them, and none that cannot", () => {
    const id = fillTemplate(template(K8S), ["k8s:namespace=prod", "k8s:serviceAccount=bot"]);
    if (!id.ok) throw new Error(id.reason);
    expect(matchesTemplate(template(K8S), id.value)).toBe(true);
    expect(matchesTemplate(template("spiffe://corp/agents/{k8s.namespace}"), id.value)).toBe(false);
    expect(matchesTemplate(template("spiffe://lab/agents/{a.b}/{c.d}"), id.value)).toBe(false);
  });
});
