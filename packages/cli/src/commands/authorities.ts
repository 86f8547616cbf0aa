// SPDX-License-Identifier: Apache-2.0
import { certificatePem } from "@postern/identity/certificate";
import { readFile } from "node:fs/promises";
import type {
  AuthoritiesResponse,
  AuthorityChangeResponse,
  CheckSvidRequest,
  CheckSvidResponse,
} from "@postern/contract";
import { type Command, type Invocation, oneWord, stringFlag, UsageError } from "../command.ts";

const list: Command = {
  name: "ca list",
  usage: "ca list",
  summary: "list the authorities of the trust domain, and their states",
  flags: {},
  run: async ({ control, json, print, words }) => {
    if (words.length > 0) throw new UsageError("it takes no words");
    const answer = await control.get<AuthoritiesResponse>("/v1/authorities");
    if (json) print(JSON.stringify(answer));
    else {
      print(`trust domain ${answer.trustDomain}`);
      for (const { name, state, notBefore, notAfter } of answer.authorities)
        print(`${name.padEnd(10)}  ${state.padEnd(8)}  ${notBefore} to ${notAfter}`);
    }
    return 0;
  },
};

const prepare: Command = {
  name: "ca prepare",
  usage: "ca prepare x509|jwt|wit",
  summary: "make the next authority and publish it, so that everybody knows it before it signs",
  flags: {},
  run: (invocation) => change(invocation, "", { kind: oneWord(invocation, "kind") }, "is prepared"),
};

const activate: Command = {
  name: "ca activate",
  usage: "ca activate AUTHORITY",
  summary: "let a prepared authority sign from now on; the one before becomes old",
  flags: { force: { type: "boolean", help: "also before everybody can know it" } },
  run: (invocation) =>
    change(invocation, "activate", { force: invocation.flags["force"] === true }, "signs from now on"),
};

const taint: Command = {
  name: "ca taint",
  usage: "ca taint AUTHORITY",
  summary: "take back an old authority: everybody gets new documents, the earlier ones still hold",
  flags: {},
  run: (invocation) => change(invocation, "taint", {}, "is tainted"),
};

const revoke: Command = {
  name: "ca revoke",
  usage: "ca revoke AUTHORITY",
  summary: "end a tainted authority: nothing that it signed holds any more",
  flags: {},
  run: (invocation) => change(invocation, "revoke", {}, "is revoked"),
};

async function change(invocation: Invocation, verb: string, body: object, outcome: string): Promise<number> {
  const path = verb === "" ? "" : `/${encodeURIComponent(oneWord(invocation, "authority"))}/${verb}`;
  const answer = await invocation.control.post<AuthorityChangeResponse>(`/v1/authorities${path}`, body);
  invocation.print(invocation.json ? JSON.stringify(answer) : `${answer.authority} ${outcome}`);
  return 0;
}

const bundle: Command = {
  name: "ca bundle",
  usage: "ca bundle",
  summary: "print the SPIFFE trust bundle: what others need to verify this trust domain's SVIDs",
  flags: {
    pem: { type: "boolean", help: "its X.509 authorities only, as PEM, for clients that know no SPIFFE" },
  },
  run: async ({ control, flags, print }) => {
    const { bundle: text } = await control.get<{ bundle: string }>("/v1/trust-bundle");
    print(flags["pem"] === true ? authoritiesOf(text).trimEnd() : text);
    return 0;
  },
};

/** X509-SVID §6.2: one certificate in each entry of this use. */
function authoritiesOf(text: string): string {
  const { keys } = JSON.parse(text) as { keys: readonly { use?: string; x5c?: readonly string[] }[] };
  const found = keys.flatMap(({ use, x5c }) => (use === "x509-svid" ? (x5c ?? []) : []));
  return found.map((der) => certificatePem(Buffer.from(der, "base64"))).join("");
}

const check: Command = {
  name: "svid check",
  usage: "svid check FILE",
  summary: "say whether an SVID of this trust domain is believed now, and of which agent it is",
  flags: {
    audience: { type: "string", value: "NAME", help: "for a JWT-SVID: the audience that it has to be for" },
  },
  details:
    "FILE holds a certificate chain in PEM, the leaf first, or a token. Exit code 1 where it is refused.",
  run: async (invocation) => {
    const file = oneWord(invocation, "file");
    const audience = stringFlag(invocation.flags["audience"]);
    const svid = (await readFile(file, "utf8")).trim();
    const request: CheckSvidRequest = { svid, ...(audience === undefined ? {} : { audience }) };
    const answer = await invocation.control.post<CheckSvidResponse>("/v1/svids/check", request);
    if (invocation.json) invocation.print(JSON.stringify(answer));
    else if (answer.outcome === "refused") invocation.print(`refused: ${answer.reason}`);
    else invocation.print(`${answer.spiffeId} is agent ${answer.agent}, until ${answer.expiresAt}`);
    return answer.outcome === "accepted" ? 0 : 1;
  },
};

export const authorityCommands: readonly Command[] = [list, prepare, activate, taint, revoke, bundle, check];
