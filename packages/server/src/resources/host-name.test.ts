// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { resourceSchema } from "@postern/contract";
import { hostProblem, resolutionProblem } from "./host-name.ts";

/** A text, part of what is said about it, and the proposal, where there is one. */
const REFUSED: readonly (readonly [text: string, said: string, proposed?: string])[] = [
  ["", "is empty", "api.example.com"],
  ["https://api.openai.com/v1", "is a URL", "api.openai.com"],
  ["https://user:pass@api.openai.com:8443/v1", "is a URL", "api.openai.com"],
  ["api.openai.com/v1", "holds a path", "api.openai.com"],
  ["api.openai.com\\.evil.example", "holds a path", "api.openai.com"],
  ["user@api.openai.com", "user information", "api.openai.com"],
  ["api.openai.com@evil.example", "user information", "evil.example"],
  ["api.openai.com:8443", "write `port: 8443`", "api.openai.com"],
  ["api.openai.com:", "holds a port", "api.openai.com"],
  ["*.openai.azure.com", "is a wildcard", "my-name.openai.azure.com"],
  ["api.*.com", "is a wildcard"],
  ["*", "is a wildcard"],
  ["api%2eopenai.com", "percent-encoded", "api.openai.com"],
  ["%6c%6f%63%61%6c.example", "percent-encoded", "local.example"],
  ["%zz.example", "percent-encoded"],
  ["API.OpenAI.com", "not in lower case", "api.openai.com"],
  ["api.openai.com.", "ends with a dot", "api.openai.com"],
  ["api.openai.com..", "ends with a dot"],
  [" api.openai.com", "holds a space", "api.openai.com"],
  ["api.openai.com\n", "holds a space", "api.openai.com"],
  [".openai.com", "empty label"],
  ["api..openai.com", "empty label"],
  ["api_1.example", "underscore"],
  ["-api.example", "hyphen"],
  ["api-.example", "hyphen"],
  ["api!.example", "no host name can"],
  [`${"a".repeat(64)}.example`, "more than 63"],
  [`${"a.".repeat(130)}com`, "longer than 253"],
  // Addresses in every notation that some resolver takes for one.
  ["127.0.0.1", "IP address"],
  ["0177.0.0.1", "IP address"],
  ["0x7f.0.0.1", "IP address"],
  ["0x7f.1", "IP address"],
  ["0x7f000001", "IP address"],
  ["2130706433", "IP address"],
  ["127.1", "IP address"],
  ["1.2.3.4.5", "IP address"],
  ["1.2.3.08", "IP address"],
  ["api.example.0x", "IP address"],
  ["api.example.1", "IP address"],
  ["[::1]", "IP address"],
  ["::1", "IP address"],
  ["::ffff:127.0.0.1", "IP address"],
  ["fe80::1%eth0", "percent-encoded"],
  ["８.8.8.8", "U+FF18"],
  ["127。0。0。1", "U+3002"],
  // International names: written as DNS has them, or not at all (RFC 5890).
  ["аpi.openai.com", "U+0430"],
  ["straße.de", "U+00DF", "xn--strae-oqa.de"],
  ["ﬁle.example", "U+FB01", "file.example"],
  ["a。b.example", "U+3002", "a.b.example"],
  ["api\u00AD.openai.com", "U+00AD", "api.openai.com"],
  ["api\u200D.example", "U+200D"],
  ["\u0915\u094D\u200D\u0937.example", "U+0915", "xn--11b2ezcw70k.example"],
  ["münchen.example", "U+00FC", "xn--mnchen-3ya.example"],
  ["xn--a.example", "no valid Punycode"],
  ["xn--99999999.example", "no valid Punycode"],
  ["xn--abc-.example", "hyphen"],
  ["xn--0ug.example", "no valid Punycode"],
  ["xn--pi-6kc.openai.com", "mixes letters of Latin and Cyrillic"],
];

describe("refused, with what was probably meant", () => {
  test.each(REFUSED.map(([text, said, proposed = ""]) => [text, said, proposed] as const))(
    "%j",
    (text, said, proposed) => {
      const problem = hostProblem(text) ?? "nothing";
      expect(problem).toContain(said);
      if (proposed === "") expect(problem).not.toContain("such as");
      else expect(problem).toContain(`, such as \`${proposed}\``);
    },
  );

  test("a proposal is always a host that is accepted", () => {
    const piece = fc.constantFrom(
      ...[
        "a",
        "B",
        ".",
        "*",
        "%2e",
        "ß",
        "а",
        "。",
        "xn--",
        ":8443",
        "@",
        "/",
        "127",
        "0x",
        "-",
        "_",
        " ",
        "https://",
      ],
    );
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 8 }), (pieces) => {
        const [, proposed] = /, such as `(.*)`/.exec(hostProblem(pieces.join("")) ?? "") ?? [];
        if (proposed !== undefined) expect([proposed, hostProblem(proposed)]).toEqual([proposed, undefined]);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("accepted", () => {
  test.each([
    ...[
      "api.openai.com",
      "a.b",
      "1password.com",
      "3.example",
      "r3---sn-a.example",
      "a-b.example",
      "0x7f.example",
    ],
    ...[
      "xn--strae-oqa.de",
      "xn--mnchen-3ya.example",
      "xn--11b2ezcw70k.example",
      "xn--fiqs8s",
      "localhost",
      "x",
    ],
    `${"a".repeat(63)}.example`,
  ])("%s", (host) => {
    expect(hostProblem(host)).toBeUndefined();
  });
});

test("the schema takes no shape that is refused here for its shape", () => {
  const accepts = (host: string): boolean =>
    resourceSchema.safeParse({
      kind: "ServerWorkload",
      metadata: { name: "w" },
      spec: { profile: "http", hosts: [host] },
    }).success;
  const byMeaning = REFUSED.filter(([, said]) => /Punycode|mixes/.test(said)).map(([text]) => text);
  expect(REFUSED.map(([text]) => text).filter(accepts)).toEqual(byMeaning);
  expect(accepts("api.openai.com")).toBe(true);
});

describe("names that a resolver may take for another", () => {
  test.each([
    ["localhost", "the machine itself"],
    ["api.localhost", "the machine itself"],
    ["intranet", "a single label"],
  ])("%s needs connectTo", (host, said) => {
    expect(resolutionProblem(host)).toContain(said);
  });

  test.each(["localhost.example", "api.example"])("%s does not", (host) => {
    expect(resolutionProblem(host)).toBeUndefined();
  });
});
