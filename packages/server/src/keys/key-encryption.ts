// SPDX-License-Identifier: Apache-2.0
/** The port to whatever guards the data keys: a master key in a file today, a key management service as well. */
export interface KeyEncryption {
  /** Tells one master key from another; stored beside everything sealed under it. Not secret. */
  readonly id: string;
  wrap(dataKey: Buffer, context: Buffer): Promise<Buffer>;
  /** Rejects unless `wrapped` came from `wrap` with the same context, under this key. */
  unwrap(wrapped: Buffer, context: Buffer): Promise<Buffer>;
}
