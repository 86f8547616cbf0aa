// SPDX-License-Identifier: Apache-2.0
/** The demo's checks against a world without Postern: what must fail there, fails. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createSocket } from "node:dgram";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startProgram, startStandIns, type Postern, type StandIns } from "@postern/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkAttacks } from "./attack-checks.ts";
import { checkCanary } from "./audit-checks.ts";
import { checkContext } from "./context-checks.ts";
import { checkIdentity } from "./identity-checks.ts";
import { checkSdks } from "./sdk-checks.ts";
import type { Check, Stage } from "./stage.ts";

let folder: string;
let standIns: StandIns;
let stage: Stage;
const received: string[] = [];
const socket = createSocket("udp4", (message) => void received.push(message.toString("latin1")));
const decoy = "decoy-that-nobody-else-knows";
const decoyProcess = startProgram("sleep", ["60"], { env: { POSTERN_DECOY: decoy } });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "demo-without-postern-"));
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  standIns = await startStandIns();
  await writeFile(join(folder, "vault"), standIns.secrets["openai-key"]!);
  await writeFile(join(folder, "ca.pem"), standIns.authority.certificate);
  stage = stageWithoutPostern();
});
afterAll(async () => {
  await decoyProcess.stop();
  await standIns.close();
  socket.close();
  await rm(folder, { recursive: true, force: true });
});

/** Agents run as they are, with real keys in their environment. */
function stageWithoutPostern(): Stage {
  const base = (name: "openai" | "anthropic" | "gemini") => `https://127.0.0.1:${standIns[name].port}`;
  const env = {
    NODE_EXTRA_CA_CERTS: join(folder, "ca.pem"),
    OPENAI_API_KEY: standIns.secrets["openai-key"],
    OPENAI_BASE_URL: `${base("openai")}/v1`,
    ANTHROPIC_API_KEY: standIns.secrets["anthropic-key"],
    ANTHROPIC_BASE_URL: base("anthropic"),
    GEMINI_API_KEY: standIns.secrets["gemini-key"],
    GOOGLE_GEMINI_BASE_URL: base("gemini"),
    // A dead proxy on loopback: no name is resolved, nothing leaves the machine.
    HTTPS_PROXY: "http://127.0.0.1:9",
    NO_PROXY: "127.0.0.1",
    NODE_USE_ENV_PROXY: "1",
  };
  const collected: Stage["collected"] = [];
  const postern = {
    folder,
    log: "",
    apply: async () => {},
    postern: async () => ({ code: 1, signal: null, stdout: "", stderr: "" }),
  };
  return {
    standIns,
    postern: postern as unknown as Postern,
    udp: { port: socket.address().port, received },
    decoy,
    collected,
    startAgent: (_agent, script, options = {}) => {
      const path = fileURLToPath(new URL(script, import.meta.url));
      const without = Object.fromEntries((options.without ?? []).map((name) => [name, undefined]));
      const program = startProgram(process.execPath, [path, ...(options.args ?? [])], {
        env: { ...env, ...without },
      });
      program.ended.then(
        ({ stdout, stderr }) => void collected.push({ place: script, content: stdout + stderr }),
        () => {},
      );
      return program;
    },
    close: async () => {},
  };
}

const failing = (checks: readonly Check[]) => checks.filter(({ ok }) => !ok).map(({ name }) => name);

describe("the checks of the demo, without Postern", () => {
  it("see SDKs work directly, the unmended Anthropic key refused, and the dead proxy", async () => {
    const checks = await checkSdks(stage);
    expect(failing(checks)).toEqual([
      "the anthropic SDK works by base URL",
      "the openai SDK works through the proxy",
      "the anthropic SDK works through the proxy",
      "the gemini SDK works through the proxy",
      // Two calls each instead of four, and Anthropic's key in the wrong place.
      "openai receives the real key and nothing of the placeholder",
      "anthropic receives the real key and nothing of the placeholder",
      "gemini receives the real key and nothing of the placeholder",
    ]);
  });

  it("see every attack succeed that Postern has to stop", async () => {
    expect(failing(await checkAttacks(stage))).toEqual([
      "the agent's environment holds a placeholder, no key",
      "other processes cannot be read",
      "vault, master key and audit log cannot be seen",
      "a key that the upstream reflects does not come back",
      "a host that nobody listed is refused",
      "a forged Host header is refused",
      "a tunnel to one host cannot be used for another",
      "a model that policy does not allow is refused",
      "`postern why` explains the refusal",
      "no connection past the gateway",
      "no datagram and no DNS query gets out",
    ]);
  });

  it("see nothing that looks at more than the key", async () => {
    expect(failing(await checkContext(stage))).toEqual([
      "a condition refuses what asks for too much",
      "a budget ends when it is used",
      "nothing leaves before a person's yes, then it goes once",
    ]);
  });

  it("see no identity, no call with one, and no refusal of it", async () => {
    expect(failing(await checkIdentity(stage))).toEqual([
      "evidence becomes a SPIFFE identity",
      "the same evidence a second time is refused",
      "with it, and no key, an API is called",
      "revoked, the identity opens nothing",
    ]);
  });

  it("find the keys in outputs and files", async () => {
    const check = await checkCanary(stage);
    expect(check.ok).toBe(false);
    expect(check.detail).toContain("openai-key raw in attack.ts");
    expect(check.detail).toContain(`openai-key raw in ${join(folder, "vault")}`);
  });
});
