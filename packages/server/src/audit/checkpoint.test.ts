// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { formatVkey, parseVkey, signCheckpoint, verifyCheckpoint } from "./checkpoint.ts";
import { newSigner, temporaryFolder } from "./log.fixture.ts";
import { hashLeaf } from "./merkle.ts";

const signer = newSigner();
const tree = { size: 7, root: hashLeaf(Buffer.from("x")) };
const note = signCheckpoint(tree, signer);
const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

/** The same text with another body, signed all the same: only the form is wrong. */
function signText(text: string): string {
  const line = signCheckpoint(tree, { ...signer, sign: () => signer.sign(Buffer.from(text)) }).split(
    "\n\n",
  )[1]!;
  return `${text}\n${line}`;
}

describe("a checkpoint", () => {
  it("is refused when any one byte of it is changed", () => {
    const bytes = Buffer.from(note);
    const accepted = [];
    for (let offset = 0; offset < bytes.length; offset++) {
      const changed = Buffer.from(bytes);
      changed[offset]! ^= 0x01;
      if (verifyCheckpoint(changed.toString("utf8"), signer).ok) accepted.push(offset);
    }
    expect(accepted).toEqual([]);
  });

  it("is refused under another key and under the same key with another name", () => {
    expect(verifyCheckpoint(note, newSigner())).toMatchObject({ ok: false });
    expect(verifyCheckpoint(note, { ...signer, name: "other.test/audit" })).toMatchObject({ ok: false });
  });

  const root = tree.root.toString("base64");
  it.each([
    ["another origin", `other.test/audit\n7\n${root}\n`],
    ["a size with a leading zero", `${signer.name}\n07\n${root}\n`],
    ["a negative size", `${signer.name}\n-7\n${root}\n`],
    ["a size above what a number holds", `${signer.name}\n9999999999999999\n${root}\n`],
    ["a short root", `${signer.name}\n7\n${tree.root.subarray(1).toString("base64")}\n`],
    ["a root without padding", `${signer.name}\n7\n${root.replace("=", "")}\n`],
    ["no root", `${signer.name}\n7\n`],
  ])("is refused with %s, even if it is signed", (_, text) => {
    expect(verifyCheckpoint(signText(text), signer)).toMatchObject({ ok: false });
  });

  it("is refused with a second line of the same key, and accepted with a witness's", () => {
    const [, line] = note.split("\n\n");
    expect(verifyCheckpoint(note + line!, signer)).toMatchObject({ ok: false });
    const witness = signCheckpoint(tree, newSigner("witness.test")).split("\n\n")[1]!;
    expect(verifyCheckpoint(note + witness, signer)).toMatchObject({ ok: true, value: { signatures: 2 } });
  });

  it("gives what was signed", () => {
    const expected = { origin: signer.name, ...tree, signatures: 1 };
    expect(verifyCheckpoint(note, signer)).toEqual({ ok: true, value: expected });
  });

  it("has a signature that the reference implementation's example shows to be in the right form", () => {
    const key = parseVkey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    const example =
      "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n" +
      "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    if (!key.ok) throw new Error(key.reason);
    // The signature holds; the signed text is no checkpoint, which is looked at afterwards.
    expect(verifyCheckpoint(example, key.value)).toMatchObject({
      ok: false,
      reason: expect.stringMatching(/checkpoint is malformed/),
    });
    const changed = example.replace("answer", "Answer");
    expect(verifyCheckpoint(changed, key.value)).toMatchObject({
      ok: false,
      reason: expect.stringMatching(/signature.*wrong/),
    });
  });

  it.skipIf(!hasOpenssl)("is verified by openssl, which refuses a changed one", () => {
    using folder = temporaryFolder();
    const [text, line] = note.split("\n\n");
    const signature = Buffer.from(line!.trimEnd().split(" ")[2]!, "base64").subarray(4);
    writeFileSync(join(folder.path, "key.pem"), signer.pem);
    writeFileSync(join(folder.path, "signature"), signature);
    const verify = (content: string): number | null => {
      writeFileSync(join(folder.path, "text"), content);
      const args = [
        "-verify",
        "-pubin",
        "-inkey",
        "key.pem",
        "-rawin",
        "-in",
        "text",
        "-sigfile",
        "signature",
      ];
      return spawnSync("openssl", ["pkeyutl", ...args], { cwd: folder.path }).status;
    };
    expect(verify(`${text}\n`)).toBe(0);
    expect(verify(`${text} \n`)).not.toBe(0);
  });
});

describe("a verifier key", () => {
  it("comes back as it went", () => {
    const parsed = parseVkey(formatVkey(signer));
    expect(parsed).toMatchObject({ ok: true, value: { name: signer.name } });
  });

  it("of the Go checksum database is read", () => {
    const parsed = parseVkey("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8");
    expect(parsed).toMatchObject({ ok: true, value: { name: "sum.golang.org" } });
  });

  it.each([
    ["", ""],
    ["a hash that does not fit", "sum.golang.org+033de0af+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"],
    ["another name", "sum.golang.com+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"],
    ["another algorithm", "sum.golang.org+033de0ae+As4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"],
    ["a short key", "sum.golang.org+033de0ae+Ac4z"],
    ["a name with a space", "sum golang+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"],
  ])("with %s is refused", (_, vkey) => {
    expect(parseVkey(vkey)).toMatchObject({ ok: false });
  });

  it("cannot be made with a name that would not come back", () => {
    expect(() => formatVkey({ ...signer, name: "a+b" })).toThrow(TypeError);
  });
});
