// SPDX-License-Identifier: Apache-2.0
/** SPIFFE identities for TypeScript: to have one, to show it, and to know who shows one. See the README. */
export { parseSpiffeId, type SpiffeId } from "@postern/identity/spiffe-id";
export { parseTrustBundle, type TrustBundle } from "@postern/identity/trust-bundle";
export { anyId, anyOf, type Authorize, exactId, memberOf } from "./authorize.ts";
export { BundleSource } from "./bundle-source.ts";
export { JwtSource, type TokenOptions } from "./jwt-source.ts";
export type { JwtSvid } from "./jwt-svids.ts";
export { peerIdOf, verifyChain, verifyPeer, type Peer, type PeerRules } from "./peer.ts";
export type { SourceOptions } from "./source.ts";
export { SpiffeError, type SpiffeErrorCode } from "./spiffe-error.ts";
export {
  connectTls,
  SpiffeAgent,
  spiffeFetch,
  type ClientRules,
  type ConnectTlsOptions,
} from "./tls-client.ts";
export {
  admitOnly,
  createSpiffeServer,
  createSpiffeTlsServer,
  serverOptions,
  type ServerRules,
} from "./tls-server.ts";
export { bearerToken, type JwtRules, validateJwtSvid, type ValidatedJwtSvid } from "./validate-jwt-svid.ts";
export { X509Source } from "./x509-source.ts";
export type { X509Svid } from "./x509-state.ts";
