// SPDX-License-Identifier: Apache-2.0
import type {
  AcceptKeyRequest,
  AcceptKeyResponse,
  RotateKeyRequest,
  RotateKeyResponse,
} from "@postern/contract";
import { type Command, oneWord, stringFlag, UsageError } from "../command.ts";

const rotate: Command = {
  name: "vault rotate-key",
  usage: "vault rotate-key [--to REF]",
  summary: "seal everything under another master key, while the server goes on",
  flags: {
    to: {
      type: "string",
      value: "REF",
      help: "where the new key is: file:PATH or env:NAME of the server (default: a new key file in the data folder)",
    },
  },
  details:
    "All values move in one transaction: an interruption leaves everything under the old key or everything\n" +
    "under the new one, and the server starts with either. Backups from before need the old key.\n" +
    "Where servers share a database, run `postern vault accept-key` on the others first.",
  run: async ({ control, flags, words, json, print }) => {
    if (words.length > 0) throw new UsageError("give the new key with --to REF");
    const to = stringFlag(flags["to"]);
    const request: RotateKeyRequest = to === undefined ? {} : { to };
    const answer = await control.post<RotateKeyResponse>("/v1/vault/rotate-key", request);
    if (json) print(JSON.stringify(answer));
    else {
      print(
        answer.values === 0
          ? `everything is sealed under ${answer.to} already`
          : `${answer.values} value(s) are sealed under ${answer.to} now, before under ${answer.from}`,
      );
      if (answer.keptAt !== undefined)
        print(`the old key is kept at ${answer.keptAt}: delete it once no backup needs it`);
      if (answer.startWith !== undefined)
        print(`from now on start the server with --master-key ${answer.startWith}`);
    }
    return 0;
  },
};

const accept: Command = {
  name: "vault accept-key",
  usage: "vault accept-key REF",
  summary: "open what is sealed under this key too, before another server of the database rotates to it",
  flags: {},
  details: "Holds until this server ends: start it with --master-key REF afterwards.",
  run: async (invocation) => {
    const request: AcceptKeyRequest = { reference: oneWord(invocation, "reference") };
    const answer = await invocation.control.post<AcceptKeyResponse>("/v1/vault/accept-key", request);
    invocation.print(
      invocation.json ? JSON.stringify(answer) : `this server opens values under ${answer.keyId} too`,
    );
    return 0;
  },
};

export const vaultCommands: readonly Command[] = [rotate, accept];
