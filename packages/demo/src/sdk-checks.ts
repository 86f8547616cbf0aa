// SPDX-License-Identifier: Apache-2.0
/** Do unmodified SDKs work without a key, by base URL and through the proxy, and does the upstream see one key? */
import type { StandIn } from "@postern/testkit";
import { AGENT, jsonLines, type Check, type Stage } from "./stage.ts";

const SDKS = ["openai", "anthropic", "gemini"] as const;
const BASE_URL_VARIABLES = ["OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL"];
const EXPECTED = "Hello from the stand-in.";

interface CallResult {
  readonly sdk: string;
  readonly call: string;
  readonly ok: boolean;
  readonly text?: string;
  readonly error?: string;
}

export async function checkSdks(stage: Stage): Promise<Check[]> {
  const byBaseUrl = await stage.startAgent(AGENT, "agent.ts").ended;
  const byProxy = await stage.startAgent(AGENT, "agent.ts", { without: BASE_URL_VARIABLES }).ended;
  return [
    ...SDKS.map((sdk) => judgeSdk(sdk, "by base URL", byBaseUrl.stdout, byBaseUrl.stderr)),
    ...SDKS.map((sdk) => judgeSdk(sdk, "through the proxy", byProxy.stdout, byProxy.stderr)),
    ...SDKS.map((sdk) => judgeCredential(stage.standIns[sdk], stage.standIns.secrets[`${sdk}-key`]!)),
  ];
}

function judgeSdk(sdk: string, way: string, stdout: string, stderr: string): Check {
  const calls = jsonLines<CallResult>(stdout).filter((line) => line.sdk === sdk);
  const right = calls.filter(({ ok, text }) => ok && text === EXPECTED).map(({ call }) => call);
  const ok = right.includes("plain") && right.includes("stream");
  const wrong = calls.find(({ call }) => !right.includes(call));
  const detail = ok
    ? "one plain and one streamed call answered"
    : (wrong?.error ?? wrong?.text ?? stderr.trim().split("\n").at(-1) ?? "no call was made");
  return { name: `the ${sdk} SDK works ${way}`, ok, detail };
}

const CARRIER = { openai: "bearer", anthropic: "x-api-key", gemini: "x-goog-api-key" } as Record<
  string,
  string
>;

/** What arrived upstream: the real key, in the provider's own place, and no other credential. */
function judgeCredential(standIn: StandIn, secret: string): Check {
  const wrong = standIn.requests.filter(
    ({ credentials }) =>
      credentials.length !== 1 ||
      credentials[0]!.value !== secret ||
      credentials[0]!.carrier !== CARRIER[standIn.name],
  );
  // Two ways, one plain and one streamed call each.
  const ok = standIn.requests.length >= 4 && wrong.length === 0;
  const detail = `${standIn.requests.length} requests arrived, ${wrong.length} without exactly the real key`;
  return { name: `${standIn.name} receives the real key and nothing of the placeholder`, ok, detail };
}
