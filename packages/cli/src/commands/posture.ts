// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import type { KeptPosture, PostureReport, PostureResponse } from "@postern/contract";
import { type Command, type Invocation, oneWord, stringFlag, UsageError } from "../command.ts";
import { readScan, SCAN_FORMATS } from "../scan-report.ts";
import { secondsOf } from "../spans.ts";
import { visible } from "@postern/server/visible-text";

const span = {
  type: "string",
  value: "TIME",
  help: "how long it holds from when it was seen, such as 15m or 24h; afterwards it is as if nobody had said it",
} as const;

const report: Command = {
  name: "posture report",
  usage: "posture report SUBJECT --source NAME --for TIME [FACT=VALUE ...]",
  summary: "say how a workload or a machine is",
  flags: {
    source: { type: "string", value: "NAME", help: "who looked, such as crowdstrike" },
    for: span,
    "observed-at": { type: "string", value: "TIME", help: "when it was seen, as in RFC 3339 (default: now)" },
  },
  details:
    "SUBJECT is a selector that callers have, such as spiffe:id=spiffe://corp/agents/a, or `machine`, the one that the server runs on.\n" +
    "All that the source said of the subject before is forgotten; without facts nothing is left. A value is true, false, a\n" +
    "number or a text. Access conditions of kind `posture` ask for it.",
  run: async (invocation) => {
    const { flags, words } = invocation;
    const [subject, ...facts] = words;
    if (subject === undefined) throw new UsageError("give a subject, such as machine");
    return put(invocation, {
      subject,
      source: stringFlag(flags["source"]) ?? missing("--source"),
      facts: Object.fromEntries(facts.map(factOf)),
      validFor: secondsOf("--for", flags["for"]),
      ...optional("observedAt", stringFlag(flags["observed-at"])),
    });
  },
};

const importScan: Command = {
  name: "posture import",
  usage: "posture import FILE --format FORMAT --subject SUBJECT --for TIME",
  summary: "say what a scanner has found",
  flags: {
    format: { type: "string", value: "FORMAT", help: `${SCAN_FORMATS.join(", ")}: the scanner's JSON` },
    subject: {
      type: "string",
      value: "SUBJECT",
      help: "what was scanned, such as spiffe:id=spiffe://corp/agents/a",
    },
    source: { type: "string", value: "NAME", help: "who looked (default: the format)" },
    for: span,
  },
  details:
    "The facts are vulnerabilities.critical, .high, .medium, .low, .negligible and .unknown: how many different ones.\n" +
    "FILE may be -. The time is the report's own: an old report does not become new by being imported.",
  run: async (invocation) => {
    const { flags } = invocation;
    const file = oneWord(invocation, "file");
    const format = SCAN_FORMATS.find((each) => each === flags["format"]);
    if (format === undefined) throw new UsageError(`give --format as one of ${SCAN_FORMATS.join(", ")}`);
    const { facts, observedAt } = readScan(readFileSync(file === "-" ? 0 : file, "utf8"), format, file);
    return put(invocation, {
      ...{ facts, source: stringFlag(flags["source"]) ?? format },
      ...{
        subject: stringFlag(flags["subject"]) ?? missing("--subject"),
        validFor: secondsOf("--for", flags["for"]),
      },
      ...optional("observedAt", observedAt),
    });
  },
};

const list: Command = {
  name: "posture list",
  usage: "posture list",
  summary: "list what is said of workloads and machines now",
  flags: {},
  run: async ({ control, json, print, words }) => {
    if (words.length > 0) throw new UsageError("it takes no words");
    const answer = await control.get<PostureResponse>("/v1/posture");
    if (json) print(JSON.stringify(answer));
    else if (answer.reports.length === 0) print("nobody has said anything that still holds");
    else for (const each of answer.reports) print(line(each));
    return 0;
  },
};

export const postureCommands: readonly Command[] = [report, importScan, list];

async function put({ control, json, print }: Invocation, body: PostureReport): Promise<number> {
  const kept = await control.put<KeptPosture>("/v1/posture", Buffer.from(JSON.stringify(body)));
  print(json ? JSON.stringify(kept) : line(kept));
  return 0;
}

function factOf(word: string): [string, boolean | number | string] {
  const [name, ...rest] = word.split("=");
  const text = rest.join("=");
  if (name === undefined || rest.length === 0)
    throw new UsageError(`write facts as NAME=VALUE, not ${JSON.stringify(word)}`);
  if (text === "true" || text === "false") return [name, text === "true"];
  return [name, /^-?\d{1,15}(\.\d{1,9})?$/.test(text) ? Number(text) : text];
}

const missing = (flag: string): never => {
  throw new UsageError(`give ${flag}`);
};

const optional = <Name extends string>(name: Name, value: string | undefined): { [name in Name]?: string } =>
  (value === undefined ? {} : { [name]: value }) as { [name in Name]?: string };

const line = ({ expiresAt, facts, observedAt, source, subject }: KeptPosture): string => {
  const said = Object.entries(facts).map(([name, value]) => `${name}=${visible(String(value))}`);
  return [
    visible(subject),
    source,
    said.length === 0 ? "nothing" : said.join(" "),
    `seen ${observedAt}, until ${expiresAt}`,
  ].join("  ");
};
