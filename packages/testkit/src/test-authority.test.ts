// SPDX-License-Identifier: Apache-2.0
import { X509Certificate } from "node:crypto";
import { connect, createServer, type TlsOptions } from "node:tls";
import type { AddressInfo } from "node:net";
import { expect, it } from "vitest";
import { createTestAuthority } from "./test-authority.ts";

/** The error of a handshake, or "accepted". */
async function handshake(options: TlsOptions, ca: string, servername: string): Promise<string> {
  const server = createServer(options).on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await new Promise((resolve) => {
      const { port } = server.address() as AddressInfo;
      const socket = connect({ port, host: "127.0.0.1", ca, servername }, () => {
        socket.destroy();
        resolve("accepted");
      });
      socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
  } finally {
    server.close();
  }
}

it("issues certificates that hold for their names only, until they expire", async () => {
  const authority = await createTestAuthority();
  const stranger = await createTestAuthority();
  const { certificate: cert, privateKey: key } = await authority.issue(["api.openai.com", "127.0.0.1"]);
  expect(await handshake({ cert, key }, authority.certificate, "other.example")).toBe(
    "ERR_TLS_CERT_ALTNAME_INVALID",
  );
  expect(await handshake({ cert, key }, stranger.certificate, "api.openai.com")).not.toBe("accepted");
  const hour = 3_600_000;
  const past = { notBefore: new Date(Date.now() - 2 * hour), notAfter: new Date(Date.now() - hour) };
  const expired = await authority.issue(["api.openai.com"], past);
  expect(
    await handshake(
      { cert: expired.certificate, key: expired.privateKey },
      authority.certificate,
      "api.openai.com",
    ),
  ).toBe("CERT_HAS_EXPIRED");
  expect(await handshake({ cert, key }, authority.certificate, "api.openai.com")).toBe("accepted");
  expect(new X509Certificate(cert).checkIP("127.0.0.1")).toBe("127.0.0.1");
});
