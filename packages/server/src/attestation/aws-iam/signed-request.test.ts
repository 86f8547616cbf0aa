// SPDX-License-Identifier: Apache-2.0
import { presignUrl } from "@postern/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseSignedRequest } from "./signed-request.ts";

const NOW = Date.UTC(2026, 10, 21, 8, 0, 30);
const rules = { regions: ["eu-west-1", "cn-north-1"], now: NOW };
const NONCE = "Zm9yLW9uY2Utb25seQ";
const role = {
  accessKeyId: "ASIAIOSFODNN7EXAMPLE",
  secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
  sessionToken: "IQoJb3JpZ2luX2VjEDk+/a==",
  arn: "",
  account: "",
  userId: "",
};
const sts = {
  host: "sts.eu-west-1.amazonaws.com",
  region: "eu-west-1",
  service: "sts",
  date: new Date(NOW - 30_000),
  expires: 60,
  headers: { "x-postern-audience": "postern", "x-postern-nonce": NONCE },
  parameters: { Action: "GetCallerIdentity", Version: "2011-06-15" },
};
const signed = (change: object = {}) => `${presignUrl(role, { ...sts, ...change })}#${NONCE}`;
const good = signed();
const reason = (text: string): string => {
  const parsed = parseSignedRequest(text, rules);
  return parsed.ok ? "taken" : parsed.reason;
};

describe("a signed request", () => {
  test("is taken as it is signed, and made anew of its parts", () => {
    const parsed = parseSignedRequest(good, rules);
    expect(parsed).toMatchObject({ ok: true, value: { region: "eu-west-1", expiresAt: NOW + 30_000 } });
    if (!parsed.ok) return;
    expect(new Map(parsed.value.url.searchParams)).toEqual(new Map(new URL(good).searchParams));
    expect(parsed.value.url.host).toBe("sts.eu-west-1.amazonaws.com");
  });

  test.each<[string, (url: string) => string, string]>([
    [
      "asks for another action (CVE-2020-16250)",
      (url) => url.replace("GetCallerIdentity", "GetSessionToken"),
      "request_parameter_malformed",
    ],
    [
      "asks for two actions (CVE-2022-2385)",
      (url) => url.replace("#", "&Action=GetCallerIdentity#"),
      "request_parameter_twice",
    ],
    ["asks in another case", (url) => url.replace("#", "&action=AssumeRole#"), "request_parameter_unknown"],
    ["writes a name with escapes", (url) => url.replace("Action=", "%41ction="), "request_parameter_unknown"],
    [
      "names the name of every object",
      (url) => url.replace("#", "&constructor=1#"),
      "request_parameter_unknown",
    ],
    ["has a parameter more", (url) => url.replace("#", "&RoleArn=x#"), "request_parameter_unknown"],
    ["has an empty parameter", (url) => url.replace("#", "&#"), "request_parameter_unknown"],
    [
      "has a semicolon for an ampersand",
      (url) => url.replace("&Version", ";Version"),
      "request_parameter_malformed",
    ],
    ["lacks the version", (url) => url.replace("&Version=2011-06-15", ""), "request_parameter_missing"],
    ["has another version", (url) => url.replace("2011-06-15", "2011-06-16"), "request_parameter_malformed"],
    [
      "goes to another host",
      (url) => url.replace("sts.eu-west-1.amazonaws.com", "evil.example"),
      "request_host_refused",
    ],
    ["goes to a longer host", (url) => url.replace(".com/", ".com.evil.example/"), "request_host_refused"],
    [
      "goes to a user's host",
      (url) => url.replace("https://", "https://a@evil.example#"),
      "request_host_refused",
    ],
    ["goes to a port", (url) => url.replace(".com/", ".com:8443/"), "request_host_refused"],
    ["goes to a path", (url) => url.replace(".com/?", ".com/a?"), "request_host_refused"],
    ["goes to another region", (url) => url.replaceAll("eu-west-1", "us-east-1"), "request_host_refused"],
    ["goes to the global endpoint", (url) => url.replace("sts.eu-west-1", "sts"), "request_host_refused"],
    ["mixes China's host", (url) => url.replace(".com/", ".com.cn/"), "request_host_refused"],
    ["is plain HTTP", (url) => url.replace("https:", "http:"), "request_host_refused"],
    ["has no nonce", (url) => url.split("#")[0]!, "request_host_refused"],
    ["has two nonces", (url) => `${url}#${NONCE}`, "request_host_refused"],
    ["has a header in its nonce", (url) => `${url}\r\nx-postern-audience: x`, "request_host_refused"],
    ["has a line more", (url) => `${url}\nHost: evil.example`, "request_host_refused"],
    ["has a space for a plus", (url) => url.replace("%2B", "+"), "request_parameter_malformed"],
    ["has a broken escape", (url) => url.replace("%2B", "%ZZ"), "request_parameter_malformed"],
    [
      "was signed for another service",
      (url) => url.replace("%2Fsts%2F", "%2Fs3%2F"),
      "request_parameter_malformed",
    ],
    [
      "was signed for another region",
      (url) => url.replace("%2Feu-west-1%2F", "%2Fus-east-1%2F"),
      "request_scope_wrong",
    ],
    [
      "was signed on another day",
      (url) => url.replace("%2F20261121%2F", "%2F20261120%2F"),
      "request_scope_wrong",
    ],
    [
      "does not sign the audience",
      (url) => url.replace("%3Bx-postern-audience", ""),
      "request_parameter_malformed",
    ],
    [
      "signs another header too",
      (url) => url.replace("host%3B", "host%3Bx-amz-content-sha256%3B"),
      "request_parameter_malformed",
    ],
    [
      "has another algorithm",
      (url) => url.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
      "request_parameter_malformed",
    ],
    [
      "has its signature in capitals",
      (url) => url.replace(/[0-9a-f]{64}/, (hex) => hex.toUpperCase()),
      "request_parameter_malformed",
    ],
  ])("that %s is refused", (_, change, expected) => {
    const changed = change(good);
    expect(changed).not.toBe(good);
    expect(reason(changed)).toBe(expected);
  });

  test.each<[string, object, string]>([
    ["that lives longer than a minute", { expires: 61 }, "request_lives_too_long"],
    ["that lives for a week", { expires: 604_800 }, "request_parameter_malformed"],
    ["that has expired this moment", { date: new Date(NOW - 60_000) }, "request_expired"],
    ["from the future", { date: new Date(NOW + 31_000) }, "request_not_yet_valid"],
  ])("%s is refused", (_, change, expected) => {
    expect(reason(signed(change))).toBe(expected);
  });

  test("whose date is no date is refused", () => {
    const broken = good.replaceAll("20261121", "20261399");
    expect(reason(broken)).toBe("request_lives_too_long");
  });

  test("never makes the parser throw, and is never sent to another place", () => {
    const noise = fc.tuple(fc.nat(good.length), fc.string({ unit: "binary", maxLength: 6 }), fc.nat(4));
    fc.assert(
      fc.property(noise, ([at, text, cut]) => {
        const parsed = parseSignedRequest(good.slice(0, at) + text + good.slice(at + cut), rules);
        if (!parsed.ok) return;
        const { hash, host, pathname, username } = parsed.value.url;
        expect([host, pathname, username, hash]).toEqual(["sts.eu-west-1.amazonaws.com", "/", "", ""]);
        expect(parsed.value.url.searchParams.getAll("Action")).toEqual(["GetCallerIdentity"]);
      }),
      { numRuns: 2000 },
    );
  });
});

test("botocore 1.44 signs the same", () => {
  const { headers: _, ...plain } = sts;
  const date = new Date(Date.UTC(2026, 10, 21, 8));
  expect(presignUrl(role, { ...plain, date, headers: { "x-postern-audience": "postern" } })).toMatch(
    /f60b333f136f9d96e275dd3575cebcee7b33b8e54dd6859d87222065e0f87887$/,
  );
});

test("the stand-in signs as AWS documents it (Signature Version 4, query, example of Amazon S3)", () => {
  const example = presignUrl(
    { ...role, accessKeyId: "AKIAIOSFODNN7EXAMPLE", sessionToken: undefined as unknown as string },
    {
      ...{ host: "examplebucket.s3.amazonaws.com", path: "/test.txt", region: "us-east-1", service: "s3" },
      ...{ date: new Date(Date.UTC(2013, 4, 24)), expires: 86_400, headers: {}, payload: "UNSIGNED-PAYLOAD" },
    },
  );
  expect(example).toMatch(/aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404$/);
});
