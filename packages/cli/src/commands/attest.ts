// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import type { AttestExplanation, AttestResponse, JoinTokenResponse } from "@postern/contract";
import { type Command, oneWord, stringFlag, UsageError } from "../command.ts";

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
      help: "show what was proved, the agents that came closest, or what is wrong",
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
    const answer = await control.post<AttestResponse>("/v1/attest", { provider, evidence, explain });
    print(json ? JSON.stringify(answer) : answerText(answer));
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

function explanationLines(explanation: AttestExplanation): string[] {
  const { agents = [], detail, expiresAt, nearMisses = [], reason, selectors, spiffeId } = explanation;
  return [
    ...(reason === undefined ? [] : [`reason ${reason}${detail === undefined ? "" : `: ${detail}`}`]),
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
