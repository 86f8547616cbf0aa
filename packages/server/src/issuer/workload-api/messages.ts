// SPDX-License-Identifier: Apache-2.0
/** The messages of the SPIFFE Workload API (its workloadapi.proto), by field number. */
import { printTrustBundle, type TrustBundle } from "@postern/identity/trust-bundle";
import { trustDomainUri } from "@postern/identity/spiffe-id";
import type { JwtSvid, WitSvid, X509Svid } from "../signer.ts";
import {
  doubleField,
  field,
  mapField,
  ProtobufError,
  readFields,
  readText,
  varintField,
} from "@postern/identity/protobuf";

const x509Bundle = (bundle: TrustBundle): Buffer =>
  Buffer.concat(bundle.x509Authorities.map(({ der }) => der));

/** `X509SVIDResponse`. `privateKey`: PKCS #8; it is part of the answer, so the answer is a secret. */
export function x509SvidResponse(
  svid: X509Svid,
  privateKey: Buffer,
  bundle: TrustBundle,
  federated: readonly TrustBundle[],
): Buffer {
  const own = field(
    1,
    Buffer.concat([
      field(1, svid.id.uri),
      field(2, Buffer.concat([svid.certificate, svid.chain])),
      field(3, privateKey),
      field(4, x509Bundle(bundle)),
    ]),
  );
  const foreign = federated.map((each) => mapField(3, trustDomainUri(each.trustDomain), x509Bundle(each)));
  return Buffer.concat([own, ...foreign]);
}

/** `X509BundlesResponse` */
export const x509BundlesResponse = (bundles: readonly TrustBundle[]): Buffer =>
  Buffer.concat(bundles.map((bundle) => mapField(2, trustDomainUri(bundle.trustDomain), x509Bundle(bundle))));

/** `JWTBundlesResponse` */
export const jwtBundlesResponse = (bundles: readonly TrustBundle[]): Buffer =>
  Buffer.concat(
    bundles.map((bundle) => mapField(1, trustDomainUri(bundle.trustDomain), printTrustBundle(bundle, "jwt"))),
  );

/** `JWTSVIDResponse` */
export const jwtSvidResponse = ({ id, token }: JwtSvid): Buffer =>
  field(1, Buffer.concat([field(1, id.uri), field(2, token)]));

/** `WITSVIDResponse`. `privateKey`: JWK; it is part of the answer, so the answer is a secret. */
export const witSvidResponse = ({ id, token }: WitSvid, privateKey: Buffer): Buffer =>
  field(1, Buffer.concat([field(1, id.uri), field(2, token), field(3, privateKey)]));

/** `WITBundlesResponse`. A foreign trust domain without WIT-SVIDs is left out; the own one is always there. */
export const witBundlesResponse = ([own, ...foreign]: readonly TrustBundle[]): Buffer =>
  Buffer.concat(
    [own!, ...foreign.filter(({ witAuthorities }) => witAuthorities !== undefined)].map((bundle) =>
      mapField(1, trustDomainUri(bundle.trustDomain), printTrustBundle(bundle, "wit")),
    ),
  );

/** `WITSVIDRequest`, its one field: the ID asked for, empty for whatever there is; throws `ProtobufError`. */
export const readWitSvidRequest = (message: Buffer): string => lastText(readFields(message), 1);

/** `ValidateJWTSVIDResponse` */
export const validateResponse = (spiffeId: string, claims: Readonly<Record<string, unknown>>): Buffer =>
  Buffer.concat([field(1, spiffeId), field(2, struct(claims))]);

/** `google.protobuf.Struct` */
function struct(object: Readonly<Record<string, unknown>>): Buffer {
  return Buffer.concat(Object.entries(object).map(([name, value]) => mapField(1, name, structValue(value))));
}

/** `google.protobuf.Value` */
function structValue(value: unknown): Buffer {
  if (value === null || value === undefined) return varintField(1, 0);
  if (typeof value === "number") return doubleField(2, value);
  if (typeof value === "string") return field(3, value);
  if (typeof value === "boolean") return varintField(4, value ? 1 : 0);
  if (Array.isArray(value)) return field(6, Buffer.concat(value.map((each) => field(1, structValue(each)))));
  return field(5, struct(value as Readonly<Record<string, unknown>>));
}

export interface JwtSvidRequest {
  readonly audience: readonly string[];
  /** Empty: whatever the caller is entitled to. */
  readonly spiffeId: string;
}

const MOST_AUDIENCES = 50;

/** `JWTSVIDRequest`, whose fields may stand behind others; throws `ProtobufError`. */
export function readJwtSvidRequest(message: Buffer, first = 1): JwtSvidRequest {
  const fields = readFields(message);
  const audience = (fields.get(first) ?? []).map(readText);
  if (audience.length > MOST_AUDIENCES) throw new ProtobufError("too many audiences");
  return { audience, spiffeId: lastText(fields, first + 1) };
}

export interface ValidateRequest {
  readonly audience: string;
  readonly svid: string;
}

/** `ValidateJWTSVIDRequest`; throws `ProtobufError`. */
export function readValidateRequest(message: Buffer): ValidateRequest {
  const fields = readFields(message);
  return { audience: lastText(fields, 1), svid: lastText(fields, 2) };
}

/** Of a field that stands several times the last counts. */
const lastText = (fields: ReadonlyMap<number, readonly Buffer[]>, number: number): string => {
  const last = fields.get(number)?.at(-1);
  return last === undefined ? "" : readText(last);
};
