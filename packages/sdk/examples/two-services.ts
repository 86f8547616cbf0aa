// SPDX-License-Identifier: Apache-2.0
/** A service that knows who asks, and somebody who asks: by X.509-SVIDs on both sides, then with a token. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import {
  bearerToken,
  createSpiffeServer,
  JwtSource,
  memberOf,
  peerIdOf,
  spiffeFetch,
  X509Source,
} from "@postern/sdk";

// Both wait until the Workload API of SPIFFE_ENDPOINT_SOCKET gives an identity, and keep it up to date from then on.
const source = await X509Source.open();
const tokens = await JwtSource.open();
const { trustDomain } = source.svid.id;

const server = createSpiffeServer({ source, authorize: memberOf(trustDomain) }, (request, response) => {
  const token = bearerToken(request.headers.authorization);
  const user = token === undefined ? "nobody else" : tokens.validate(token, "hello-service").id.uri;
  response.end(`hello ${peerIdOf(request.socket).uri}, on behalf of ${user}\n`);
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;

// The certificate of the other side must prove this trust domain; the name in the URL proves nothing.
const call = spiffeFetch({ source, authorize: memberOf(trustDomain) });
process.stdout.write(await (await call(url)).text());

const { token } = await tokens.svid("hello-service");
process.stdout.write(await (await call(url, { headers: { authorization: `Bearer ${token}` } })).text());

server.close();
source.close();
tokens.close();
