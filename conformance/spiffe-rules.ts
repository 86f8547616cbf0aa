// SPDX-License-Identifier: Apache-2.0
/** Which rules do the SPIFFE standards have for Postern, and which checks a catalogue that others have written for clients? */

export interface Rule {
  readonly id: string;
  readonly level: "MUST" | "SHOULD" | "MAY";
  readonly says: string;
  /** Why it has no test; absent where it must have one. */
  readonly without?: string;
}

const rule = (id: string, level: Rule["level"], says: string, without?: string): Rule => ({
  ...{ id, level, says },
  ...(without === undefined ? {} : { without }),
});

/** SPIFFE-ID, X509-SVID, JWT-SVID, Trust Domain and Bundle, Federation, Workload Endpoint and API. */
export const RULES: readonly Rule[] = [
  rule("ID1", "MUST", "scheme `spiffe`, a trust domain, no query, no fragment"),
  rule("ID2", "MUST", "no user, no port"),
  rule("ID3", "MUST", "trust domain: lower-case letters, digits, `.`, `-`, `_`"),
  rule("ID4", "MUST", "path: no empty and no dot segment, no slash at the end, no percent-encoding"),
  rule("ID5", "MUST", "2048 bytes are taken, more are not made; 255 for the trust domain"),
  rule("ID6", "MUST", "a trust domain that looks like an address is nothing special"),
  rule("ID7", "MUST", "the host in lower case, the path in the case that it has"),
  rule("ID8", "SHOULD", "no repair by a URL parser"),
  rule("X1", "MUST", "exactly one URI; names of other forms may stand beside it"),
  rule("X2", "MUST", "the ID of a leaf has a path"),
  rule("X3", "MUST", "without a subject the names are critical"),
  rule("X4", "MUST", "a signing certificate is an authority with keyCertSign, and its ID has no path"),
  rule("X5", "MUST", "a leaf is no authority, has digitalSignature, and neither keyCertSign nor cRLSign"),
  rule("X6", "MUST", "key usage is there and critical"),
  rule("X7", "SHOULD", "extended key usage of a leaf is for servers and clients"),
  rule("X8", "MUST", "path validation of RFC 5280, then the leaf's own rules"),
  rule("X9", "MUST", "a workload's certificate signs nothing, an authority's authenticates nobody"),
  rule("X10", "MUST", "the bundle of the ID's own trust domain, and no other"),
  rule("X11", "MUST", "nothing before its beginning or after its end"),
  rule("X12", "MAY", "name constraints: refused, since nobody here computes them"),
  rule("J1", "MUST", "JWS compact serialization only"),
  rule("J2", "MUST", "nine algorithms, each with keys that fit"),
  rule("J3", "MUST", "`alg`, `kid`, `typ` in the header and nothing else"),
  rule("J4", "MUST", "`typ` absent, `JWT` or `JOSE`"),
  rule("J5", "MUST", "`sub`, `aud`, `exp`, `nbf`"),
  rule("J6", "MUST", "a JWT authority of the subject's own trust domain"),
  rule("J7", "MAY", "`kid` is sent, and may be absent"),
  rule("J8", "SHOULD", "a short life"),
  rule("J9", "SHOULD", "sent as a bearer token"),
  rule("B1", "MUST", "`keys` is there; empty means that everything is revoked"),
  rule("B2", "MUST", "entries of unknown `kty` or `use` are passed over"),
  rule("B3", "MUST", "X.509: one certificate in `x5c`, no `kid`"),
  rule("B4", "MUST", "JWT: `kid`"),
  rule("B5", "SHOULD", "`spiffe_sequence` grows with every change, exact beyond 2^53"),
  rule("B6", "SHOULD", "`spiffe_refresh_hint`, whole seconds"),
  rule("B7", "MUST", "no parameters of one's own are needed"),
  rule("B8", "MUST", "bundle maps", "none are read or written: each trust domain has a resource of its own"),
  rule("F1", "MUST", "name, URL and profile are configured, none worked out"),
  rule("F2", "MUST", "https, no user; the certificate is verified"),
  rule("F3", "MUST", "clients know both profiles; servers one at least, TLS 1.2 or newer"),
  rule("F4", "MUST", "the endpoint asks nobody who they are"),
  rule("F5", "MUST", "the newest bundle, as JSON"),
  rule("F6", "MUST", "https_spiffe: exactly the ID that was configured, by the newest bundle"),
  rule(
    "F7",
    "SHOULD",
    "redirects are followed",
    "not followed: whoever answers would choose where we connect to",
  ),
  rule("F8", "MUST", "keys are published before they are used"),
  rule("F9", "MUST", "bundles of different trust domains are never merged"),
  rule("W1", "MUST", "gRPC over a Unix socket, no TLS, no authentication by the client"),
  rule("W2", "MUST", "without the security header: InvalidArgument"),
  rule("W3", "MUST", "SPIFFE_ENDPOINT_SOCKET"),
  rule("W4", "MUST", "both profiles; WIT: Unimplemented"),
  rule("W5", "SHOULD", "no identity: PermissionDenied; not sure: Unavailable"),
  rule("W6", "MUST", "the first answer at once, every answer complete"),
  rule("W7", "MUST", "absent fields wipe earlier ones"),
  rule("W8", "MUST", "all fields of an X.509-SVID are set"),
  rule("W9", "MUST", "hints are unique: the server sends none, a client takes the first"),
  rule("W10", "MUST", "the default identity is the first"),
  rule("W11", "MUST", "bundles under the ID of the trust domain, JWT and X.509 apart"),
  rule("W12", "MUST", "FetchJWTSVID: audience needed, own IDs only"),
  rule("W13", "MUST", "ValidateJWTSVID checks everything"),
  rule("W14", "SHOULD", "server reflection", "not offered: callers are attested before anything is answered"),
  rule("W15", "SHOULD", "reconnection"),
  rule("W16", "SHOULD", "not everybody at the same moment"),
];

/**
 * How many checks each group of the client catalogue has, and which profile of the standards it is about
 * (arndt-s/spiffe-conformance-test-suite, docs/TEST_CATALOGUE.md). Titles of the client library's tests name them: `XV-8: …`.
 */
export const CLIENT_CATALOGUE: Readonly<Record<string, { readonly checks: number; readonly about: string }>> =
  {
    EP: { checks: 8, about: "finding the Workload API, and trying again" },
    WA: { checks: 4, about: "answers of the Workload API" },
    XS: { checks: 5, about: "the own X.509-SVID, and whom it makes believe" },
    XV: { checks: 15, about: "X.509-SVIDs of peers, as server and as client" },
    XF: { checks: 3, about: "peers of federated trust domains" },
    JV: { checks: 25, about: "JWT-SVIDs" },
    JB: { checks: 8, about: "JWT bundles" },
    JF: { checks: 4, about: "asking for JWT-SVIDs" },
    ID: { checks: 2, about: "SPIFFE IDs" },
    HX: { checks: 9, about: "a Workload API that gives what nobody would believe" },
  };

export const CLIENT_CHECKS: readonly string[] = Object.entries(CLIENT_CATALOGUE).flatMap(
  ([group, { checks }]) => Array.from({ length: checks }, (_, index) => `${group}-${index + 1}`),
);
