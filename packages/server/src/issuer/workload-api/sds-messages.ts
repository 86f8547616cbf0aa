// SPDX-License-Identifier: Apache-2.0
/**
 * The messages of Envoy's Secret Discovery Service, by field number: discovery.proto of `envoy.service.discovery.v3`, secret.proto,
 * common.proto and tls_spiffe_validator_config.proto of `envoy.extensions.transport_sockets.tls.v3`.
 */
import { certificatePem } from "@postern/identity/certificate";
import { trustDomainUri } from "@postern/identity/spiffe-id";
import type { TrustBundle } from "@postern/identity/trust-bundle";
import { field, ProtobufError, readFields, readText } from "@postern/identity/protobuf";

const TYPES = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.";
const SECRET_TYPE = `${TYPES}Secret`;
const VALIDATOR_TYPE = `${TYPES}SPIFFECertValidatorConfig`;
/** By which Envoy finds its validator for SPIFFE. */
const VALIDATOR_NAME = "envoy.tls.cert_validator.spiffe";
const MOST_NAMES = 100;
const MOST_NAME_BYTES = 2048;

export interface DiscoveryRequest {
  /** Of the secrets that are wanted; none means all. */
  readonly names: readonly string[];
  /** Of the answer that this is about; empty in the first request. */
  readonly nonce: string;
  /** The client could not use that answer. */
  readonly isRefusal: boolean;
}

/** `DiscoveryRequest`; throws `ProtobufError`. */
export function readDiscoveryRequest(message: Buffer): DiscoveryRequest {
  const fields = readFields(message);
  const last = (number: number): string => {
    const value = fields.get(number)?.at(-1);
    return value === undefined ? "" : readText(value);
  };
  const names = (fields.get(3) ?? []).map(readText);
  const type = last(4);
  if (type !== "" && type !== SECRET_TYPE) throw new ProtobufError("another type of resource than secrets");
  if (names.length > MOST_NAMES || names.some((name) => name.length > MOST_NAME_BYTES))
    throw new ProtobufError("too many names, or too long");
  return { names: [...new Set(names)].toSorted(), nonce: last(5), isRefusal: fields.has(6) };
}

/** `DiscoveryResponse` */
export const discoveryResponse = (secrets: readonly Buffer[], version: string, nonce: string): Buffer =>
  Buffer.concat([
    field(1, version),
    ...secrets.map((secret) => field(2, any(SECRET_TYPE, secret))),
    field(4, SECRET_TYPE),
    field(5, nonce),
  ]);

const any = (type: string, value: Buffer): Buffer => Buffer.concat([field(1, type), field(2, value)]);

/** `DataSource`: `inline_bytes`. */
const inline = (text: string): Buffer => field(2, text);

/** `Secret` with a `TlsCertificate`. `privateKey`: PKCS #8, DER; the answer is a secret. */
export const certificateSecret = (name: string, chain: string, privateKey: Buffer): Buffer =>
  Buffer.concat([
    field(1, name),
    field(
      2,
      Buffer.concat([
        field(1, inline(chain)),
        field(2, inline(`-----BEGIN PRIVATE KEY-----\n${lines(privateKey)}\n-----END PRIVATE KEY-----\n`)),
      ]),
    ),
  ]);

const lines = (der: Buffer): string =>
  der
    .toString("base64")
    .match(/.{1,64}/g)!
    .join("\n");

const pemOf = ({ x509Authorities }: TrustBundle): string =>
  x509Authorities.map(({ der }) => certificatePem(der)).join("");

/** `Secret` with a `CertificateValidationContext`: the authorities of one trust domain. */
export const authoritiesSecret = (name: string, bundle: TrustBundle): Buffer =>
  Buffer.concat([field(1, name), field(4, field(1, inline(pemOf(bundle))))]);

/**
 * The same for several trust domains, each for its own names only: `SPIFFECertValidatorConfig`. As `trusted_ca` they would be
 * one heap, in which everybody vouches for everybody.
 */
export function validatorSecret(name: string, bundles: readonly TrustBundle[]): Buffer {
  const domains = bundles.map((bundle) =>
    field(1, Buffer.concat([field(1, bundle.trustDomain), field(2, inline(pemOf(bundle)))])),
  );
  const extension = Buffer.concat([
    field(1, VALIDATOR_NAME),
    field(2, any(VALIDATOR_TYPE, Buffer.concat(domains))),
  ]);
  return Buffer.concat([field(1, name), field(4, field(12, extension))]);
}

/** By which a bundle is asked for. */
export const bundleName = ({ trustDomain }: TrustBundle): string => trustDomainUri(trustDomain);
