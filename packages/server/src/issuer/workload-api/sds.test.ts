// SPDX-License-Identifier: Apache-2.0
import { createPrivateKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { field, readFields } from "@postern/identity/protobuf";
import { parseSpiffeId } from "@postern/identity/spiffe-id";
import { NOW, testTrustDomain } from "@postern/identity/svid.fixture";
import type { TrustBundle } from "@postern/identity/trust-bundle";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ok, refuse, type Result } from "../../kernel/result.ts";
import { type ActiveAuthority, activeAuthority, bundleOf, signX509Svid, writeAuthority } from "../signer.ts";
import { signingKey } from "../signing-key.fixture.ts";
import { type Denial, type Entitlement, WorkloadApi, type WorkloadPeer } from "./workload-api.ts";

const TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const parsed = parseSpiffeId("spiffe://corp/one");
if (!parsed.ok) throw new Error(parsed.reason);
const ONE = parsed.value;

let folder: string;
let server: Server;
let api: WorkloadApi<WorkloadPeer>;
let answer: Result<Entitlement, Denial>;
let authority: ActiveAuthority;
let bundle: TrustBundle;
let recorded: string[];
let warnings: string[];
let waitFor: () => Promise<void>;
let clients: ClientHttp2Session[];

const newAuthority = (generation: number): ActiveAuthority => {
  const key = signingKey();
  const spec = { trustDomain: "corp", kind: "x509" as const, generation };
  return activeAuthority(writeAuthority(spec, key, NOW), key);
};

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-sds-"));
  answer = ok({ agent: "one", id: ONE, federated: [] });
  authority = newAuthority(1);
  bundle = bundleOf("corp", [authority.stored], 1);
  recorded = [];
  warnings = [];
  waitFor = async () => {};
  clients = [];
  api = new WorkloadApi<WorkloadPeer>({
    issuer: {
      trustDomain: "corp",
      get bundle() {
        return bundle;
      },
      issueX509: (id) => signX509Svid(authority, id, 3_600_000, NOW),
      issueJwt: () => {
        throw new Error("Envoy asks for no tokens");
      },
    },
    standingProblem: () => undefined,
    recordIssued: async (_, { id }) => void recorded.push(id.uri),
    recordRefused: async (_peer, _document, reason) => void recorded.push(reason),
    clock: { now: () => NOW },
    log: { write: (_, message, { agent } = {}) => void warnings.push(`${agent}: ${message}`) },
    chance: () => 0.5,
  });
  server = createServer({ pauseOnConnect: true }, (socket) =>
    api.accept(socket, {
      async identify() {
        await waitFor();
        return answer;
      },
    }),
  );
  server.listen(join(folder, "api.sock"));
  await once(server, "listening");
});

afterEach(() => {
  for (const client of clients) client.destroy();
  api.close();
  server.close();
  rmSync(folder, { recursive: true });
});

interface Said {
  readonly version: string;
  readonly nonce: string;
  /** Name → what is in the secret, by field number. */
  readonly secrets: ReadonlyMap<string, ReadonlyMap<number, readonly Buffer[]>>;
}

const inner = (message: Buffer, ...numbers: number[]): Buffer =>
  numbers.reduce((at, number) => readFields(at).get(number)![0]!, message);

function read(message: Buffer): Said {
  const fields = readFields(message);
  expect(fields.get(4)?.[0]?.toString()).toBe(TYPE);
  const secrets = (fields.get(2) ?? []).map((resource) => {
    expect(inner(resource, 1).toString()).toBe(TYPE);
    const secret = readFields(inner(resource, 2));
    return [secret.get(1)![0]!.toString(), secret] as const;
  });
  return {
    version: inner(message, 1).toString(),
    nonce: inner(message, 5).toString(),
    secrets: new Map(secrets),
  };
}

const request = (names: readonly string[], nonce = "", more: Buffer = Buffer.alloc(0)): Buffer =>
  Buffer.concat([...names.map((name) => field(3, name)), field(4, TYPE), field(5, nonce), more]);

const framed = (message: Buffer): Buffer => {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
};

/** A stream that stays open on our side. */
function open(method = "StreamSecrets") {
  const client = connectHttp2("http://localhost", {
    createConnection: () => connect(join(folder, "api.sock")),
  });
  client.on("error", () => {});
  clients.push(client);
  const stream = client.request({
    ...{ ":method": "POST", ":path": `/envoy.service.secret.v3.SecretDiscoveryService/${method}` },
    ...{ "content-type": "application/grpc", te: "trailers" },
  });
  stream.on("error", () => {});
  const messages: Buffer[] = [];
  const waiting: ((message: Buffer) => void)[] = [];
  const status = Promise.withResolvers<string>();
  const note = (headers: Record<string, unknown>): void => {
    if (typeof headers["grpc-status"] === "string") status.resolve(headers["grpc-status"]);
  };
  stream.on("response", note);
  stream.on("trailers", note);
  stream.on("close", () => status.resolve("closed"));
  let bytes = Buffer.alloc(0);
  stream.on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) {
      const message = bytes.subarray(5, 5 + bytes.readUInt32BE(1));
      bytes = bytes.subarray(5 + message.length);
      const next = waiting.shift();
      if (next === undefined) messages.push(message);
      else next(message);
    }
  });
  const next = async (): Promise<Said> =>
    read(messages.shift() ?? (await new Promise<Buffer>((resolve) => waiting.push(resolve))));
  const ping = (): Promise<void> =>
    new Promise((resolve, reject) => client.ping((error) => (error === null ? resolve() : reject(error))));
  return {
    ...{ ping, stream, next, status: status.promise, waitingMessages: () => messages.length },
    say: (message: Buffer) => void stream.write(framed(message)),
  };
}

const certificateOf = (secret: ReadonlyMap<number, readonly Buffer[]>) => {
  const [certificate, key] = [1, 2].map((number) => inner(secret.get(2)![0]!, number, 2).toString());
  return { certificate: new X509Certificate(certificate!), key: createPrivateKey(key!) };
};
const authoritiesOf = (secret: ReadonlyMap<number, readonly Buffer[]>) =>
  new X509Certificate(inner(secret.get(4)![0]!, 1, 2).toString());

describe("a stream of secrets", () => {
  it("ends where nobody knows who asks, and only the log has the reason", async () => {
    answer = refuse({ kind: "not_entitled", reason: "no_agent_matches" });
    const { say, status } = open();
    say(request(["default"]));
    expect([await status, recorded]).toEqual(["7", ["no_agent_matches"]]);
  });

  it.each<[string, Buffer, string]>([
    ["a name of somebody else", request(["spiffe://corp/two"]), "3"],
    ["a trust domain that the agent may not know", request(["spiffe://partner.example"]), "3"],
    ["another type of resource", field(4, "type.googleapis.com/envoy.config.cluster.v3.Cluster"), "3"],
    ["too many names", request(Array.from({ length: 101 }, (_, index) => `n${index}`)), "3"],
    ["a broken message", Buffer.from("0a05", "hex"), "3"],
    ["more than there is room for", Buffer.alloc(70_000), "8"],
  ])("ends at %s", async (_, message, expected) => {
    const { say, status } = open();
    say(message);
    expect(await status).toBe(expected);
    const { next, say: sayAnother } = open();
    sayAnother(request(["ROOTCA"]));
    expect((await next()).secrets.size).toBe(1);
  });

  it("reads a request that comes byte by byte, and several that come at once", async () => {
    const { stream, next } = open();
    for (const byte of framed(request(["ROOTCA"]))) stream.write(Buffer.from([byte]));
    const { nonce, secrets } = await next();
    expect([...secrets.keys()]).toEqual(["ROOTCA"]);
    const both = [request(["ROOTCA"], nonce), request(["ALL"], nonce)].map(framed);
    stream.write(Buffer.concat([...both, framed(request([])).subarray(0, 3)]));
    expect([...(await next()).secrets.keys()]).toEqual(["ALL"]);
  });

  it("takes the names that were said last, where that was before the first answer", async () => {
    const identity = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    waitFor = () => {
      asked.resolve();
      return identity.promise;
    };
    const { say, next, ping, waitingMessages } = open();
    say(request(["ROOTCA"]));
    await asked.promise;
    say(request(["ALL"]));
    say(request(["default"], "of nothing"));
    // What is said here comes after both, on the same connection.
    await ping();
    identity.resolve();
    const names: string[] = [];
    while (!names.includes("ALL")) names.push(...(await next()).secrets.keys());
    expect([names.at(-1), names.includes("default"), waitingMessages()]).toEqual(["ALL", false, 0]);
  });

  it("notes once that the workload cannot use what it was sent, and nothing of what it says", async () => {
    const { say, next } = open();
    say(request(["default"]));
    const { nonce } = await next();
    const refusal = field(6, field(2, "-----BEGIN PRIVATE KEY-----"));
    for (let round = 0; round < 3; round++) say(request(["default"], nonce, refusal));
    say(request(["ROOTCA"], nonce));
    await next();
    expect(warnings).toEqual([expect.stringMatching(/^one: a workload cannot use the secrets/)]);
  });

  it("leaves out a trust domain that has no authority any more, since Envoy would go on with the old ones", async () => {
    const partner = testTrustDomain("partner.example").bundle;
    answer = ok({ agent: "one", id: ONE, federated: [{ ...partner, x509Authorities: [] }] });
    const { say, next } = open();
    say(request([]));
    expect([...(await next()).secrets.keys()].toSorted()).toEqual(["spiffe://corp", "spiffe://corp/one"]);
    const another = open();
    another.say(request(["spiffe://partner.example"]));
    expect(await another.status).toBe("3");
  });

  it("ends in the middle where the agent is cut off", async () => {
    const { say, next, status } = open();
    say(request(["default"]));
    await next();
    answer = refuse({ kind: "not_entitled", reason: "agent_cut" });
    api.reconsider();
    expect(await status).toBe("7");
  });

  it("gives certificate, key and authorities by the names that Envoy has for them", async () => {
    const { say, next } = open();
    say(request(["default", "ROOTCA"]));
    const { secrets } = await next();
    const { certificate, key } = certificateOf(secrets.get("default")!);
    expect(certificate.subjectAltName).toBe("URI:spiffe://corp/one");
    expect(certificate.checkPrivateKey(key)).toBe(true);
    expect(certificate.verify(authoritiesOf(secrets.get("ROOTCA")!).publicKey)).toBe(true);
    expect(recorded).toEqual(["spiffe://corp/one"]);
  });

  it("gives the same by SPIFFE IDs, and everything where no name is said", async () => {
    const partner = testTrustDomain("partner.example");
    answer = ok({ agent: "one", id: ONE, federated: [partner.bundle] });
    const { say, next } = open();
    say(request([]));
    const { secrets } = await next();
    expect([...secrets.keys()].toSorted()).toEqual([
      "spiffe://corp",
      "spiffe://corp/one",
      "spiffe://partner.example",
    ]);
    expect(authoritiesOf(secrets.get("spiffe://partner.example")!).raw).toEqual(partner.authority);
  });

  it("keeps trust domains apart under ALL, and under ROOTCA knows its own only", async () => {
    const partner = testTrustDomain("partner.example");
    answer = ok({ agent: "one", id: ONE, federated: [partner.bundle] });
    const { say, next } = open();
    say(request(["ALL", "ROOTCA"]));
    const { secrets } = await next();
    const extension = readFields(inner(secrets.get("ALL")!.get(4)![0]!, 12));
    expect(extension.get(1)![0]!.toString()).toBe("envoy.tls.cert_validator.spiffe");
    const domains = readFields(inner(extension.get(2)![0]!, 2)).get(1)!;
    const known = new Map(
      domains.map((each) => [
        inner(each, 1).toString(),
        new X509Certificate(inner(each, 2, 2).toString()).raw,
      ]),
    );
    expect(known).toEqual(
      new Map([
        ["corp", bundle.x509Authorities[0]!.der],
        ["partner.example", partner.authority],
      ]),
    );
    expect(authoritiesOf(secrets.get("ROOTCA")!).raw).toEqual(bundle.x509Authorities[0]!.der);
    expect(recorded).toEqual([]);
  });

  it("sends nothing for what was taken or refused, and nothing for word about earlier answers", async () => {
    const { say, next, waitingMessages } = open();
    say(request(["default"]));
    const first = await next();
    say(request(["default"], first.nonce));
    say(request(["default"], first.nonce, field(6, field(2, "no"))));
    say(request(["ROOTCA"], "not the last"));
    say(request(["ROOTCA", "default"], first.nonce));
    const second = await next();
    expect([...second.secrets.keys()].toSorted()).toEqual(["ROOTCA", "default"]);
    expect(second.nonce).not.toBe(first.nonce);
    expect(second.version).not.toBe(first.version);
    expect(waitingMessages()).toBe(0);
  });

  it("pushes what a new authority changes, and to who has authorities only nothing that is the same", async () => {
    const [whole, authorities] = [open(), open()];
    whole.say(request(["default", "ROOTCA"]));
    authorities.say(request(["ROOTCA"]));
    const first = certificateOf((await whole.next()).secrets.get("default")!);
    await authorities.next();
    api.pushAll();
    const again = certificateOf((await whole.next()).secrets.get("default")!);
    expect(again.certificate.serialNumber).not.toBe(first.certificate.serialNumber);
    const before = authority;
    authority = newAuthority(2);
    bundle = bundleOf("corp", [authority.stored, { ...before.stored, state: "revoked" }], 2);
    api.pushAll();
    const { secrets } = await whole.next();
    const root = authoritiesOf(secrets.get("ROOTCA")!);
    expect(certificateOf(secrets.get("default")!).certificate.verify(root.publicKey)).toBe(true);
    expect(authoritiesOf((await authorities.next()).secrets.get("ROOTCA")!).raw).toEqual(root.raw);
    expect(authorities.waitingMessages()).toBe(0);
  });

  it("ends well where the client has no more to say", async () => {
    const { say, next, status, stream } = open();
    say(request(["ROOTCA"]));
    await next();
    stream.end();
    expect(await status).toBe("0");
  });
});

describe("secrets without a stream", () => {
  it("are given once", async () => {
    const { say, next, status, stream } = open("FetchSecrets");
    say(request(["default"]));
    stream.end();
    expect([...(await next()).secrets.keys()]).toEqual(["default"]);
    expect(await status).toBe("0");
  });

  it("are not told by differences", async () => {
    const { stream, say, status } = open("DeltaSecrets");
    say(Buffer.alloc(0));
    stream.end();
    expect(await status).toBe("12");
  });
});
