// SPDX-License-Identifier: Apache-2.0
/** What can go wrong for whoever uses this library? One error with a code; its text never holds a key or a token. */
import type { JwtSvidRefusal } from "@postern/identity/jwt-svid";
import type { X509SvidRefusal } from "@postern/identity/verify-x509-svid";

export type SpiffeErrorCode =
  /** `SPIFFE_ENDPOINT_SOCKET`, or what was given in its place, names no endpoint. */
  | "endpoint_invalid"
  /** An argument that cannot mean anything. */
  | "argument_invalid"
  /** The Workload API said no, or could not be asked; `status` is that of gRPC. */
  | "workload_api"
  /** The Workload API answered with what no client may use. */
  | "response_invalid"
  /** There is no identity at present: none was given, it was taken back, or it has ended. */
  | "no_identity"
  /** The other side did not prove a SPIFFE ID; `reason` says why not. */
  | "peer_untrusted"
  /** It proved one, and the caller's own rule does not admit it. */
  | "peer_unauthorized"
  /** A token is refused; `reason` says why. */
  | "token_refused"
  /** A listener of `onChange` has thrown; everybody else was told of the change. */
  | "listener_failed"
  | "closed";

export interface SpiffeErrorDetails {
  readonly status?: number;
  readonly reason?: X509SvidRefusal | JwtSvidRefusal | "no_certificate" | "resumed";
  readonly cause?: unknown;
}

export class SpiffeError extends Error {
  readonly code: SpiffeErrorCode;
  readonly status: number | undefined;
  readonly reason: SpiffeErrorDetails["reason"];

  constructor(code: SpiffeErrorCode, message: string, details: SpiffeErrorDetails = {}) {
    super(message, details.cause === undefined ? {} : { cause: details.cause });
    this.name = "SpiffeError";
    this.code = code;
    this.status = details.status;
    this.reason = details.reason;
  }
}
