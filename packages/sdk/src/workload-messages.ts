// SPDX-License-Identifier: Apache-2.0
/** The messages of the SPIFFE Workload API (its workloadapi.proto) as a client reads and writes them; nothing is checked here. */
import { field, readFields, readText } from "@postern/identity/protobuf";

export interface X509SvidMessage {
  readonly spiffeId: string;
  /** DER, one certificate behind the other, the leaf first. */
  readonly chain: Buffer;
  /** PKCS #8, DER. */
  readonly privateKey: Buffer;
  readonly bundle: Buffer;
  readonly hint: string;
}

type Fields = ReturnType<typeof readFields>;
const EMPTY = Buffer.alloc(0);
const bytesAt = (fields: Fields, number: number): Buffer => fields.get(number)?.at(-1) ?? EMPTY;
const textAt = (fields: Fields, number: number): string => readText(bytesAt(fields, number));

/** `map<string, bytes>` */
const mapAt = (fields: Fields, number: number): ReadonlyMap<string, Buffer> =>
  new Map(
    (fields.get(number) ?? []).map((entry) => {
      const pair = readFields(entry);
      return [textAt(pair, 1), bytesAt(pair, 2)];
    }),
  );

/** `X509SVIDResponse` */
export function readX509SvidResponse(message: Buffer): {
  readonly svids: readonly X509SvidMessage[];
  readonly federatedBundles: ReadonlyMap<string, Buffer>;
} {
  const fields = readFields(message);
  const svids = (fields.get(1) ?? []).map((each) => {
    const svid = readFields(each);
    return {
      spiffeId: textAt(svid, 1),
      chain: bytesAt(svid, 2),
      privateKey: bytesAt(svid, 3),
      bundle: bytesAt(svid, 4),
      hint: textAt(svid, 5),
    };
  });
  return { svids, federatedBundles: mapAt(fields, 3) };
}

/** `X509BundlesResponse`, by trust domain ID. */
export const readX509BundlesResponse = (message: Buffer): ReadonlyMap<string, Buffer> =>
  mapAt(readFields(message), 2);

/** `JWTBundlesResponse`, by trust domain ID. */
export const readJwtBundlesResponse = (message: Buffer): ReadonlyMap<string, Buffer> =>
  mapAt(readFields(message), 1);

/** `JWTSVIDRequest` */
export const writeJwtSvidRequest = (audience: readonly string[], spiffeId: string | undefined): Buffer =>
  Buffer.concat([
    ...audience.map((each) => field(1, each)),
    ...(spiffeId === undefined ? [] : [field(2, spiffeId)]),
  ]);

/** `JWTSVIDResponse` */
export const readJwtSvidResponse = (
  message: Buffer,
): { readonly spiffeId: string; readonly token: string; readonly hint: string }[] =>
  (readFields(message).get(1) ?? []).map((each) => {
    const svid = readFields(each);
    return { spiffeId: textAt(svid, 1), token: textAt(svid, 2), hint: textAt(svid, 3) };
  });
