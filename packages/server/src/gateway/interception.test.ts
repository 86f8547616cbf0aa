// SPDX-License-Identifier: Apache-2.0
import { generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect as connectTcp, createServer, type Socket } from "node:net";
import { connect, type ConnectionOptions } from "node:tls";
import { describe, expect, it } from "vitest";
import { certificatePem, writeAuthorityCertificate } from "@postern/identity/certificate";
import { Interception } from "./interception.ts";
import type { InterceptionAuthority } from "./ports.ts";

const DAY = 86_400_000;

function newAuthority(commonName = "Test CA"): InterceptionAuthority {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  const signDer = (bytes: Buffer): Buffer => sign("sha256", bytes, privateKey);
  const now = Date.now();
  const spec = {
    commonName,
    publicKey: spki,
    serial: Buffer.from([0x40, 1]),
    notBefore: now - 30 * DAY,
    notAfter: now + 30 * DAY,
  };
  return {
    commonName,
    publicKey: spki,
    certificatePem: certificatePem(writeAuthorityCertificate(spec, signDer)),
    sign: signDer,
  };
}

const authority = newAuthority();

/** Both ends of a real connection. */
async function socketPair(): Promise<[Socket, Socket]> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const agentSide = connectTcp((server.address() as { port: number }).port, "127.0.0.1");
  const [gateSide] = (await once(server, "connection")) as [Socket];
  server.close();
  for (const socket of [agentSide, gateSide]) socket.on("error", () => socket.destroy());
  return [agentSide, gateSide];
}

/** A client's handshake against a tunnel for `host`; what both sides made of it. */
async function handshake(interception: Interception, host: string, options: ConnectionOptions) {
  const [agentSide, gateSide] = await socketPair();
  const terminated = interception.terminate(gateSide, host).then(
    ({ serverName }) => ({ serverName }),
    (error: Error) => ({ error: error.message }),
  );
  const client = connect({
    socket: agentSide,
    ca: authority.certificatePem,
    ALPNProtocols: ["http/1.1"],
    ...options,
  });
  client.on("error", () => {});
  const agent = await new Promise<{ certificate?: X509Certificate; error?: string }>((resolve) => {
    client.once("secureConnect", () => resolve({ certificate: client.getPeerX509Certificate()! }));
    client.once("error", (error: NodeJS.ErrnoException) => {
      agentSide.destroy();
      resolve({ error: error.code ?? error.message });
    });
  });
  const gate = await terminated;
  client.destroy();
  return { agent, gate };
}

const clockAt = (now: () => number) => ({ now });
const interception = new Interception(authority, clockAt(Date.now));

describe("the certificate in a tunnel", () => {
  it("names the tunnel's host and only it, under the authority that agents trust", async () => {
    const { agent, gate } = await handshake(interception, "api.openai.com", { servername: "api.openai.com" });
    expect(agent.error).toBe(undefined);
    expect(gate).toEqual({ serverName: "api.openai.com" });
    const certificate = agent.certificate!;
    expect(certificate.subjectAltName).toBe("DNS:api.openai.com");
    expect(certificate.verify(new X509Certificate(authority.certificatePem).publicKey)).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(Date.parse(certificate.validTo) - Date.now()).toBeLessThan(8 * DAY);
  });

  it("is not another host's because the client asks for it: a client that checks ends the handshake", async () => {
    const { agent } = await handshake(interception, "api.openai.com", { servername: "api.anthropic.com" });
    expect(agent.error).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
  });

  it("tells the stages which name a client asked for that does not check", async () => {
    const wrong = await handshake(interception, "api.openai.com", {
      servername: "api.anthropic.com",
      rejectUnauthorized: false,
    });
    expect(wrong.gate).toEqual({ serverName: "api.anthropic.com" });
    expect(wrong.agent.certificate!.subjectAltName).toBe("DNS:api.openai.com");
    const none = await handshake(interception, "api.openai.com", {
      servername: "",
      checkServerIdentity: () => undefined,
    });
    expect(none.gate).toEqual({ serverName: undefined });
  });

  it("is the same again until half of its life is over", async () => {
    let now = Date.now();
    const own = new Interception(
      authority,
      clockAt(() => now),
    );
    const serial = async () =>
      (await handshake(own, "a.example", { servername: "a.example", rejectUnauthorized: false })).agent
        .certificate!.serialNumber;
    const first = await serial();
    expect(await serial()).toBe(first);
    now += 3 * DAY;
    expect(await serial()).toBe(first);
    now += DAY;
    expect(await serial()).not.toBe(first);
  });

  it("is not trusted by a client that does not know the authority", async () => {
    const { agent, gate } = await handshake(interception, "a.example", {
      servername: "a.example",
      ca: newAuthority("Other").certificatePem,
    });
    expect(agent.error).toMatch(/UNABLE_TO_VERIFY|SELF_SIGNED|SIGNATURE/);
    expect(gate).toBeDefined();
  });
});

describe("a handshake that is none", () => {
  it.each([
    ["plain HTTP", "GET / HTTP/1.1\r\n\r\n"],
    ["noise", "\x16\x03\x01\x00\x05hello"],
  ])("is refused: %s", async (_name, bytes) => {
    const [agentSide, gateSide] = await socketPair();
    const terminated = interception.terminate(gateSide, "a.example");
    agentSide.resume();
    agentSide.write(Buffer.from(bytes, "latin1"));
    await expect(terminated).rejects.toThrow();
  });

  it("is refused where the client speaks an old TLS or HTTP/2 alone", async () => {
    const old = await handshake(interception, "a.example", {
      servername: "a.example",
      minVersion: "TLSv1",
      maxVersion: "TLSv1.1",
      ciphers: "DEFAULT@SECLEVEL=0",
    });
    expect(old.gate).toHaveProperty("error");
    const h2 = await handshake(interception, "a.example", { servername: "a.example", ALPNProtocols: ["h2"] });
    expect(h2.agent.error).toBeDefined();
    expect(h2.gate).toHaveProperty("error");
  });

  it("ends when the client goes away", async () => {
    const [agentSide, gateSide] = await socketPair();
    const terminated = interception.terminate(gateSide, "a.example");
    agentSide.destroy();
    gateSide.destroy();
    await expect(terminated).rejects.toThrow();
  });
});
