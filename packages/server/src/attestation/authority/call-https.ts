// SPDX-License-Identifier: Apache-2.0
/**
 * What does an authority answer? One HTTPS call to whoever vouches for evidence: bounded in size and time.
 *
 * TLS is always verified, a redirect is never followed, and special-purpose addresses are dialled only where their
 * network is listed; the check is made on the addresses that are dialled, after DNS.
 */
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { Agent, request as httpsRequest } from "node:https";
import { lookup as systemLookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { checkServerIdentity, connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { addressProblem } from "../../resources/networks.ts";

/** How an operator lets an authority be reached; the same words as of a ServerWorkload. */
export interface Reach {
  readonly allowedNetworks?: readonly string[] | undefined;
  readonly caCertificates?: string | undefined;
  /** Dialled instead of the host of `url`. */
  readonly connectTo?: { readonly address: string; readonly port: number } | undefined;
  /** Whether this chain, leaf first, is whom it should be; asked instead of the Web's authorities and names. */
  readonly verifyPeer?: ((chain: readonly Buffer[]) => boolean) | undefined;
}

export interface HttpsCall {
  readonly url: URL;
  readonly method: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** How large the answer may be, where 256 KiB are not right. */
  readonly mostBytes?: number;
  /** A redirect is an answer without a body, and not a refusal: the caller decides what becomes of it. */
  readonly showsRedirect?: boolean;
}

export interface HttpsAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export type CallProblem =
  | "authority_address_prohibited"
  | "authority_unreachable"
  | "authority_timeout"
  | "authority_tls_untrusted"
  | "authority_redirects"
  | "authority_answer_too_large"
  | "authority_answer_encoded";

const MOST_ANSWER_BYTES = 262_144;
const PROHIBITED = "EPROHIBITED";

export async function callHttps(
  call: HttpsCall,
  reach: Reach,
  signal: AbortSignal,
): Promise<Result<HttpsAnswer, CallProblem>> {
  const networks = reach.allowedNetworks ?? [];
  const host = call.url.hostname.replace(/^\[|\]$/g, "");
  const dialled = reach.connectTo?.address ?? host;
  // Node looks up names only: a literal address is checked here.
  if (isIP(dialled) !== 0 && addressProblem(dialled, networks) !== undefined)
    return refuse("authority_address_prohibited");
  const agent = new Agent({ keepAlive: false, maxCachedSessions: 0 });
  if (reach.verifyPeer !== undefined) agent.createConnection = verifiedConnection(reach.verifyPeer, signal);
  try {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = httpsRequest(
        {
          agent,
          signal,
          host: dialled,
          port: reach.connectTo?.port ?? (call.url.port === "" ? 443 : Number(call.url.port)),
          path: call.url.pathname + call.url.search,
          method: call.method,
          headers: {
            "accept-encoding": "identity",
            "content-length": call.body?.length ?? 0,
            ...call.headers,
            host: call.url.host,
          },
          lookup: permittedLookup(networks),
          servername: isIP(host) === 0 ? host : "",
          checkServerIdentity: (_, certificate) => checkServerIdentity(host, certificate),
          minVersion: "TLSv1.2",
          rejectUnauthorized: true,
          ...(reach.caCertificates === undefined ? {} : { ca: reach.caCertificates }),
        },
        resolve,
      );
      outgoing.once("error", reject);
      outgoing.end(call.body);
    });
    return await readAnswer(answer, call);
  } catch (error) {
    return refuse(signal.aborted ? "authority_timeout" : problemOf(error));
  } finally {
    agent.destroy();
  }
}

/** A connection on which nothing is sent before the peer is who it should be. */
function verifiedConnection(
  verifyPeer: (chain: readonly Buffer[]) => boolean,
  signal: AbortSignal,
): Agent["createConnection"] {
  return (options, done) => {
    // What OpenSSL thinks of the chain is not asked: the check is made below, before the socket is handed on.
    const socket = connectTls({ ...(options as ConnectionOptions), rejectUnauthorized: false });
    const end = (): void => void socket.destroy(Object.assign(new Error("aborted"), { code: "ABORT_ERR" }));
    signal.addEventListener("abort", end, { once: true });
    socket.once("close", () => signal.removeEventListener("abort", end));
    socket.once("error", (error) => done?.(error, socket));
    socket.once("secureConnect", () => {
      if (!socket.isSessionReused() && verifyPeer(chainOf(socket))) return void done?.(null, socket);
      socket.destroy(Object.assign(new Error("the peer is somebody else"), { code: "ERR_TLS_PEER" }));
    });
    return undefined;
  };
}

const MOST_CERTIFICATES = 8;

/** What the peer has sent. TLS has verified that it holds the leaf's key, and nothing else. */
function chainOf(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined && chain.length < MOST_CERTIFICATES) {
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

/** DNS as the system does it, without the addresses that may not be dialled. */
function permittedLookup(networks: readonly string[]): LookupFunction {
  return (hostname, options, done) => {
    systemLookup(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) return done(error, []);
      const permitted = found.filter(({ address }) => addressProblem(address, networks) === undefined);
      const [first] = permitted;
      if (first === undefined) return done(Object.assign(new Error(PROHIBITED), { code: PROHIBITED }), []);
      if (options.all === true) return done(null, permitted);
      done(null, first.address, first.family);
    });
  };
}

async function readAnswer(
  answer: IncomingMessage,
  { mostBytes = MOST_ANSWER_BYTES, showsRedirect = false }: HttpsCall,
): Promise<Result<HttpsAnswer, CallProblem>> {
  const { headers, statusCode: status = 0 } = answer;
  const contentType = headers["content-type"] ?? "";
  const encoding = headers["content-encoding"] ?? "identity";
  const isRedirect = status >= 300 && status < 400;
  if (isRedirect && showsRedirect) {
    answer.destroy();
    return ok({ status, contentType, headers, body: Buffer.alloc(0) });
  }
  const problem = isRedirect
    ? "authority_redirects"
    : encoding === "identity"
      ? undefined
      : "authority_answer_encoded";
  if (problem !== undefined) {
    answer.destroy();
    return refuse(problem);
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    // Leaving the loop destroys the answer.
    if (size > mostBytes) return refuse("authority_answer_too_large");
    chunks.push(chunk);
  }
  return ok({ status, contentType, headers, body: Buffer.concat(chunks) });
}

function problemOf(error: unknown): CallProblem {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  if (code === PROHIBITED) return "authority_address_prohibited";
  return /CERT|SIGNED|SIGNATURE|ERR_TLS|ERR_SSL|EPROTO|ISSUER/.test(code)
    ? "authority_tls_untrusted"
    : "authority_unreachable";
}
