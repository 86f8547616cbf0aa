// SPDX-License-Identifier: Apache-2.0
/** Does the exported log verify, is any change found, and is no secret in anything that was written anywhere? */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findSecrets, findSecretsInFolder, newMarkedSecret } from "@postern/testkit";
import type { Check, Stage } from "./stage.ts";

export async function checkAudit(stage: Stage): Promise<Check[]> {
  const folder = await mkdtemp(join(tmpdir(), "postern-demo-export-"));
  try {
    const file = join(folder, "audit.jsonl");
    const exported = await stage.postern.postern(["audit", "export", file]);
    const text = exported.code === 0 ? await readFile(file, "utf8") : "";
    stage.collected.push({ place: "audit export", content: text });
    const upstreamCalls = text.split("\n").filter((line) => line.includes("gpt-4o-mini")).length;
    return [
      await judgeVerify(stage, file, "the exported log verifies", 0),
      {
        name: "the log tells who called what",
        ok: upstreamCalls >= 4 && text.includes("access_denied"),
        detail: `${upstreamCalls} lines name the model, refusals ${text.includes("access_denied") ? "included" : "missing"}`,
      },
      await judgeTampered(stage, folder, text, "a changed line is found", (lines) => {
        const at = lines.findIndex((line) => line.includes("access_denied"));
        lines[at] = lines[at]!.replace("access_denied", "access_allowed");
      }),
      await judgeTampered(stage, folder, text, "a removed line is found", (lines) => void lines.splice(2, 1)),
    ];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function judgeVerify(stage: Stage, file: string, name: string, expected: 0 | 1): Promise<Check> {
  const { code, stdout, stderr } = await stage.postern.postern(["audit", "verify", file]);
  stage.collected.push({ place: "output of audit verify", content: stdout + stderr });
  const [line] = (stdout + stderr).trim().split("\n");
  return { name, ok: code === expected, detail: `code ${code}: ${line}`.slice(0, 160) };
}

async function judgeTampered(
  stage: Stage,
  folder: string,
  text: string,
  name: string,
  tamper: (lines: string[]) => void,
): Promise<Check> {
  const lines = text.split("\n");
  try {
    tamper(lines);
  } catch {
    return { name, ok: false, detail: "the log has no such line" };
  }
  if (lines.join("\n") === text) return { name, ok: false, detail: "nothing was changed" };
  const file = join(folder, "tampered.jsonl");
  await writeFile(file, lines.join("\n"));
  return judgeVerify(stage, file, name, 1);
}

/** The canary: none of the real keys, in any encoding, in any output or any file of the product. */
export async function checkCanary(stage: Stage): Promise<Check> {
  const { secrets } = stage.standIns;
  const outputs = [...stage.collected, { place: "log of postern up", content: stage.postern.log }];
  const inOutputs = outputs.flatMap(({ place, content }) => findSecrets(place, content, secrets));
  const { findings, filesRead } = await findSecretsInFolder(stage.postern.folder, secrets);
  const all = [...inOutputs, ...findings];
  const bytes = outputs.reduce((sum, { content }) => sum + content.length, 0);
  // Control: the search finds a key that is there.
  const sample = newMarkedSecret("sk-");
  const works = findSecrets("sample", Buffer.from(`x${sample}`).toString("base64"), { sample }).length > 0;
  const where = all.map(({ secret, place, encoding }) => `${secret} ${encoding} in ${place}`).join("; ");
  return {
    name: "no key in any output, log, export or file",
    ok: works && bytes > 0 && filesRead > 0 && all.length === 0,
    detail:
      where === "" ? `${outputs.length} outputs (${bytes} bytes) and ${filesRead} files searched` : where,
  };
}
