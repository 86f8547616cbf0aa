// SPDX-License-Identifier: Apache-2.0
/** The gateway's own X.509-SVID: what it shows to those who come in and to upstreams, renewed in time. */
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { verifyX509Svid } from "@postern/identity/verify-x509-svid";
import { gatewayId } from "@postern/identity/spiffe-id";
import type { OwnCertificate, UpstreamIdentity } from "../gateway/ports.ts";
import type { Issuer } from "../issuer/issuer.ts";
import { chainPem } from "../issuer/signer.ts";
import type { Clock } from "../kernel/clock.ts";
import { faultFields, type Log } from "../kernel/log.ts";
import { privateKeyPem, type RecordSvid } from "./issue-identity.ts";

export interface OwnSvidParts {
  readonly issuer: Issuer;
  /** Host names and addresses of the gateway. */
  readonly hosts: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  readonly record: RecordSvid;
}

/** The clock may be set anew meanwhile. */
const LONGEST_WAIT = 60_000;
const RETRY_AFTER = 5000;

export class OwnSvid implements UpstreamIdentity {
  readonly #parts: OwnSvidParts;
  readonly #listeners = new Set<(certificate: OwnCertificate) => void>();
  #timer: NodeJS.Timeout | undefined;
  #current: OwnCertificate | undefined;
  #first: Promise<void> | undefined;
  #renewAt = 0;
  #renewing: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(parts: OwnSvidParts) {
    this.#parts = parts;
    // Signed by what is active now: what signed before may be about to be revoked.
    parts.issuer.onChange(() => {
      if (this.#current !== undefined) this.#renewSoon();
    });
  }

  /** Issued when it is asked for first, and renewed from then on. */
  async own(): Promise<OwnCertificate> {
    this.#first ??= this.#renew().catch((error: unknown) => {
      this.#first = undefined;
      throw error;
    });
    await this.#first;
    return this.#current!;
  }

  get current(): OwnCertificate | undefined {
    return this.#current;
  }

  problemOf(chain: readonly Buffer[], spiffeId: string): string | undefined {
    const { bundle, trustDomain } = this.#parts.issuer;
    const bundleOf = (name: string) => (name === trustDomain ? bundle : undefined);
    const svid = verifyX509Svid(chain, bundleOf, this.#parts.clock.now());
    if (!svid.ok) return svid.reason;
    return svid.value.id.uri === spiffeId ? undefined : "another_spiffe_id";
  }

  onChange(listener: (certificate: OwnCertificate) => void): void {
    this.#listeners.add(listener);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#isClosed = true;
  }

  #wait(): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    const { clock } = this.#parts;
    const wait = Math.min(LONGEST_WAIT, Math.max(0, this.#renewAt - clock.now()));
    this.#timer = setTimeout(() => {
      if (clock.now() >= this.#renewAt) this.#renewSoon();
      else this.#wait();
    }, wait).unref();
  }

  #renewSoon(): void {
    // One after the other: the one that is asked for last is signed last.
    this.#renewing = this.#renewing
      .then(() => this.#renew())
      .catch((error: unknown) => {
        this.#parts.log.write("error", "the gateway's own identity was not renewed", faultFields(error));
        this.#renewAt = this.#parts.clock.now() + RETRY_AFTER;
        this.#wait();
      });
  }

  async #renew(): Promise<void> {
    const { issuer, hosts, clock, record } = this.#parts;
    const id = gatewayId(issuer.trustDomain);
    const svid = issuer.issueX509(id, hosts.map(hostName));
    const { authority, expiresAt, privateKey, serial } = svid;
    await record({
      ...{ change: "issue", document: "X.509-SVID", spiffeId: id.uri },
      ...{ authority, serial, expiresAt },
    });
    this.#renewAt = clock.now() + (expiresAt - clock.now()) / 2;
    this.#current = { certificate: chainPem(svid), privateKey: privateKeyPem(privateKey) };
    this.#wait();
    for (const listener of this.#listeners) listener(this.#current);
  }
}

const hostName = (host: string): string | Buffer =>
  isIP(host) === 0 ? host : Buffer.from(ipaddr.parse(host).toByteArray());
