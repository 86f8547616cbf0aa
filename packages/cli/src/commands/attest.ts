// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import type {
  AttestExplanation,
  AttestRequest,
  AttestResponse,
  IssuedIdentity,
  JoinTokenResponse,
} from "@postern/contract";
import { type Command, listFlag, oneWord, stringFlag, UsageError } from "../command.ts";
import { attestAt } from "../gateway-attest.ts";
import { askForIdentity, writeIdentity } from "../identity-files.ts";

export const attest: Command = {
  name: "attest",
  usage: "attest --provider NAME --evidence-file FILE",
  summary: "check the evidence of a workload, and say which agent it makes",
  flags: {
    provider: { type: "string", value: "NAME", help: "the TrustProvider that the evidence is for" },
    "evidence-file": {
      type: "string",
      value: "FILE",
      help: "the evidence, such as a token; - for standard input",
    },
    explain: {
      type: "boolean",
      help: "show what was proved, the agents that came closest, or what is wrong; operators only",
    },
    server: {
      type: "string",
      value: "URL",
      help: "present it to the gateway of another machine, https://HOST:PORT (default: the server of the data folder)",
    },
    ca: {
      type: "string",
      value: "FILE",
      help: "PEM file with the authorities that --server is verified by (default: the system's)",
    },
    write: {
      type: "string",
      value: "DIR",
      help: "get the agent's identity for it, and keep it in files there: certificate, key, token, and whom to believe",
    },
    audience: {
      type: "string",
      value: "TEXT",
      multiple: true,
      help: "with --write: whom the token is for; may be repeated (default: the gateway)",
    },
  },
  details:
    "Evidence that counts once is used up by this. Without --explain it is not said why evidence is refused; the audit log has the reason.",
  run: async ({ control, flags, json, print }) => {
    const provider = stringFlag(flags["provider"]);
    const file = stringFlag(flags["evidence-file"]);
    if (provider === undefined || file === undefined)
      throw new UsageError("give --provider NAME and --evidence-file FILE");
    const evidence = readEvidence(file).toString("base64");
    const explain = flags["explain"] === true;
    const url = stringFlag(flags["server"]);
    if (url !== undefined && explain) throw new UsageError("--explain is for the machine of the server");
    const folder = stringFlag(flags["write"]);
    const asked = folder === undefined ? undefined : askForIdentity(listFlag(flags["audience"]));
    const request: AttestRequest = { provider, evidence, explain, ...(asked && { want: asked.want }) };
    const { identity, ...answer } =
      url === undefined
        ? await control.post<AttestResponse>("/v1/attest", request)
        : await attestAt({ url, caFile: stringFlag(flags["ca"]) }, request);
    const isWritten = folder !== undefined && asked !== undefined && identity !== undefined;
    const files = isWritten ? writeIdentity(folder, identity, asked.privateKey) : [];
    const told = isWritten ? { ...answer, spiffeId: identity.spiffeId, files } : answer;
    print(json ? JSON.stringify(told) : [answerText(answer), ...writtenLines(identity, files)].join("\n"));
    return answer.outcome === "matched" ? 0 : 1;
  },
};

function readEvidence(file: string): Buffer {
  try {
    return readFileSync(file === "-" ? 0 : file);
  } catch (error) {
    throw new UsageError(`cannot read ${file} (${(error as NodeJS.ErrnoException).code ?? "failed"})`);
  }
}

const OUTCOMES: Readonly<Record<AttestResponse["outcome"], string>> = {
  matched: "matched",
  refused: "refused",
  unavailable: "unavailable: whoever vouches for this evidence cannot be asked now",
};

function answerText({ agent, explanation, id, outcome }: AttestResponse): string {
  const first = agent === undefined ? OUTCOMES[outcome] : `${OUTCOMES[outcome]}: agent ${agent}`;
  return [first, ...(explanation === undefined ? [] : explanationLines(explanation)), `audit id ${id}`].join(
    "\n",
  );
}

function writtenLines(identity: IssuedIdentity | undefined, files: readonly string[]): string[] {
  if (identity === undefined) return [];
  const { jwt, spiffeId, x509 } = identity;
  return [
    `${spiffeId}: certificate until ${x509?.expiresAt}, token until ${jwt?.expiresAt}`,
    ...files.map((file) => `wrote ${file}`),
  ].map(printable);
}

function explanationLines(explanation: AttestExplanation): string[] {
  const { agents = [], detail, expiresAt, nearMisses = [], reason, selectors, spiffeId } = explanation;
  return [
    ...(reason === undefined ? [] : [`reason ${reason}${detail === undefined ? "" : `: ${detail}`}`]),
    ...(reason === undefined && detail !== undefined ? [`not proved: ${detail}`] : []),
    ...(selectors.length === 0
      ? []
      : [`proved until ${expiresAt}:`, ...selectors.map((each) => `  ${each}`)]),
    ...(spiffeId === undefined ? [] : [`SPIFFE ID ${spiffeId}`]),
    ...(agents.length === 0 ? [] : [`agents ${agents.join(", ")}`]),
    ...nearMisses.map(({ agent, failed }) => `closest: agent ${agent}, if it were ${failed.join(", ")}`),
  ].map(printable);
}

/** What evidence says is a stranger's text, and this is a terminal. */
const printable = (line: string): string => line.replaceAll(/[\p{Cc}\p{Cf}]/gu, "\uFFFD");

export const joinToken: Command = {
  name: "join token",
  usage: "join token NAME --provider NAME",
  summary: "make a token with which one workload proves, once, that it is NAME",
  flags: {
    provider: { type: "string", value: "NAME", help: "a TrustProvider of kind `join-token`" },
  },
  details: "The token is a secret until it is used. It is shown this once; the server keeps only its digest.",
  run: async (invocation) => {
    const name = oneWord(invocation, "name");
    const provider = stringFlag(invocation.flags["provider"]);
    if (provider === undefined) throw new UsageError("give --provider NAME");
    const made = await invocation.control.post<JoinTokenResponse>("/v1/join-tokens", { provider, name });
    invocation.print(invocation.json ? JSON.stringify(made) : made.token);
    invocation.note(`good for one use until ${made.expiresAt}`);
    return 0;
  },
};
