// SPDX-License-Identifier: Apache-2.0
/**
 * The client library among strangers: a Workload API by grpc-go, and go-spiffe at the other end of TLS, both ways.
 *
 * Arguments: the library (a module), the program of `go/peer`, and a path for its socket. Prints what was checked, one line each.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const [library, program, socket] = process.argv.slice(2);
const { createSpiffeServer, exactId, JwtSource, memberOf, peerIdOf, spiffeFetch, X509Source } = await import(
  library
);
const ID = "spiffe://go.example/workload";

const peer = spawn(program, [socket], { stdio: ["pipe", "pipe", "inherit"] });
const lines = createInterface({ input: peer.stdout })[Symbol.asyncIterator]();
const said = async (event) => {
  const { value } = await lines.next();
  const message = JSON.parse(value);
  assert.equal(message.event, event, value);
  return message;
};
const tell = (...words) => void peer.stdin.write(`${words.join(" ")}\n`);
const passed = (what) => process.stdout.write(`ok ${what}\n`);

const endpoint = `unix://${socket}`;
const signal = AbortSignal.timeout(20_000);
const { port } = await said("ready");
const [source, tokens] = await Promise.all([
  X509Source.open({ endpoint, signal }),
  JwtSource.open({ endpoint, signal }),
]);
const changed = (of, isThere) =>
  new Promise((resolve) => {
    const look = () => isThere() && (stop(), resolve());
    const stop = of.onChange(look);
    look();
  });
const authorities = () => source.bundleOf("go.example")?.x509Authorities.length;

assert.equal(source.svid.id.uri, ID);
assert.equal(source.svidWithHint("go"), source.svid);
passed("an X.509-SVID, its key and its bundle from grpc-go");

const { token } = await tokens.svid("go-service");
assert.equal(tokens.validate(token, "go-service").id.uri, ID);
assert.throws(() => tokens.validate(token, "other"), { code: "token_refused", reason: "audience_wrong" });
passed("a JWT-SVID of go-jose, validated, refused for another audience");

const call = spiffeFetch({ source, authorize: memberOf("go.example") });
const ask = async (headers = {}) => (await call(`https://127.0.0.1:${port}/`, { headers })).text();
assert.equal(await ask({ authorization: `Bearer ${token}` }), `${ID} for ${ID}`);
passed("calls a go-spiffe server, which believes certificate and token");
await assert.rejects(
  spiffeFetch({ source, authorize: exactId("spiffe://go.example/other") })(`https://127.0.0.1:${port}/`),
  { code: "peer_unauthorized" },
);
passed("refuses a go-spiffe server that is not the one that is meant");

const refused = [];
const server = createSpiffeServer(
  { source, authorize: exactId(ID), onRefused: ({ reason, code }) => refused.push(reason ?? code) },
  (request, response) => response.end(`hello ${peerIdOf(request.socket).uri}`),
);
server.listen(0, "127.0.0.1");
await once(server, "listening");
const own = server.address().port;
const dial = async (how) => {
  tell(how, own);
  return said("dialled");
};
assert.equal((await dial("dial")).answer, `hello ${ID}`);
passed("is called by a go-spiffe client");
assert.ok((await dial("dial-as-stranger")).error);
assert.ok((await dial("dial-as-trust-domain")).error);
assert.deepEqual(refused, ["not_signed_by_trust_domain", "spiffe_id_without_path"]);
passed("refuses a go-spiffe client of a strange authority, and one with the trust domain's own name");

const before = source.svid;
tell("rotate");
await changed(source, () => authorities() === 2);
assert.notEqual(source.svid, before);
assert.equal((await dial("dial")).answer, `hello ${ID}`);
assert.equal(await ask(), `${ID} for nobody`);
tell("forget");
await changed(source, () => authorities() === 1);
assert.equal((await dial("dial")).answer, `hello ${ID}`);
assert.equal(await ask(), `${ID} for nobody`);
passed("goes through a rotation of the authority, both ways, without a restart");

tell("deny");
await changed(source, () => source.svids.length === 0);
assert.throws(() => source.svid, { code: "no_identity" });
await assert.rejects(tokens.fetch(["go-service"]), { status: 7 });
await assert.rejects(ask(), { code: "no_identity" });
assert.ok((await dial("dial")).error);
passed("has no identity when it is taken back, and shows none");
tell("allow");
await changed(source, () => source.svids.length === 1);
assert.equal(await ask(), `${ID} for nobody`);
assert.equal((await dial("dial")).answer, `hello ${ID}`);
passed("has one again when it is given back");

server.close();
source.close();
tokens.close();
peer.stdin.end();
peer.kill();
