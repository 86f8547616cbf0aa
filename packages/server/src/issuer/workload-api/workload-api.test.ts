// SPDX-License-Identifier: Apache-2.0
import { createPrivateKey, type KeyObject, sign, type webcrypto } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { NOW, testTrustDomain } from "@postern/identity/svid.fixture";
import { parseSpiffeId } from "@postern/identity/spiffe-id";
import type { TrustBundle } from "@postern/identity/trust-bundle";
import { verifyWitSvid } from "@postern/identity/wit-svid";
import { verifyX509Svid } from "@postern/identity/verify-x509-svid";
import { silentLog } from "../../kernel/log.ts";
import { ok, refuse, type Result } from "../../kernel/result.ts";
import type { StoredAuthority } from "../../store/authority-store.ts";
import {
  type ActiveAuthority,
  activeAuthority,
  bundleOf,
  signJwtSvid,
  signWitSvid,
  signX509Svid,
  writeAuthority,
} from "../signer.ts";
import { signingKey } from "../signing-key.fixture.ts";
import { encodeLiterally } from "./hpack.ts";
import { field, readFields } from "@postern/identity/protobuf";
import {
  type Denial,
  type Entitlement,
  renewAfter,
  WorkloadApi,
  type WorkloadApiParts,
  type WorkloadPeer,
} from "./workload-api.ts";

const idOf = (text: string) => {
  const id = parseSpiffeId(text);
  if (!id.ok) throw new Error(id.reason);
  return id.value;
};

let folder: string;
let server: Server;
let api: WorkloadApi<WorkloadPeer>;
let parts: WorkloadApiParts<WorkloadPeer>;
let answer: Result<Entitlement, Denial>;
let standing: string | undefined;
let recorded: string[];
let isAuditBroken: boolean;
let bundle: TrustBundle;
let authorities: Map<StoredAuthority["kind"], ActiveAuthority>;
let lives: { x509: number; jwt: number };
let clients: ClientHttp2Session[];
let sockets: Socket[];

function newAuthority(kind: StoredAuthority["kind"], generation: number) {
  const key = signingKey();
  return activeAuthority(writeAuthority({ trustDomain: "corp", kind, generation }, key, NOW), key);
}

const publish = (epoch: number, ...more: StoredAuthority[]) =>
  (bundle = bundleOf("corp", [...[...authorities.values()].map(({ stored }) => stored), ...more], epoch));

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-workload-"));
  answer = ok({ agent: "one", id: idOf("spiffe://corp/one"), federated: [] });
  standing = undefined;
  recorded = [];
  isAuditBroken = false;
  lives = { x509: 3_600_000, jwt: 300_000 };
  clients = [];
  sockets = [];
  authorities = new Map([
    ["x509", newAuthority("x509", 1)],
    ["jwt", newAuthority("jwt", 1)],
    ["wit", newAuthority("wit", 1)],
  ]);
  publish(1);
  const record = async (text: string) => {
    if (isAuditBroken) throw new Error("the disk is full");
    recorded.push(text);
  };
  parts = {
    wit: { issueWit: (id) => signWitSvid(authorities.get("wit")!, id, lives.x509, NOW) },
    issuer: {
      trustDomain: "corp",
      get bundle() {
        return bundle;
      },
      issueX509: (id) => signX509Svid(authorities.get("x509")!, id, lives.x509, NOW),
      issueJwt: (id, audience) => signJwtSvid(authorities.get("jwt")!, id, audience, lives.jwt, NOW),
    },
    standingProblem: () => standing,
    recordIssued: (_, { id }, { document, authority }) => record(`${document} ${id.uri} by ${authority}`),
    recordRefused: (_, document, reason) => record(`no ${document}: ${reason}`),
    clock: { now: () => NOW },
    log: silentLog,
    chance: () => 0.5,
  };
  api = new WorkloadApi(parts);
  server = createServer({ pauseOnConnect: true }, (socket) =>
    api.accept(socket, { identify: async () => answer }),
  );
  server.listen(join(folder, "api.sock"));
  await once(server, "listening");
});

afterEach(() => {
  for (const client of clients) client.destroy();
  for (const socket of sockets) socket.destroy();
  api.close();
  server.close();
  rmSync(folder, { recursive: true });
});

const open = (): Socket => {
  const socket = connect(join(folder, "api.sock"));
  socket.on("error", () => {});
  sockets.push(socket);
  return socket;
};

const HEADERS = { "content-type": "application/grpc", te: "trailers", "workload.spiffe.io": "true" };

/** A call of a plain HTTP/2 client; messages come one after the other, the status at the end. */
function call(
  method: string,
  request: Buffer = Buffer.alloc(0),
  headers: Record<string, string | undefined> = {},
) {
  const client = connectHttp2("http://localhost", { createConnection: open });
  client.on("error", () => {});
  clients.push(client);
  const all = { ...HEADERS, ...headers };
  const sent = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  const stream = client.request({ ":method": "POST", ":path": `/SpiffeWorkloadAPI/${method}`, ...sent });
  stream.on("error", () => {});
  const messages: Buffer[] = [];
  const waiting: ((message: Buffer) => void)[] = [];
  const status = Promise.withResolvers<string>();
  let bytes = Buffer.alloc(0);
  stream.on("response", (each) => {
    if (each["grpc-status"] !== undefined) status.resolve(String(each["grpc-status"]));
    else if (each[":status"] !== 200) status.resolve(`http ${each[":status"]}`);
  });
  stream.on("trailers", (each) => status.resolve(String(each["grpc-status"])));
  stream.on("close", () => status.resolve("closed"));
  stream.on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) {
      const end = 5 + bytes.readUInt32BE(1);
      const message = bytes.subarray(5, end);
      bytes = bytes.subarray(end);
      const next = waiting.shift();
      if (next === undefined) messages.push(message);
      else next(message);
    }
  });
  const framed = Buffer.alloc(5 + request.length);
  framed.writeUInt32BE(request.length, 1);
  request.copy(framed, 5);
  stream.end(framed);
  return {
    stream,
    status: status.promise,
    next: () => {
      const message = messages.shift();
      if (message !== undefined) return Promise.resolve(message);
      return new Promise<Buffer>((resolve) => void waiting.push(resolve));
    },
    waitingMessages: () => messages.length,
  };
}

const jwtRequest = (audiences: readonly string[], spiffeId = "") =>
  Buffer.concat([
    ...audiences.map((each) => field(1, each)),
    ...(spiffeId === "" ? [] : [field(2, spiffeId)]),
  ]);
const validateRequest = (audience: string, svid: string) =>
  Buffer.concat([field(1, audience), field(2, svid)]);
const part = (message: Buffer, ...numbers: number[]): Buffer =>
  numbers.reduce((inner, number) => readFields(inner).get(number)![0]!, message);
const issue = (spiffeId = "spiffe://corp/one") =>
  signJwtSvid(authorities.get("jwt")!, idOf(spiffeId), ["api"], lives.jwt, NOW).token;

const METHODS = ["FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles", "FetchWITSVID", "FetchWITBundles"];
const REQUESTS: Readonly<Record<string, () => Buffer>> = {
  FetchJWTSVID: () => jwtRequest(["api"]),
  ValidateJWTSVID: () => validateRequest("api", issue()),
};
const ALL = [...METHODS, ...Object.keys(REQUESTS)];
const callOf = (method: string, headers?: Record<string, string | undefined>) =>
  call(method, REQUESTS[method]?.(), headers);

describe("a call", () => {
  it.each(ALL)(
    "W2: of %s without the security header is an invalid argument, whoever calls",
    async (method) => {
      for (const value of [undefined, "TRUE", "True", "1", ""])
        expect(await callOf(method, { "workload.spiffe.io": value }).status).toBe("3");
      expect(recorded).toEqual([]);
    },
  );

  it.each(ALL)("W5: of %s by nobody we know is denied, and only the log has the reason", async (method) => {
    answer = refuse({ kind: "not_entitled", reason: "no_agent_matches" });
    const { status, stream } = callOf(method);
    const headers = await once(stream, "response").then(([each]) => each as Record<string, string>);
    expect([await status, headers["grpc-message"]]).toEqual(["7", "no identity issued"]);
    expect(recorded).toEqual([expect.stringMatching(/^no (X\.509|JWT|WIT)-SVID: no_agent_matches$/)]);
  });

  it.each(ALL)("W5: of %s is unavailable where it cannot be said who calls", async (method) => {
    answer = refuse({ kind: "unavailable", reason: "caller_unreadable" });
    expect(await callOf(method).status).toBe("14");
  });

  it.each(["FetchX509SVID", "FetchJWTSVID", "FetchWITSVID"])(
    "of %s is unavailable while nothing can be written to the log",
    async (method) => {
      isAuditBroken = true;
      const { status, waitingMessages } = callOf(method);
      expect([await status, waitingMessages()]).toEqual(["14", 0]);
    },
  );

  it.each([
    ["FetchWITSVID", "12"],
    ["FetchWITBundles", "12"],
    ["Nothing", "12"],
    ["constructor", "12"],
  ])("W4: of %s is not implemented", async (method, status) => {
    api.close();
    api = new WorkloadApi({ ...parts, wit: undefined });
    expect(await call(method).status).toBe(status);
    expect(recorded).toEqual([]);
  });

  it("is refused where it is no gRPC", async () => {
    expect(await call("FetchX509SVID", undefined, { "content-type": "text/plain" }).status).toBe("http 415");
    expect(await call("FetchX509SVID", undefined, { ":method": "GET" }).status).toBe("http 405");
  });

  it("is refused where its message is broken, too large or compressed", async () => {
    for (const wrong of ["0a", "0a05", "0aff", "0000", "ffffffffffffffffffffffff", "0b", "0801ff"])
      expect(await call("FetchJWTSVID", Buffer.from(wrong, "hex")).status, wrong).toBe("3");
    expect(await call("FetchJWTSVID", field(1, Buffer.from([0xff]))).status).toBe("3");
    expect(await call("FetchJWTSVID", Buffer.alloc(70_000)).status).toBe("8");
    expect(await call("FetchJWTSVID", jwtRequest(Array.from({ length: 51 }, () => "a"))).status).toBe("3");
  });
});

const closeTo = (value: number): unknown => expect.closeTo(value, 6);

describe("FetchX509SVID", () => {
  it("W1, W6, W8, W9: answers at once, without TLS, with everything that the ID needs and no hint, and it verifies", async () => {
    const message = await call("FetchX509SVID").next();
    expect(part(message, 1, 1).toString()).toBe("spiffe://corp/one");
    const found = verifyX509Svid([part(message, 1, 2)], () => bundle, NOW);
    expect(found).toMatchObject({ ok: true, value: { id: { uri: "spiffe://corp/one" } } });
    expect(part(message, 1, 3).length).toBe(138);
    expect([...readFields(part(message, 1)).keys()]).toEqual([1, 2, 3, 4]);
    expect(part(message, 1, 4)).toEqual(bundle.x509Authorities[0]?.der);
    expect(recorded).toEqual(["X.509-SVID spiffe://corp/one by x509-1"]);
  });

  it("W6: sends the whole again where an authority has been prepared, and signs with the one that is active", async () => {
    const { next } = call("FetchX509SVID");
    const before = await next();
    const prepared = newAuthority("x509", 2);
    publish(2, prepared.stored);
    api.pushAll();
    const during = await next();
    expect(part(during, 1, 4)).toEqual(Buffer.concat(bundle.x509Authorities.map(({ der }) => der)));
    expect(part(during, 1, 4).length).toBeGreaterThan(part(before, 1, 4).length);
    authorities.set("x509", prepared);
    publish(3);
    api.pushAll();
    const after = await next();
    expect(verifyX509Svid([part(after, 1, 2)], () => bundle, NOW)).toMatchObject({ ok: true });
    expect(verifyX509Svid([part(before, 1, 2)], () => bundle, NOW)).toMatchObject({ ok: false });
  });

  it("reaches everybody in pieces, and everybody with the newest where it changes in the middle", async () => {
    const calls = Array.from({ length: 150 }, () => call("FetchX509SVID"));
    await Promise.all(calls.map(({ next }) => next()));
    const issued = recorded.length;
    authorities.set("x509", newAuthority("x509", 2));
    api.pushAll();
    await new Promise((resolve) => setTimeout(resolve));
    expect(recorded.length - issued).toBeLessThan(150);
    authorities.set("x509", newAuthority("x509", 3));
    api.pushAll();
    await vi.waitFor(() => expect(recorded.filter((each) => each.endsWith("x509-3")).length).toBe(150));
    expect(recorded.slice(issued).filter((each) => each.endsWith("x509-2")).length).toBeLessThan(150);
  });

  it("ends, denied, as soon as its agent is cut off", async () => {
    const { next, status } = call("FetchX509SVID");
    await next();
    answer = refuse({ kind: "not_entitled", reason: "agent_cut" });
    api.reconsider();
    expect(await status).toBe("7");
    expect(recorded.at(-1)).toBe("no X.509-SVID: agent_cut");
  });

  it("W11, F9: carries bundles of other trust domains apart, for who asked for them, and each change of one", async () => {
    const partner = testTrustDomain("partner.example");
    const federated = (...bundles: TrustBundle[]) =>
      (answer = ok({ agent: "one", id: idOf("spiffe://corp/one"), federated: bundles }));
    const read = (message: Buffer, number: number) =>
      new Map(
        (readFields(message).get(number) ?? []).map((entry) => [part(entry, 1).toString(), part(entry, 2)]),
      );
    const plain = call("FetchX509SVID");
    expect(read(await plain.next(), 3).size).toBe(0);
    federated(partner.bundle);
    const [svid, x509, jwt] = ["FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles"].map((each) =>
      call(each),
    );
    expect(read(await svid!.next(), 3)).toEqual(new Map([["spiffe://partner.example", partner.authority]]));
    const bundles = read(await x509!.next(), 2);
    expect([...bundles.keys()]).toEqual(["spiffe://corp", "spiffe://partner.example"]);
    expect(bundles.get("spiffe://partner.example")).toEqual(partner.authority);
    expect(bundles.get("spiffe://corp")).toEqual(bundle.x509Authorities[0]!.der);
    expect(
      read(await jwt!.next(), 1)
        .get("spiffe://partner.example")
        ?.toString(),
    ).toBe('{"keys":[]}');
    const next = testTrustDomain("partner.example", "next CA");
    federated(next.bundle);
    api.reconsider();
    expect(read(await svid!.next(), 3)).toEqual(new Map([["spiffe://partner.example", next.authority]]));
    expect(read(await x509!.next(), 2).get("spiffe://partner.example")).toEqual(next.authority);
    federated();
    api.reconsider();
    expect(read(await svid!.next(), 3).size).toBe(0);
    expect(read(await x509!.next(), 2).size).toBe(1);
    // The change in between was none of keys for tokens.
    expect(read(await jwt!.next(), 1).size).toBe(1);
  });

  it("says nothing where agents were changed but not its own, and gives the new ID where it was", async () => {
    const { next, waitingMessages } = call("FetchX509SVID");
    await next();
    api.reconsider();
    answer = ok({ agent: "one", id: idOf("spiffe://corp/two"), federated: [] });
    api.reconsider();
    expect(part(await next(), 1, 1).toString()).toBe("spiffe://corp/two");
    expect([waitingMessages(), recorded.length]).toEqual([0, 2]);
  });

  it("W16: is renewed at half of a life, earlier or later by a tenth of that", () => {
    expect([0, 0.5, 1].map((chance) => renewAfter(1000, chance))).toEqual([450, 500, 550].map(closeTo));
  });

  it("renews its document at half of its life", async () => {
    lives = { x509: 100, jwt: 100 };
    const { next } = call("FetchX509SVID");
    const [first, second] = [await next(), await next()];
    expect(part(second, 1, 2)).not.toEqual(part(first, 1, 2));
    expect(part(second, 1, 3)).not.toEqual(part(first, 1, 3));
  });

  it("keeps one newest answer for a peer that does not read, not a queue of old ones", async () => {
    const { stream, next, status } = call("FetchX509SVID");
    await next();
    stream.pause();
    for (let round = 0; round < 500; round++) {
      api.pushAll();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const made = recorded.length;
    // 64 KiB of the peer's window and 16 KiB of our own buffer, at some 1,000 bytes for each answer.
    expect(made).toBeLessThan(200);
    stream.resume();
    answer = refuse({ kind: "not_entitled", reason: "agent_cut" });
    api.reconsider();
    expect(await status).toBe("7");
  });
});

describe("bundles", () => {
  it("W11: have the ID of the trust domain as their name, X.509 and JWT apart", async () => {
    const x509 = await call("FetchX509Bundles").next();
    expect(part(x509, 2, 1).toString()).toBe("spiffe://corp");
    expect(part(x509, 2, 2)).toEqual(bundle.x509Authorities[0]?.der);
    const jwt = await call("FetchJWTBundles").next();
    expect(part(jwt, 1, 1).toString()).toBe("spiffe://corp");
    const { keys } = JSON.parse(part(jwt, 1, 2).toString()) as { keys: { use: string; kid: string }[] };
    expect(keys.map(({ use, kid }) => [use, kid])).toEqual([["jwt-svid", bundle.jwtAuthorities[0]?.id]]);
  });

  it("are sent again where they have changed, and not where they have not", async () => {
    const { next, waitingMessages } = call("FetchX509Bundles");
    await next();
    api.pushAll();
    api.reconsider();
    publish(2, newAuthority("x509", 2).stored);
    api.pushAll();
    expect(part(await next(), 2, 2)).toEqual(Buffer.concat(bundle.x509Authorities.map(({ der }) => der)));
    expect(waitingMessages()).toBe(0);
  });
});

describe("FetchJWTSVID", () => {
  it.each([
    ["no audience", jwtRequest([]), "3"],
    ["an empty audience", jwtRequest(["api", ""]), "3"],
    ["an ID that is none", jwtRequest(["api"], "spiffe://corp/"), "3"],
    ["the ID of somebody else", jwtRequest(["api"], "spiffe://corp/two"), "7"],
  ])("W12: is refused with %s", async (_, request, status) => {
    expect(await call("FetchJWTSVID", request).status).toBe(status);
  });

  it("W12: gives a token for the audience that was asked for", async () => {
    for (const request of [jwtRequest(["api"]), jwtRequest(["api"], "spiffe://corp/one")]) {
      const { next, status } = call("FetchJWTSVID", request);
      const message = await next();
      expect(part(message, 1, 1).toString()).toBe("spiffe://corp/one");
      const claims = JSON.parse(
        Buffer.from(part(message, 1, 2).toString().split(".")[1]!, "base64url").toString(),
      ) as object;
      expect(claims).toMatchObject({ sub: "spiffe://corp/one", aud: ["api"], exp: NOW / 1000 + 300 });
      expect(await status).toBe("0");
    }
  });
});

describe("FetchWITSVID", () => {
  const readSvid = (message: Buffer) => {
    const [id, token, key] = [1, 2, 3].map((number) => part(message, 1, number).toString());
    return {
      id,
      token: token!,
      privateKey: createPrivateKey({ key: JSON.parse(key!) as webcrypto.JsonWebKey, format: "jwk" }),
    };
  };
  const challenge = Buffer.alloc(32, 7);
  const verify = (token: string, key: KeyObject) => {
    const signature = sign("sha256", challenge, { key, dsaEncoding: "ieee-p1363" });
    return verifyWitSvid(token, { signed: challenge, signature }, () => bundle, NOW);
  };

  it.each([
    ["an ID that is none", field(1, "spiffe://corp/"), "3"],
    ["bytes that are no request", Buffer.from("0a05", "hex"), "3"],
    ["the ID of somebody else", field(1, "spiffe://corp/two"), "7"],
  ])("is refused with %s", async (_, request, status) => {
    const { status: answered, waitingMessages } = call("FetchWITSVID", request);
    expect([await answered, waitingMessages()]).toEqual([status, 0]);
    expect(recorded).toEqual(status === "7" ? ["no WIT-SVID: asked for spiffe://corp/two"] : []);
  });

  it("gives a token with the key that it is bound to, both new each time, and says so in the log", async () => {
    const { next } = call("FetchWITSVID", field(1, "spiffe://corp/one"));
    const first = readSvid(await next());
    expect(first.id).toBe("spiffe://corp/one");
    expect(verify(first.token, first.privateKey)).toMatchObject({
      ok: true,
      value: { id: { uri: "spiffe://corp/one" }, expiresAt: NOW + 3_600_000 },
    });
    api.pushAll();
    const second = readSvid(await next());
    expect(verify(second.token, first.privateKey)).toEqual({ ok: false, reason: "proof_wrong" });
    expect(verify(second.token, second.privateKey).ok).toBe(true);
    expect(recorded).toEqual(Array(2).fill("WIT-SVID spiffe://corp/one by wit-1"));
  });

  it("comes again from the next authority, and ends, denied, as soon as its agent is cut off", async () => {
    const { next, status, waitingMessages } = call("FetchWITSVID");
    const before = readSvid(await next());
    authorities.set("wit", newAuthority("wit", 2));
    publish(2);
    api.pushAll();
    const after = readSvid(await next());
    expect(verify(before.token, before.privateKey)).toEqual({ ok: false, reason: "authority_unknown" });
    expect(verify(after.token, after.privateKey).ok).toBe(true);
    api.reconsider();
    answer = refuse({ kind: "not_entitled", reason: "agent_cut" });
    api.reconsider();
    expect([await status, waitingMessages()]).toEqual(["7", 0]);
    expect(recorded.slice(1)).toEqual(["WIT-SVID spiffe://corp/one by wit-2", "no WIT-SVID: agent_cut"]);
  });

  it("is renewed at half of its life", async () => {
    lives = { x509: 100, jwt: 100 };
    const { next } = call("FetchWITSVID");
    expect(readSvid(await next()).token).not.toBe(readSvid(await next()).token);
  });

  it("has bundles of its own, in which no key of another use stands, and none of who has no WIT-SVIDs", async () => {
    const federated = [testTrustDomain("partner.example").bundle];
    answer = ok({ agent: "one", id: idOf("spiffe://corp/one"), federated });
    const message = await call("FetchWITBundles").next();
    expect(readFields(message).get(1)).toHaveLength(1);
    expect(part(message, 1, 1).toString()).toBe("spiffe://corp");
    const { keys } = JSON.parse(part(message, 1, 2).toString()) as { keys: { use: string; kid: string }[] };
    expect(keys.map(({ use, kid }) => [use, kid])).toEqual([["wit-svid", bundle.witAuthorities?.[0]?.id]]);
  });
});

describe("ValidateJWTSVID", () => {
  it("takes no WIT-SVID", async () => {
    const { token, privateKey } = signWitSvid(
      authorities.get("wit")!,
      idOf("spiffe://corp/one"),
      60_000,
      NOW,
    );
    privateKey.wipe();
    expect(await call("ValidateJWTSVID", validateRequest("api", token)).status).toBe("3");
  });

  it("W13: is refused for a token of somebody else, for another audience, or of an agent that was cut off", async () => {
    const forged = signJwtSvid(newAuthority("jwt", 1), idOf("spiffe://corp/one"), ["api"], 1000, NOW).token;
    for (const request of [
      validateRequest("api", forged),
      validateRequest("other", issue()),
      validateRequest("", issue()),
      validateRequest("api", ""),
      validateRequest("api", "x.y.z"),
    ])
      expect(await call("ValidateJWTSVID", request).status).toBe("3");
    standing = "agent_cut";
    expect(await call("ValidateJWTSVID", validateRequest("api", issue())).status).toBe("3");
  });

  it("W13: gives the ID and the claims of a good one, its audience as a list", async () => {
    const message = await call("ValidateJWTSVID", validateRequest("api", issue("spiffe://corp/two"))).next();
    expect(part(message, 1).toString()).toBe("spiffe://corp/two");
    const claims = readFields(part(message, 2)).get(1)!;
    const names = claims.map((entry) => part(entry, 1).toString());
    expect(names.toSorted()).toEqual(["aud", "exp", "iat", "sub"]);
    const audience = claims.find((entry) => part(entry, 1).toString() === "aud")!;
    expect(part(audience, 2, 6, 1, 3).toString()).toBe("api");
  });
});

describe("a client", () => {
  const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  const frame = (type: number, flags: number, stream: number, payload: Buffer): Buffer => {
    const header = Buffer.alloc(9);
    header.writeUIntBE(payload.length, 0, 3);
    header[3] = type;
    header[4] = flags;
    header.writeUInt32BE(stream, 5);
    return Buffer.concat([header, payload]);
  };
  const settings = frame(4, 0, 0, Buffer.alloc(0));
  const fields = (authority: readonly string[]) =>
    [
      [":method", "POST"],
      [":scheme", "http"],
      [":path", "/SpiffeWorkloadAPI/FetchX509SVID"],
      ...authority.map((each) => [":authority", each]),
      ["content-type", "application/grpc"],
      ["te", "trailers"],
      ["workload.spiffe.io", "true"],
    ].map(([name, value]) => [Buffer.from(name!), Buffer.from(value!)] as const);
  const body = frame(0, 1, 1, Buffer.alloc(5));

  /** Whether a whole answer came back, by the name of the workload in it. */
  async function isAnswered(bytes: Buffer): Promise<boolean> {
    const socket = open();
    let got = Buffer.alloc(0);
    const done = new Promise<boolean>((resolve) => {
      socket.on("data", (chunk: Buffer) => {
        got = Buffer.concat([got, chunk]);
        if (got.includes("spiffe://corp/one")) resolve(true);
      });
      socket.on("close", () => resolve(false));
    });
    socket.write(bytes);
    return done;
  }

  it.each([
    ["a host", ["localhost"]],
    ["the path of the socket, as grpc-java does", ["/tmp/api.sock"]],
    ["the path in percent-encoding, as gRPC's C core does", ["tmp%2Fapi.sock"]],
    ["nothing", [""]],
    ["no authority at all", []],
    ["bytes that are no host", ["\u0001\u00ff"]],
  ])("is answered that sends as authority %s", async (_, authority) => {
    const headers = frame(1, 4, 1, encodeLiterally(fields(authority)));
    expect(await isAnswered(Buffer.concat([PREFACE, settings, headers, body]))).toBe(true);
  });

  it("is answered that pads its headers, gives them a priority and sends them in pieces", async () => {
    const block = encodeLiterally(fields(["/x"]));
    const padded = Buffer.concat([Buffer.from([3]), Buffer.alloc(5), block.subarray(0, 10), Buffer.alloc(3)]);
    const pieces = [
      frame(1, 0x08 | 0x20, 1, padded),
      frame(9, 0, 1, block.subarray(10, 20)),
      frame(9, 4, 1, block.subarray(20)),
    ];
    expect(await isAnswered(Buffer.concat([PREFACE, settings, ...pieces, body]))).toBe(true);
  });

  const good = frame(1, 4, 1, encodeLiterally(fields(["localhost"])));
  const HOSTILE: readonly (readonly [string, Buffer])[] = [
    ["HTTP/1.1", Buffer.from("GET / HTTP/1.1\r\nhost: x\r\n\r\n")],
    ["TLS", Buffer.from("16030100", "hex")],
    [
      "a frame larger than what was offered",
      Buffer.concat([PREFACE, settings, Buffer.from("0040010104", "hex"), Buffer.alloc(20_000)]),
    ],
    [
      "headers that cannot be read",
      Buffer.concat([PREFACE, settings, frame(1, 4, 1, Buffer.from("ff", "hex"))]),
    ],
    [
      "headers with more padding than bytes",
      Buffer.concat([PREFACE, settings, frame(1, 0x0c, 1, Buffer.from([200, 0]))]),
    ],
    ["a continuation of nothing", Buffer.concat([PREFACE, settings, frame(9, 4, 1, Buffer.alloc(1))])],
    [
      "another frame within a header block",
      Buffer.concat([PREFACE, settings, frame(1, 0, 1, Buffer.alloc(0)), settings]),
    ],
    [
      "continuations without end",
      Buffer.concat([
        PREFACE,
        settings,
        frame(1, 0, 1, Buffer.alloc(0)),
        ...Array.from({ length: 40 }, () => frame(9, 0, 1, Buffer.alloc(0))),
      ]),
    ],
    [
      "a stream of an even number",
      Buffer.concat([PREFACE, settings, frame(1, 4, 2, encodeLiterally(fields(["localhost"])))]),
    ],
    [
      "data for a stream that is not there",
      Buffer.concat([PREFACE, settings, frame(0, 1, 7, Buffer.alloc(9))]),
    ],
    [
      "a window that overflows",
      Buffer.concat([
        PREFACE,
        settings,
        frame(8, 0, 0, Buffer.from("7fffffff", "hex")),
        frame(8, 0, 0, Buffer.from("7fffffff", "hex")),
      ]),
    ],
  ];

  it.each(HOSTILE)("that sends %s loses its connection, and nobody else notices", async (_, bytes) => {
    expect(await isAnswered(bytes)).toBe(false);
    expect(await isAnswered(Buffer.concat([PREFACE, settings, good, body]))).toBe(true);
  });

  it("that resets its streams all the time harms nobody", async () => {
    const resets = Array.from({ length: 3000 }, (_, index) => [
      frame(1, 4, 2 * index + 1, encodeLiterally(fields(["/x"]))),
      frame(3, 0, 2 * index + 1, Buffer.from([0, 0, 0, 8])),
    ]);
    expect(await isAnswered(Buffer.concat([PREFACE, settings, ...resets.flat()]))).toBe(false);
    expect(await isAnswered(Buffer.concat([PREFACE, settings, good, body]))).toBe(true);
  });

  it("that sends anything at all harms nobody", async () => {
    const piece = fc.oneof(
      fc.constantFrom(settings, good, body, frame(6, 0, 0, Buffer.alloc(8)), frame(3, 0, 1, Buffer.alloc(4))),
      fc
        .tuple(fc.nat(12), fc.nat(255), fc.nat(5), fc.uint8Array({ maxLength: 60 }))
        .map(([type, flags, stream, payload]) => frame(type, flags, stream, Buffer.from(payload))),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 10 }), async (pieces) => {
        const socket = open();
        socket.end(Buffer.concat([PREFACE, ...pieces]));
        socket.resume();
        await once(socket, "close");
      }),
      { numRuns: 200 },
    );
    expect(await isAnswered(Buffer.concat([PREFACE, settings, good, body]))).toBe(true);
  });

  it("that goes away in the middle takes its call with it", async () => {
    const { stream, next } = call("FetchX509SVID");
    await next();
    stream.close();
    await once(stream, "close");
    api.pushAll();
    expect(await isAnswered(Buffer.concat([PREFACE, settings, good, body]))).toBe(true);
  });

  it("may send headers that refer to earlier ones, in the Huffman code, as real clients do", async () => {
    const client = connectHttp2("http://localhost", { createConnection: open });
    clients.push(client);
    for (let round = 0; round < 3; round++) {
      const headers = {
        ":method": "POST",
        ":path": "/SpiffeWorkloadAPI/FetchJWTSVID",
        ...HEADERS,
        "x-long": 'Ünï~^}{\\"'.repeat(round * 20),
      };
      const stream = client.request(headers);
      stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, 5]), field(1, "api")]));
      const [first] = (await once(stream, "data")) as [Buffer];
      expect(first.includes("spiffe://corp/one")).toBe(true);
    }
  });
});

describe("a trust domain of somebody else", () => {
  it("is never believed by ValidateJWTSVID, even where it signs with a key of ours", async () => {
    const token = signJwtSvid(authorities.get("jwt")!, idOf("spiffe://lab/one"), ["api"], 1000, NOW).token;
    expect(await call("ValidateJWTSVID", validateRequest("api", token)).status).toBe("3");
  });
});
