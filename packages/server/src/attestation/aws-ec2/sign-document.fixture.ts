// SPDX-License-Identifier: Apache-2.0
/** Signs identity documents as the metadata service does, with openssl: an independent writer of CMS. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface DocumentSigner {
  readonly certificate: string;
  /** Files, for messages with several signers. */
  readonly path: string;
  readonly keyPath: string;
  /** DER of a signed message; `words` are more of openssl's. */
  sign(content: string | Buffer, words?: readonly string[]): Buffer;
}

export function documentSigners(): { signer(bits: number): DocumentSigner; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), "postern-ec2-"));
  const openssl = (...words: string[]) =>
    execFileSync("openssl", words, { stdio: ["ignore", "pipe", "ignore"] });
  let count = 0;
  return {
    remove: () => rmSync(folder, { recursive: true }),
    signer: (bits) => {
      const name = join(folder, String(++count));
      const [key, certificate, content] = [`${name}.key`, `${name}.pem`, `${name}.txt`];
      const subject = ["-subj", "/C=US/ST=Washington State/L=Seattle/O=Stand-in"];
      openssl(
        "req",
        "-x509",
        "-newkey",
        `rsa:${bits}`,
        "-nodes",
        ...subject,
        "-keyout",
        key,
        "-out",
        certificate,
      );
      return {
        certificate: readFileSync(certificate, "utf8"),
        path: certificate,
        keyPath: key,
        sign: (text, words = []) => {
          writeFileSync(content, text);
          const signer = ["-signer", certificate, "-inkey", key, "-in", content];
          const form = ["-nodetach", "-binary", "-outform", "DER"];
          return openssl("cms", "-sign", ...signer, ...form, "-md", "sha256", ...words);
        },
      };
    },
  };
}
