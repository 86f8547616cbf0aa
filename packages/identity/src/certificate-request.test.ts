// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { generateKeyPairSync, sign as signBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { readCertificateRequest, writeCertificateRequest } from "./certificate-request.ts";
import * as der from "./der.ts";
import { testKey } from "./svid.fixture.ts";

const key = testKey();
const good = writeCertificateRequest(key.spki, key.sign);

function openssl(...words: string[]): Buffer {
  return execFileSync("openssl", ["req", "-new", "-nodes", "-subj", "/CN=x", "-outform", "DER", ...words], {
    stdio: ["ignore", "pipe", "ignore"],
  });
}

describe("a certificate request", () => {
  it.each<[string, Buffer, string]>([
    [
      "is signed by another key",
      writeCertificateRequest(key.spki, testKey().sign),
      "not signed by its own key",
    ],
    ["is nothing", Buffer.alloc(0), "malformed"],
    ["is followed by something", Buffer.concat([good, Buffer.from([0])]), "malformed"],
    ["is cut off", good.subarray(0, -1), "malformed"],
    ["is too large", Buffer.alloc(20_000), "too large"],
    ["has another version", swapVersion(), "only version 1"],
    ["is for a P-384 key", ofCurve("P-384"), "another kind than P-256"],
    ["is for an RSA key", ofRsa(), "another kind than P-256"],
    ["writes its point compressed", compressed(), "unusual form"],
  ])("that %s is refused", (_, request, reason) => {
    const read = readCertificateRequest(request);
    expect(read).toEqual({ ok: false, reason: expect.stringContaining(reason) });
  });

  it("gives its key, whoever has written it and whatever names it asks for", () => {
    expect(readCertificateRequest(good)).toEqual({ ok: true, value: key.spki });
    const names = ["-addext", "subjectAltName=URI:spiffe://corp/root", "-addext", "basicConstraints=CA:TRUE"];
    const theirs = openssl(
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-keyout",
      "/dev/null",
      ...names,
    );
    expect(readCertificateRequest(theirs)).toMatchObject({ ok: true });
  });

  it("that is written here is one to openssl", () => {
    const text = execFileSync("openssl", ["req", "-inform", "DER", "-verify", "-noout", "-text"], {
      input: good,
      stdio: ["pipe", "pipe", "pipe"],
    });
    expect(text.toString()).toContain("Subject:");
  });
});

function swapVersion(): Buffer {
  const changed = Buffer.from(good);
  changed[changed.indexOf(Buffer.from([2, 1, 0])) + 2] = 1;
  return changed;
}

function ofCurve(curve: string): Buffer {
  const other = testKey(curve);
  return writeCertificateRequest(other.spki, other.sign);
}

function ofRsa(): Buffer {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const spki = publicKey.export({ type: "spki", format: "der" });
  return writeCertificateRequest(spki, (bytes) => signBytes("sha256", bytes, privateKey));
}

/** The same key with a shorter point: SPKI of id-ecPublicKey, prime256v1. */
function compressed(): Buffer {
  const point = key.spki.subarray(-65);
  const short = Buffer.concat([Buffer.from([2 + (point[64]! & 1)]), point.subarray(1, 33)]);
  const algorithm = der.sequence(
    der.objectIdentifier("1.2.840.10045.2.1"),
    der.objectIdentifier("1.2.840.10045.3.1.7"),
  );
  return writeCertificateRequest(der.sequence(algorithm, der.bitString(short)), key.sign);
}
