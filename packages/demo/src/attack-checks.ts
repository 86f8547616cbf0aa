// SPDX-License-Identifier: Apache-2.0
/** What did the attacker get? Each judgement has a control that shows the attack could have worked. */
import { readdir } from "node:fs/promises";
import { createSocket } from "node:dgram";
import { join, sep } from "node:path";
import { findSecrets, FORBIDDEN_MODELS, hostileModel } from "@postern/testkit";
import type { AttackOrders, AttackReport } from "./attack-orders.ts";
import { attemptTcp } from "./attack-wire.ts";
import { AGENT, jsonLines, type Check, type Stage } from "./stage.ts";

const ECHOES = (["echo", "echo-split", "echo-stream", "echo-gzip", "echo-error"] as const).map(hostileModel);

export async function checkAttacks(stage: Stage): Promise<Check[]> {
  const { standIns, postern, udp } = stage;
  for (const standIn of [standIns.openai, standIns.anthropic, standIns.gemini]) standIn.forgetRequests();
  const orders: AttackOrders = {
    dataFolder: postern.folder,
    upstreamPorts: [standIns.openai.port, standIns.anthropic.port, standIns.gemini.port],
    udpPort: udp.port,
    forbiddenModel: FORBIDDEN_MODELS.openai,
    echoModels: ECHOES,
  };
  const { stdout } = await stage.startAgent(AGENT, "attack.ts", { args: [JSON.stringify(orders)] }).ended;
  const reports = jsonLines<AttackReport>(stdout);
  const of = (attack: string) => reports.filter((report) => report.attack === attack);
  return [
    judgeEnvironment(stage, of("environment")),
    judgeProcesses(stage, of("other processes")),
    await judgeDataFolder(stage, of("data folder")),
    judgeEchoes(stage, of("echo")),
    judgeUnlistedHost(of("unlisted host")),
    judgeHostSwap(stage, of("host swap")),
    judgeMismatch(stage, of("connect mismatch: server name"), of("connect mismatch: host")),
    judgeForbiddenModel(stage, of("forbidden model")),
    await judgeWhy(stage, of("forbidden model")),
    await judgeTcp(orders, of("direct tcp")),
    await judgeUdp(stage, of("udp")),
  ];
}

function judgeEnvironment(stage: Stage, [report]: AttackReport[]): Check {
  const variables = (report?.["variables"] ?? {}) as Record<string, string>;
  const found = findSecrets("environment", JSON.stringify(variables), stage.standIns.secrets);
  const placeholder = variables["OPENAI_API_KEY"] ?? "";
  return {
    name: "the agent's environment holds a placeholder, no key",
    ok: placeholder !== "" && found.length === 0,
    detail: `${Object.keys(variables).length} variables, ${found.length} findings`,
  };
}

function judgeProcesses(stage: Stage, [report]: AttackReport[]): Check {
  const text = JSON.stringify(report?.["read"] ?? []);
  const secrets = { ...stage.standIns.secrets, decoy: stage.decoy };
  const found = findSecrets("/proc", text, secrets);
  const processes = Number(report?.["processes"] ?? 0);
  return {
    name: "other processes cannot be read",
    ok: processes > 0 && found.length === 0,
    detail: `${processes} processes visible, none of them outside the sandbox${found.length > 0 ? ": WRONG" : ""}`,
  };
}

/** Its own run folder is the one place in there that an agent sees: certificates and its socket. */
async function judgeDataFolder(stage: Stage, [report]: AttackReport[]): Promise<Check> {
  const { folder } = stage.postern;
  const isOfRuns = (path: string) => path.startsWith(join(folder, "runs") + sep);
  const seen = report?.["files"] as { path: string; content: string }[] | undefined;
  const foreign = seen?.filter(({ path }) => !isOfRuns(path)) ?? [];
  const found = (seen ?? []).flatMap(({ path, content }) =>
    findSecrets(path, Buffer.from(content, "base64"), stage.standIns.secrets),
  );
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const real = entries.filter((entry) => entry.isFile() && !isOfRuns(join(entry.parentPath, entry.name)));
  const listed = foreign.length === 0 ? "none of them" : foreign.map(({ path }) => path).join(", ");
  return {
    name: "vault, master key and audit log cannot be seen",
    ok: seen !== undefined && foreign.length === 0 && found.length === 0 && real.length > 0,
    detail: `${real.length} files are there, the agent sees ${listed}`,
  };
}

function judgeEchoes(stage: Stage, reports: AttackReport[]): Check {
  const answered = reports.filter((report) => report["status"] !== undefined);
  const found = reports.flatMap((report) =>
    findSecrets(String(report["model"]), JSON.stringify(report), stage.standIns.secrets),
  );
  // Control: the upstream did reflect, for the key had reached it.
  const reflected = stage.standIns.openai.requests.filter(
    ({ json, credentials }) =>
      ECHOES.includes((json as { model: (typeof ECHOES)[number] } | undefined)!.model) &&
      credentials[0]?.value === stage.standIns.secrets["openai-key"],
  );
  const ok = answered.length === ECHOES.length && reflected.length >= ECHOES.length && found.length === 0;
  const leaks = found.map(({ place, encoding }) => `${place} (${encoding})`).join(", ");
  return {
    name: "a key that the upstream reflects does not come back",
    ok,
    detail:
      leaks === ""
        ? `${reflected.length} reflections, ${answered.length} answers, no finding`
        : `found in ${leaks}`,
  };
}

function judgeUnlistedHost([report]: AttackReport[]): Check {
  const ok = report?.["tunnel"] === 403;
  return { name: "a host that nobody listed is refused", ok, detail: shorten(JSON.stringify(report ?? {})) };
}

function judgeHostSwap(stage: Stage, [report]: AttackReport[]): Check {
  const arrived = stage.standIns.anthropic.requests.length;
  const code = /"code":"([a-z_]+)"/.exec(String(report?.["body"]))?.[1];
  return {
    name: "a forged Host header is refused",
    ok: report?.["status"] === 400 && code === "target_not_canonical" && arrived === 0,
    detail: `status ${String(report?.["status"])} ${code ?? ""}, ${arrived} requests arrived`,
  };
}

function judgeMismatch(stage: Stage, byName: AttackReport[], byHost: AttackReport[]): Check {
  const reports = [...byName, ...byHost];
  // A proxy that does not answer at all refuses nothing.
  const refused = reports.filter((report) => {
    const status = Number(report["status"] ?? report["tunnel"]);
    return (
      report["tunnel"] !== undefined && (report["error"] !== undefined || (status >= 400 && status < 500))
    );
  });
  const arrived = [stage.standIns.openai, stage.standIns.anthropic].flatMap((standIn) =>
    standIn.requests.filter(({ target }) => target === "/v1/models"),
  );
  return {
    name: "a tunnel to one host cannot be used for another",
    ok: reports.length === 2 && refused.length === 2 && arrived.length === 0,
    detail: `${refused.length} of 2 refused, ${arrived.length} requests arrived`,
  };
}

function judgeForbiddenModel(stage: Stage, [report]: AttackReport[]): Check {
  const arrived = stage.standIns.openai.requests.filter(
    ({ json }) => (json as { model?: string } | undefined)?.model === FORBIDDEN_MODELS.openai,
  );
  const ok =
    report?.["status"] === 403 && /access_denied/.test(String(report["body"])) && arrived.length === 0;
  return {
    name: "a model that policy does not allow is refused",
    ok,
    detail: `status ${String(report?.["status"])}, ${arrived.length} requests arrived`,
  };
}

async function judgeWhy(stage: Stage, [report]: AttackReport[]): Promise<Check> {
  const id = /urn:uuid:([0-9a-f-]{36})/.exec(String(report?.["body"]))?.[1];
  const name = "`postern why` explains the refusal";
  if (id === undefined) return { name, ok: false, detail: "the refusal carried no id" };
  const { code, stdout, stderr } = await stage.postern.postern(["why", id]);
  stage.collected.push({ place: "output of why", content: stdout + stderr });
  return {
    name,
    ok: code === 0 && stdout.includes(FORBIDDEN_MODELS.openai),
    detail: shorten(stdout + stderr),
  };
}

async function judgeTcp({ upstreamPorts }: AttackOrders, reports: AttackReport[]): Promise<Check> {
  const through = reports.filter((report) => report["result"] === "connected");
  const controls = await Promise.all(upstreamPorts.map(attemptTcp));
  return {
    name: "no connection past the gateway",
    ok:
      reports.length === upstreamPorts.length &&
      through.length === 0 &&
      controls.every((one) => one === "connected"),
    detail: `${through.length} of ${reports.length} connected from inside; from outside all do`,
  };
}

async function judgeUdp(stage: Stage, reports: AttackReport[]): Promise<Check> {
  const leaked = stage.udp.received.length;
  const socket = createSocket("udp4");
  await new Promise((resolve) => socket.send("control", stage.udp.port, "127.0.0.1", resolve));
  socket.close();
  for (let i = 0; i < 100 && stage.udp.received.length === leaked; i++)
    await new Promise((r) => setTimeout(r, 10));
  return {
    name: "no datagram and no DNS query gets out",
    ok: reports.length === 1 && leaked === 0 && stage.udp.received.includes("control"),
    detail: `${leaked} datagrams arrived from inside`,
  };
}

const shorten = (text: string) =>
  (text.length > 160 ? `${text.slice(0, 157)}...` : text).replaceAll("\n", " ");
