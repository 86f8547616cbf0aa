// SPDX-License-Identifier: Apache-2.0
/** Does the operators' API answer everything in words, by its own routes, and never with an accident? */
import { once } from "node:events";
import { createApiServer } from "../../packages/server/src/api/router.ts";
import { type OperatorPorts, operatorRoutes } from "../../packages/server/src/api/routes.ts";
import { silentLog } from "../../packages/server/src/kernel/log.ts";
import { wire } from "../http-wire.ts";
import { demand, type FuzzTarget } from "../target.ts";

const SECRET = "sk-canary-in-a-body";
/** What was asked of the ports: by whom, and with what. */
let asked: unknown[][] = [];

async function* nothing(): AsyncGenerator<Buffer> {}

const refusing = { ok: false, reason: { detail: "no", places: [], code: "resource_conflict" } };
const ports = new Proxy(
  {
    listResources: () => [],
    listSecrets: async () => [],
    status: () => ({}),
    why: async () => undefined,
    onAudit: () => () => {},
    auditTail: nothing,
    auditExport: nothing,
    backup: async () => nothing(),
  },
  {
    get: (own: Readonly<Record<string, unknown>>, name: string) =>
      own[name] ??
      (async (...words: unknown[]) => {
        asked.push([name, ...words]);
        return refusing;
      }),
  },
) as unknown as OperatorPorts;

const failures: unknown[] = [];
const server = createApiServer(operatorRoutes(ports), () => ({ uid: 7, pid: 70 }), {
  ...silentLog,
  write: (...words: unknown[]) => void failures.push(words),
});

/** Method and path on the first line, the body behind it. */
async function check(input: Buffer): Promise<void> {
  asked = [];
  failures.length = 0;
  const end = input.indexOf("\n");
  const [method = "", path = ""] = input.toString("latin1", 0, end < 0 ? input.length : end).split(" ");
  const body = end < 0 ? Buffer.alloc(0) : input.subarray(end + 1);
  const { near, send, answered } = wire();
  server.emit("connection", near);
  await send([
    Buffer.concat([
      Buffer.from(
        `${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`,
        "latin1",
      ),
      body,
    ]),
  ]);
  const answer = (await answered).toString("utf8");
  if (!near.destroyed)
    await Promise.race([once(near, "close"), new Promise((resolve) => setImmediate(resolve))]);
  demand(failures.length === 0, `the API failed: ${JSON.stringify(failures)}`);
  const [head = "", text = ""] = answer.split("\r\n\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
  // Node's own answer to what is no request at all has no body.
  if ((status === 400 || status === 431) && !head.includes("content-type")) return;
  demand([200, 400, 404, 405, 409, 413, 422].includes(status), `status ${status}: ${answer.slice(0, 300)}`);
  demand(path.includes("canary") || !answer.includes(SECRET), "the body is in the answer");
  if (status === 200 || text === "") return;
  const problem = JSON.parse(text) as { code?: unknown; status?: unknown; detail?: unknown };
  demand(
    typeof problem.code === "string" && problem.status === status && typeof problem.detail === "string",
    "a refusal that is no problem",
  );
  for (const [name, ...words] of asked)
    demand(/^[a-zA-Z]+$/.test(String(name)) && words.length > 0, "a port was asked for nothing");
}

const PATHS = [
  "/v1/status",
  "/v1/apply",
  "/v1/resources",
  "/v1/resources/Agent",
  "/v1/resources/Agent/x",
  "/v1/secrets",
  "/v1/secrets/x",
  "/v1/vault/rotate-key",
  "/v1/vault/accept-key",
  "/v1/backup",
  "/v1/agents/x/cut",
  "/v1/agents/%2F/restore",
  "/v1/runs",
  "/v1/decisions/x",
  "/v1/audit/events?lines=5",
  "/v1/audit/events?lines=1e9",
  "/v1/audit/tiles",
  "/v1/audit/export",
  "//[",
  "/v1/../v1/status",
  "/v1/agents/%zz/cut",
  "/v1/agents//cut",
  "http://x/v1/status",
];
const BODIES = [
  '{"files":[{"name":"f","text":"kind: Agent"}],"dryRun":true}',
  "{}",
  "[]",
  "null",
  '{"to":"env:K"}',
  '{"reference":"file:/x"}',
  '{"withMasterKey":false}',
  '{"reason":"x"}',
  '{"isolated":true,"command":"sh","environment":{"A":"b"},"keep":[]}',
  '{"folder":"/tmp/x"}',
  '{"__proto__":{"folder":"/x"}}',
  `"${SECRET}"`,
  "{",
  "\xff",
  '{"environment":{"__proto__":"x"},"isolated":true,"command":""}',
];

const target: FuzzTarget = {
  parsers: ["packages/server/src/api/router.ts", "packages/server/src/api/routes.ts"],
  property:
    "Every request is answered by its route or by a problem with the right status; nothing fails by accident, and no refusal repeats the body.",
  words: [...PATHS, ...BODIES, "GET ", "POST ", "PUT ", "DELETE ", "\n"],
  make: (choose) =>
    `${choose.pick(["GET", "POST", "PUT", "DELETE", "PATCH"])} ${choose.pick(PATHS)}\n${choose.pick(BODIES)}`,
  slowest: 1500,
  check,
};
export default target;
