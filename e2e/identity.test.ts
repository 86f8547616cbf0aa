// SPDX-License-Identifier: Apache-2.0
/** Identities of the real product: who gets one, what it is worth, and how it ends. */
import { X509Certificate } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findSecrets, startPostern, type Postern, type RunningProgram } from "@postern/testkit";

const SCRIPT = fileURLToPath(new URL("remote-workload.ts", import.meta.url));
const agent = (name: string, spiffeId: string): string => `---
kind: Agent
metadata: { name: ${name} }
spec:
  trustProvider: local
  selectors: ["process:agent=${name}"]
${spiffeId === "" ? "" : `  spiffeId: ${spiffeId}\n`}`;
const PROVIDER = "kind: TrustProvider\nmetadata: { name: local }\nspec: { kind: process }\n";

let postern: Postern;

beforeAll(async () => {
  postern = await startPostern({ args: ["--trust-domain", "corp"] });
  await postern.apply(
    [
      PROVIDER,
      agent("first", "spiffe://corp/agents/{process.agent}"),
      agent("second", "spiffe://corp/agents/{process.agent}"),
      agent("nobody", ""),
    ].join(""),
  );
});

afterAll(() => postern?.stop());

interface Line {
  readonly id?: string;
  readonly certificate?: string;
  readonly token?: string;
  readonly wit?: string;
  readonly key?: string;
  readonly method?: string;
  readonly status?: string;
}

const linesOf = ({ stdout }: RunningProgram): Line[] =>
  stdout
    .slice(0, stdout.lastIndexOf("\n") + 1)
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Line);

/** The first line of the workload that is wanted, once it is there. */
async function seen(program: RunningProgram, wanted: (line: Line) => boolean): Promise<Line> {
  const find = (): Line | undefined => linesOf(program).find(wanted);
  if (find() === undefined) await program.line((line) => line.startsWith("{") && find() !== undefined);
  return find()!;
}

const start = (name: string): RunningProgram =>
  postern.start(["run", "--agent", name, "--", process.execPath, SCRIPT]);

/** What Postern's own door says of a document. */
async function checked(document: string): Promise<{ outcome: string; reason?: string; agent?: string }> {
  const file = join(postern.folder, "checked.svid");
  await writeFile(file, document);
  const { stdout } = await postern.postern(["svid", "check", file, "--audience", "api", "--json"]);
  return JSON.parse(stdout) as { outcome: string; reason?: string; agent?: string };
}

const ca = async (...words: string[]): Promise<number> => (await postern.postern(["ca", ...words])).code;

describe("an agent without a SPIFFE ID", () => {
  it("is told that there is none, and the log has the reason", async () => {
    const program = start("nobody");
    await seen(program, ({ method, status }) => method === "FetchX509SVID" && status === "7");
    await seen(program, ({ method, status }) => method === "FetchJWTSVID" && status === "7");
    await seen(program, ({ method, status }) => method === "FetchWITSVID" && status === "12");
    await program.ended;
    const { stdout } = await postern.postern(["audit", "tail", "--json"]);
    expect(stdout).toContain("agent_without_spiffe_id");
  });
});

describe("an agent with a SPIFFE ID", () => {
  it("gets documents that hold, until it is cut off", async () => {
    const program = start("first");
    const { id, certificate = "" } = await seen(program, (line) => line.certificate !== undefined);
    const { token = "" } = await seen(program, (line) => line.token !== undefined);
    expect(id).toBe("spiffe://corp/agents/first");
    expect(new X509Certificate(certificate).subjectAltName).toBe(`URI:${id}`);
    for (const document of [certificate, token])
      expect(await checked(document)).toMatchObject({ outcome: "accepted", agent: "first" });
    await postern.postern(["cut", "first"]);
    await seen(program, ({ method, status }) => method === "FetchX509SVID" && status === "7");
    for (const document of [certificate, token])
      expect(await checked(document)).toMatchObject({ outcome: "refused", reason: "agent_cut" });
    await program.ended;
    expect(findSecrets("log", postern.log, { token })).toEqual([]);
  });

  it("gets new documents as authorities change, and the old ones end with the authority that signed them", async () => {
    const program = start("second");
    const { certificate = "" } = await seen(program, (line) => line.certificate !== undefined);
    const count = () => linesOf(program).filter((each) => each.certificate !== undefined).length;
    expect(await ca("revoke", "x509-1")).toBe(1);
    expect(await ca("prepare", "x509")).toBe(0);
    expect(await ca("activate", "x509-2")).toBe(1);
    expect(await ca("activate", "x509-2", "--force")).toBe(0);
    expect(await ca("taint", "x509-1")).toBe(0);
    expect(await checked(certificate)).toMatchObject({ outcome: "accepted" });
    expect(await ca("revoke", "x509-1")).toBe(0);
    expect(await checked(certificate)).toMatchObject({
      outcome: "refused",
      reason: "not_signed_by_trust_domain",
    });
    await expect.poll(count).toBe(5);
    const newest = linesOf(program).findLast((each) => each.certificate !== undefined)?.certificate ?? "";
    expect(await checked(newest)).toMatchObject({ outcome: "accepted", agent: "second" });
    await program.stop();
  });
});

describe("a server that issues WIT-SVIDs", () => {
  it("gives one with its key until the agent is cut off, and its own door takes none", async () => {
    const other = await startPostern({ args: ["--trust-domain", "corp", "--wit-svid"] });
    try {
      await other.apply(PROVIDER + agent("first", "spiffe://corp/agents/{process.agent}"));
      const program = other.start(["run", "--agent", "first", "--", process.execPath, SCRIPT]);
      const { wit = "", key = "" } = await seen(program, (line) => line.wit !== undefined);
      const { d, ...publicKey } = JSON.parse(key) as Record<string, string>;
      const claims = JSON.parse(Buffer.from(wit.split(".")[1]!, "base64url").toString()) as object;
      expect(claims).toMatchObject({ sub: "spiffe://corp/agents/first", cnf: { jwk: publicKey } });
      const file = join(other.folder, "checked.svid");
      await writeFile(file, wit);
      const check = await other.postern(["svid", "check", file, "--audience", "api", "--json"]);
      expect(JSON.parse(check.stdout)).toEqual({ outcome: "refused", reason: "token_type_refused" });
      await other.postern(["cut", "first"]);
      await seen(program, ({ method, status }) => method === "FetchWITSVID" && status === "7");
      await program.ended;
      const { stdout } = await other.postern(["audit", "tail", "--json"]);
      expect(stdout).toContain("WIT-SVID");
      expect(findSecrets("log", other.log + stdout, { key: d! })).toEqual([]);
    } finally {
      await other.stop();
    }
  });
});

describe("a server without a trust domain", () => {
  it("takes no SPIFFE IDs and has no authorities", async () => {
    const plain = await startPostern();
    try {
      await expect(plain.apply(PROVIDER + agent("first", "spiffe://corp/a"))).rejects.toThrow(
        "--trust-domain NAME",
      );
      expect(await plain.postern(["ca", "list"])).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("--trust-domain NAME"),
      });
    } finally {
      await plain.stop();
    }
  });
});
