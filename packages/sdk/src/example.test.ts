// SPDX-License-Identifier: Apache-2.0
/** Does the example of the README run, as it stands there? */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { field, mapField } from "@postern/identity/protobuf";
import { CompactSign } from "jose";
import { afterAll, beforeAll, expect, it } from "vitest";
import { answerFor, liveKey, LiveDomain } from "./trust-domain.fixture.ts";
import { FakeWorkloadApi } from "./workload-api.fixture.ts";

const EXAMPLE = fileURLToPath(new URL("../examples/two-services.ts", import.meta.url));
const README = fileURLToPath(new URL("../README.md", import.meta.url));
const ID = "spiffe://example.org/workload";

let api: FakeWorkloadApi;
beforeAll(async () => {
  const key = liveKey();
  const jwk = { ...key.publicKey.export({ format: "jwk" }), kid: "one", use: "jwt-svid" };
  const claims = { sub: ID, aud: ["hello-service"], exp: Math.floor(Date.now() / 1000) + 300 };
  const token = await new CompactSign(Buffer.from(JSON.stringify(claims)))
    .setProtectedHeader({ alg: "ES256", kid: "one" })
    .sign(key.privateKey);
  api = await FakeWorkloadApi.start();
  api.answer("FetchX509SVID", { message: answerFor(new LiveDomain()) });
  api.answer("FetchJWTBundles", {
    message: mapField(1, "spiffe://example.org", JSON.stringify({ keys: [jwk] })),
  });
  const svid = field(1, Buffer.concat([field(1, ID), field(2, token)]));
  api.answer("FetchJWTSVID", { message: svid, end: true });
});
afterAll(() => api.stop());

it("the example runs, and says who called whom", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [EXAMPLE], {
    env: { ...process.env, SPIFFE_ENDPOINT_SOCKET: api.endpoint },
    timeout: 20_000,
  });
  expect(stdout).toBe(`hello ${ID}, on behalf of nobody else\nhello ${ID}, on behalf of ${ID}\n`);
});

it("the README shows the example as it is", () => {
  const shown = /<!-- examples\/two-services\.ts -->\s+```ts\n([\s\S]*?)```/.exec(
    readFileSync(README, "utf8"),
  )?.[1];
  const code = readFileSync(EXAMPLE, "utf8");
  expect(shown).toBe(code.slice(code.indexOf("import ")));
});
