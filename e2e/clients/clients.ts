// SPDX-License-Identifier: Apache-2.0
/** Which clients must work through Postern, in which ways, and what does their user have to set? */

export type Way = "base URL" | "proxy";

export interface Client {
  readonly name: string;
  readonly source: "npm" | "PyPI" | "Debian" | "Node.js";
  /** The package whose version the table shows. */
  readonly versionOf: string;
  /** A file in `scripts/`; its ending says what runs it. */
  readonly script: string;
  /** Calls that must answer, each with the stand-in's sentence. */
  readonly calls: readonly string[];
  readonly ways: readonly Way[];
  /** Variables that the user sets because the client does not read those that the launcher sets. */
  readonly set?: Readonly<Record<string, string>>;
  /** What the user has to do, for the guide; nothing where absent. */
  readonly userMust?: string;
}

const BOTH: readonly Way[] = ["base URL", "proxy"];
const CALLS = ["plain", "stream"];

const npm = (name: string, script: string, more: Partial<Client> = {}): Client => ({
  name,
  source: "npm",
  versionOf: name,
  script,
  calls: CALLS,
  ways: BOTH,
  ...more,
});

const pypi = (name: string, script: string, more: Partial<Client> = {}): Client => ({
  ...npm(name, script),
  source: "PyPI",
  ...more,
});

export const CLIENTS: readonly Client[] = [
  npm("openai", "openai.mjs", { calls: ["plain", "stream", "responses plain", "responses stream"] }),
  npm("@anthropic-ai/sdk", "anthropic.mjs"),
  npm("@google/genai", "google-genai.mjs"),
  npm("ai with @ai-sdk/openai", "ai-openai.mjs", { versionOf: "@ai-sdk/openai" }),
  npm("ai with @ai-sdk/anthropic", "ai-anthropic.mjs", { versionOf: "@ai-sdk/anthropic" }),
  npm("ai with @ai-sdk/google", "ai-google.mjs", {
    versionOf: "@ai-sdk/google",
    ways: ["proxy"],
    userMust: "nothing; it reads no base URL from the environment",
  }),
  npm("@langchain/openai", "langchain-openai.mjs"),
  npm("@langchain/anthropic", "langchain-anthropic.mjs"),
  npm("@langchain/google-genai", "langchain-google-genai.mjs", {
    ways: ["proxy"],
    set: { GOOGLE_API_KEY: "placeholder" },
    userMust: "set `GOOGLE_API_KEY` to any text; it reads no base URL from the environment",
  }),
  {
    name: "fetch and https of Node.js",
    source: "Node.js",
    versionOf: "node",
    script: "node-http.mjs",
    calls: ["fetch plain", "fetch stream", "https plain", "https stream"],
    ways: BOTH,
    userMust: "use Node.js 22.21, 24.5 or newer for the proxy",
  },
  npm("ws", "ws.mjs", {
    calls: ["WebSocket"],
    userMust: "for the proxy pass `agent: new HttpsProxyAgent(process.env.HTTPS_PROXY)`",
  }),
  npm("openai, Realtime", "openai-realtime.mjs", {
    versionOf: "openai",
    calls: ["WebSocket"],
    ways: ["proxy"],
    userMust: "pass `options: { agent: new HttpsProxyAgent(process.env.HTTPS_PROXY) }`; it speaks `wss` only",
  }),
  {
    name: "WebSocket of Node.js",
    source: "Node.js",
    versionOf: "node",
    script: "node-websocket.mjs",
    calls: ["WebSocket"],
    ways: BOTH,
  },
  pypi("websockets", "py_websockets.py", { calls: ["WebSocket"] }),
  pypi("openai, Realtime", "py_openai_realtime.py", {
    versionOf: "openai",
    calls: ["WebSocket"],
    userMust: "for the base URL pass it as `websocket_base_url`, too, with `ws` for `http`",
  }),
  pypi("openai", "py_openai.py", { calls: ["plain", "stream", "responses plain"] }),
  pypi("anthropic", "py_anthropic.py"),
  pypi("google-genai", "py_google_genai.py"),
  pypi("langchain-openai", "py_langchain_openai.py"),
  pypi("requests", "py_requests.py"),
  pypi("httpx", "py_httpx.py"),
  pypi("aiohttp", "py_aiohttp.py", { userMust: "pass `trust_env=True` to `ClientSession` for the proxy" }),
  { name: "curl", source: "Debian", versionOf: "curl", script: "curl.sh", calls: CALLS, ways: BOTH },
  {
    name: "git over https",
    source: "Debian",
    versionOf: "git",
    script: "git.sh",
    calls: ["clone", "push"],
    ways: ["proxy"],
    userMust: "register the host as a ServerWorkload with profile `http` and injection `basic`",
  },
];

/** Taken away inside the sandbox so that clients go to the real host names. */
export const BASE_URL_VARIABLES = ["OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL"];
