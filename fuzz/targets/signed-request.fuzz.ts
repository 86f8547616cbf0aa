// SPDX-License-Identifier: Apache-2.0
/** Whatever is presented as a signed request to AWS: is nothing ever asked but who signed it, and nobody but STS? */
import { parseSignedRequest } from "../../packages/server/src/attestation/aws-iam/signed-request.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const NOW = Date.UTC(2026, 10, 21, 8, 0, 30);
const regions = ["eu-west-1", "cn-north-1"];
const HOSTS = new Set(["sts.eu-west-1.amazonaws.com", "sts.cn-north-1.amazonaws.com.cn"]);

function check(input: Buffer): void {
  const text = input.toString("latin1");
  const parsed = parseSignedRequest(text, { now: NOW, regions });
  if (!parsed.ok) return;
  const { expiresAt, nonce, signature, url } = parsed.value;
  demand(url.protocol === "https:" && HOSTS.has(url.host), `a request to ${url.host}`);
  demand(url.pathname === "/" && url.hash === "" && url.username === "", "a request to another place there");
  const names = [...url.searchParams.keys()];
  demand(new Set(names).size === names.length, "a parameter twice");
  demandEqual(url.searchParams.get("Action"), "GetCallerIdentity", "the action");
  demand(expiresAt > NOW && expiresAt <= NOW + 90_000, "a request that is good for longer than a minute");
  demand(/^[\w-]+$/.test(nonce) && !/[^0-9a-f]/.test(signature), "a header that holds another one");
  // A reader of URLs that shares nothing with ours finds the same parameters in what was presented.
  const presented = new URL(text);
  demandEqual(
    names.map((name) => presented.searchParams.getAll(name)),
    names.map((name) => url.searchParams.getAll(name)),
    "parameters",
  );
}

const GOOD =
  "https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15" +
  "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ASIAIOSFODNN7EXAMPLE%2F20261121%2Feu-west-1%2Fsts%2Faws4_request" +
  "&X-Amz-Date=20261121T080000Z&X-Amz-Expires=60&X-Amz-Security-Token=IQoJb3JpZ2luX2VjEDk%2B%2Fa%3D%3D" +
  "&X-Amz-SignedHeaders=host%3Bx-postern-audience%3Bx-postern-nonce" +
  "&X-Amz-Signature=f60b333f136f9d96e275dd3575cebcee7b33b8e54dd6859d87222065e0f87887#Zm9yLW9uY2Utb25seQ";

const target: FuzzTarget = {
  parsers: ["packages/server/src/attestation/aws-iam/signed-request.ts"],
  property:
    "Whatever is presented, STS of a listed region is asked who has signed it, within a minute, and nothing else; every parameter is there once and means the same to another reader.",
  words: [
    ...GOOD.split(/(?=[&?#])/),
    "Action=AssumeRole",
    "%41ction=",
    ".cn",
    "@evil.example",
    ";",
    "+",
    "%2B",
    "%00",
    "\r\nhost: evil.example",
    "cn-north-1",
  ],
  make: (choose) =>
    choose.once(3) ? GOOD.replaceAll("eu-west-1", "cn-north-1").replace(".com/", ".com.cn/") : GOOD,
  check,
};
export default target;
