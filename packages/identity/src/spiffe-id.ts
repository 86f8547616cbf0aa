// SPDX-License-Identifier: Apache-2.0
/**
 * Is this text a SPIFFE ID, and of which trust domain? (SPIFFE-ID §2)
 *
 * A parser of its own, because the one of the URL standard repairs what must be refused: it changes case, decodes
 * percent-encodings and takes dot segments away.
 */
import { ok, refuse, type Result } from "./result.ts";

export interface SpiffeId {
  /** The whole ID, as it stands in an SVID. */
  readonly uri: string;
  readonly trustDomain: string;
  /** With its leading slash; empty for the ID of the trust domain itself. */
  readonly path: string;
}

const SCHEME = "spiffe://";
/** §2.3: longer IDs need not be supported by anybody, so none are made and none taken. */
export const MOST_ID_BYTES = 2048;
const MOST_TRUST_DOMAIN_BYTES = 255;
const TRUST_DOMAIN = /^[a-z0-9._-]+$/;
const SEGMENT = /^[A-Za-z0-9._-]+$/;

/** Exact: the scheme and the trust domain in lower case, as an SVID must have them (§2.1). */
export function parseSpiffeId(text: string): Result<SpiffeId, string> {
  if (text.length > MOST_ID_BYTES) return refuse(`a SPIFFE ID has at most ${MOST_ID_BYTES} bytes`);
  if (!text.startsWith(SCHEME)) return refuse(`a SPIFFE ID begins with ${SCHEME}`);
  const slash = text.indexOf("/", SCHEME.length);
  const trustDomain = text.slice(SCHEME.length, slash === -1 ? undefined : slash);
  const problem = trustDomainProblem(trustDomain);
  if (problem !== undefined) return refuse(problem);
  const path = slash === -1 ? "" : text.slice(slash);
  const bad = path
    .split("/")
    .slice(1)
    .find((segment) => !isPathSegment(segment));
  if (bad === undefined) return ok({ uri: text, trustDomain, path });
  return refuse(
    bad === ""
      ? "the path of a SPIFFE ID has no empty segment and no slash at its end"
      : "a path segment has letters, digits, `.`, `-` and `_` only, and is not `.` or `..`",
  );
}

/** What is wrong with the name of a trust domain; undefined where it is one. */
export function trustDomainProblem(name: string): string | undefined {
  if (name === "") return "the trust domain is missing";
  if (name.length > MOST_TRUST_DOMAIN_BYTES)
    return `a trust domain has at most ${MOST_TRUST_DOMAIN_BYTES} bytes`;
  return TRUST_DOMAIN.test(name)
    ? undefined
    : "a trust domain has lower-case letters, digits, `.`, `-` and `_` only: no port, no user, no percent-encoding";
}

/** §2.2: one segment of a path, which can neither be read as several nor as a step upwards. */
export const isPathSegment = (text: string): boolean => SEGMENT.test(text) && text !== "." && text !== "..";

/** It and the IDs below it are the server's own: no agent gets one, and none stands for an agent. */
const RESERVED_PATH = "/postern";

export const isReserved = ({ path }: SpiffeId): boolean => `${path}/`.startsWith(`${RESERVED_PATH}/`);

/** Who the gateway is, to those who come in and to upstreams, and the audience of tokens for it. */
export const gatewayId = (trustDomain: string): SpiffeId => {
  const path = `${RESERVED_PATH}/gateway`;
  return { uri: `${SCHEME}${trustDomain}${path}`, trustDomain, path };
};

/** The ID of a trust domain itself, by which bundles are named. */
export const trustDomainUri = (trustDomain: string): string => SCHEME + trustDomain;
