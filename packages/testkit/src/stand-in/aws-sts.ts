// SPDX-License-Identifier: Apache-2.0
/**
 * AWS STS as far as `GetCallerIdentity` goes: checks Signature Version 4 for real, and answers in the real formats, JSON
 * to who asks for it and XML to others. Signs requests, too, as a workload with a role does.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TestAuthority } from "../test-authority.ts";

export interface AwsPrincipal {
  readonly accessKeyId: string;
  readonly secretKey: string;
  /** Of temporary credentials. */
  readonly sessionToken?: string;
  readonly arn: string;
  readonly account: string;
  readonly userId: string;
}

export interface Presign {
  readonly host: string;
  readonly region: string;
  readonly service: string;
  readonly date: Date;
  readonly expires: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly path?: string;
  readonly parameters?: Readonly<Record<string, string>>;
  /** Digest of the body as it is signed. */
  readonly payload?: string;
}

const EMPTY = createHash("sha256").update("").digest("hex");

/** A URL signed with Signature Version 4 in its query. */
export function presignUrl(principal: AwsPrincipal, what: Presign): string {
  const { date, expires, headers, host, path = "/", region, service } = what;
  const stamp = date.toISOString().replaceAll(/[-:]|\.\d+/g, "");
  const scope = `${stamp.slice(0, 8)}/${region}/${service}/aws4_request`;
  const signed: Record<string, string> = { host, ...headers };
  const parameters: Record<string, string> = {
    ...what.parameters,
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": `${principal.accessKeyId}/${scope}`,
    "X-Amz-Date": stamp,
    "X-Amz-Expires": String(expires),
    ...(principal.sessionToken === undefined ? {} : { "X-Amz-Security-Token": principal.sessionToken }),
    "X-Amz-SignedHeaders": Object.keys(signed).toSorted().join(";"),
  };
  const query = queryText(parameters);
  const signature = signatureOf(principal.secretKey, scope, stamp, {
    method: "GET",
    path,
    query,
    headers: signed,
    payload: what.payload ?? EMPTY,
  });
  return `https://${host}${path}?${query}&X-Amz-Signature=${signature}`;
}

interface Canonical {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly payload: string;
}

function signatureOf(secretKey: string, scope: string, stamp: string, request: Canonical): string {
  const names = Object.keys(request.headers).toSorted();
  const canonical = [
    request.method,
    request.path,
    request.query,
    ...names.map((name) => `${name}:${request.headers[name]!.trim()}`),
    "",
    names.join(";"),
    request.payload,
  ].join("\n");
  const digest = createHash("sha256").update(canonical).digest("hex");
  const [day = "", region = "", service = "", end = ""] = scope.split("/");
  let key: Buffer = Buffer.from(`AWS4${secretKey}`);
  for (const part of [day, region, service, end, ["AWS4-HMAC-SHA256", stamp, scope, digest].join("\n")])
    key = createHmac("sha256", key).update(part).digest();
  return key.toString("hex");
}

const escape = (text: string): string =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

const queryText = (parameters: Readonly<Record<string, string>>): string =>
  Object.entries(parameters)
    .map(([name, value]) => [escape(name), escape(value)] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map((pair) => pair.join("="))
    .join("&");

export interface AwsSts {
  readonly region: string;
  readonly port: number;
  readonly requests: readonly string[];
  /** A role's session, with credentials of its own. */
  assumeRole(role: string, session: string, account?: string): AwsPrincipal;
  addUser(arn: string, account: string, userId: string): AwsPrincipal;
  /** What the stand-in answers instead, in the place of the right thing. */
  setAnswer(answer: { status: number; type: string; body: string } | undefined): void;
  close(): Promise<void>;
}

export async function startAwsSts(authority: TestAuthority, region = "eu-west-1"): Promise<AwsSts> {
  const host = `sts.${region}.amazonaws.com`;
  const { certificate, privateKey } = await authority.issue([host]);
  const principals = new Map<string, AwsPrincipal>();
  const requests: string[] = [];
  let instead: { status: number; type: string; body: string } | undefined;

  const server = createServer({ cert: certificate, key: privateKey }, (request, response) => {
    requests.push(request.url ?? "");
    if (instead !== undefined) return send(response, instead.status, instead.type, instead.body);
    const principal = authenticated(request);
    if (typeof principal === "string") return sendError(response, principal);
    const url = new URL(request.url ?? "/", `https://${host}`);
    if (url.searchParams.get("Action") !== "GetCallerIdentity") return sendError(response, "AccessDenied");
    sendIdentity(request, response, principal);
  });

  function authenticated(request: IncomingMessage): AwsPrincipal | string {
    const url = new URL(request.url ?? "/", `https://${host}`);
    const parameters = Object.fromEntries(url.searchParams);
    const { "X-Amz-Signature": signature = "", ...signed } = parameters;
    const [accessKeyId = "", ...scope] = (parameters["X-Amz-Credential"] ?? "").split("/");
    const principal = principals.get(accessKeyId);
    if (principal === undefined || parameters["X-Amz-Security-Token"] !== principal.sessionToken)
      return "InvalidClientTokenId";
    const names = (parameters["X-Amz-SignedHeaders"] ?? "").split(";");
    const headers = Object.fromEntries(names.map((name) => [name, String(request.headers[name] ?? "")]));
    const expected = signatureOf(principal.secretKey, scope.join("/"), parameters["X-Amz-Date"] ?? "", {
      method: request.method ?? "",
      path: url.pathname,
      query: queryText(signed),
      headers,
      payload: EMPTY,
    });
    const isSame =
      signature.length === expected.length && timingSafeEqual(Buffer.from(signature), Buffer.from(expected));
    return isSame ? principal : "SignatureDoesNotMatch";
  }

  const add = (
    arn: string,
    account: string,
    userId: string,
    prefix: string,
    token?: string,
  ): AwsPrincipal => {
    const principal: AwsPrincipal = {
      accessKeyId: prefix + randomBytes(8).toString("hex").toUpperCase(),
      secretKey: randomBytes(30).toString("base64"),
      ...(token === undefined ? {} : { sessionToken: token }),
      ...{ arn, account, userId },
    };
    principals.set(principal.accessKeyId, principal);
    return principal;
  };

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    region,
    port: (server.address() as AddressInfo).port,
    requests,
    assumeRole: (role, session, account = "123456789012") => {
      const id = `AROA${createHash("sha256").update(role).digest("hex").slice(0, 17).toUpperCase()}`;
      const arn = `arn:aws:sts::${account}:assumed-role/${role}/${session}`;
      return add(arn, account, `${id}:${session}`, "ASIA", randomBytes(300).toString("base64"));
    },
    addUser: (arn, account, userId) => add(arn, account, userId, "AKIA"),
    setAnswer: (answer) => void (instead = answer),
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function sendIdentity(
  request: IncomingMessage,
  response: ServerResponse,
  { account, arn, userId }: AwsPrincipal,
): void {
  const RequestId = "01234567-89ab-cdef-0123-456789abcdef";
  if (request.headers.accept?.includes("application/json") === true)
    return send(
      response,
      200,
      "application/json",
      JSON.stringify({
        GetCallerIdentityResponse: {
          GetCallerIdentityResult: { Account: account, Arn: arn, UserId: userId },
          ResponseMetadata: { RequestId },
        },
      }),
    );
  const result = `<GetCallerIdentityResult><Arn>${arn}</Arn><UserId>${userId}</UserId><Account>${account}</Account></GetCallerIdentityResult>`;
  const xml = `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">${result}<ResponseMetadata><RequestId>${RequestId}</RequestId></ResponseMetadata></GetCallerIdentityResponse>`;
  send(response, 200, "text/xml", xml);
}

const sendError = (response: ServerResponse, code: string): void =>
  send(
    response,
    403,
    "application/json",
    JSON.stringify({ Error: { Code: code, Message: code, Type: "Sender" }, RequestId: "0" }),
  );

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body) });
  response.end(body);
}
