// SPDX-License-Identifier: Apache-2.0
import type { SecretSetResponse, SecretsResponse } from "@postern/contract";
import { type Command, oneWord, UsageError } from "../command.ts";

const LARGEST = 65_536;

const set: Command = {
  name: "secret set",
  usage: "secret set NAME",
  summary: "put a secret in the vault, read from standard input",
  flags: {},
  details:
    "One trailing newline is cut off. In a terminal the typing is not shown.\n" +
    "Example: pbpaste | postern secret set openai-key",
  run: async (invocation) => {
    const name = oneWord(invocation, "name");
    const secret = process.stdin.isTTY ? await readHidden(invocation.note, name) : await readAll();
    const trimmed = secret.at(-1) === 0x0a ? secret.subarray(0, secret.at(-2) === 0x0d ? -2 : -1) : secret;
    if (trimmed.length === 0) throw new UsageError("standard input is empty: nothing was changed");
    const answer = await invocation.control.put<SecretSetResponse>(
      `/v1/secrets/${encodeURIComponent(name)}`,
      trimmed,
    );
    secret.fill(0);
    invocation.print(
      invocation.json
        ? JSON.stringify(answer)
        : `secret ${answer.name} is in the vault, version ${answer.version}`,
    );
    return 0;
  },
};

const list: Command = {
  name: "secret list",
  usage: "secret list [--versions]",
  summary: "names and versions of the secrets; never their values",
  flags: { versions: { type: "boolean", help: "every version that is kept, not only the newest" } },
  run: async ({ control, flags, json, print }) => {
    const answer = await control.get<SecretsResponse>("/v1/secrets");
    if (json) print(JSON.stringify(answer));
    else
      for (const { name, version, updatedAt, versions } of answer.secrets)
        if (flags["versions"] !== true) print(`${name}  version ${version}  ${updatedAt}`);
        else
          for (const each of versions)
            print(
              `${name}  version ${each.version}  ${each.createdAt}${each.version === version ? "  in use" : ""}`,
            );
    return 0;
  },
};

const remove: Command = {
  name: "secret delete",
  usage: "secret delete NAME",
  summary: "delete a secret, all versions of it",
  flags: {},
  run: async (invocation) => {
    const name = oneWord(invocation, "name");
    await invocation.control.delete(`/v1/secrets/${encodeURIComponent(name)}`);
    invocation.print(invocation.json ? JSON.stringify({ deleted: name }) : `secret ${name} is deleted`);
    return 0;
  },
};

export const secretCommands: readonly Command[] = [set, list, remove];

async function readAll(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > LARGEST) throw new UsageError(`a secret has at most ${LARGEST} bytes`);
  }
  return Buffer.concat(chunks);
}

/** One line from the terminal, without echo. */
function readHidden(note: (text: string) => void, name: string): Promise<Buffer> {
  note(`type the secret ${name}, then Enter (it is not shown)`);
  process.stdin.setRawMode(true);
  return new Promise((resolve, reject) => {
    const bytes: number[] = [];
    const finish = (settle: () => void): void => {
      process.stdin.setRawMode(false);
      process.stdin.pause();
      settle();
    };
    process.stdin.on("data", (chunk: Buffer) => {
      for (const byte of chunk) {
        if (byte === 0x0d || byte === 0x0a || byte === 0x04) return finish(() => resolve(Buffer.from(bytes)));
        if (byte === 0x03) return finish(() => reject(new UsageError("interrupted: nothing was changed")));
        if (byte === 0x7f || byte === 0x08) bytes.pop();
        else bytes.push(byte);
      }
    });
  });
}
