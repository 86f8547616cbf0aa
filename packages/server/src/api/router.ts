// SPDX-License-Identifier: Apache-2.0
/** HTTP for operators: finds the route, reads a bounded body, turns refusals and faults into problems. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { problem, type Place, type ProblemCode } from "@postern/contract";
import { Fault } from "../kernel/fault.ts";
import { faultFields, type Log } from "../kernel/log.ts";

export interface Call {
  /** Parts of the path that the route names. */
  readonly parameters: readonly string[];
  readonly query: URLSearchParams;
  /** `pid`: the process that connected. */
  readonly operator: { readonly uid: number; readonly pid: number };
  body(): Promise<Buffer>;
  json(): Promise<unknown>;
  /** For answers that stream. */
  readonly response: ServerResponse;
}

/** Returns what is sent as JSON; `undefined` where the route has answered by itself. */
export type Handler = (call: Call) => Promise<unknown>;

export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** `:` stands for one segment. */
  readonly path: string;
  readonly handler: Handler;
}

/** A refusal of the API itself, with places where a file was wrong. */
export class ApiRefusal extends Error {
  readonly code: ProblemCode;
  readonly places: readonly Place[] | undefined;

  constructor(code: ProblemCode, detail: string, places?: readonly Place[]) {
    super(detail);
    this.code = code;
    this.places = places === undefined || places.length === 0 ? undefined : places;
  }
}

const LARGEST_BODY = 4_194_304;

/** `operatorOf` says who is at the other end of the socket; undefined is refused. */
export function createApiServer(
  routes: readonly Route[],
  operatorOf: (socket: Socket) => { readonly uid: number; readonly pid: number } | undefined,
  log: Log,
): Server {
  return createServer((request, response) => {
    void answer(request, response).catch((error: unknown) => {
      log.write("error", "operator request failed", faultFields(error));
      response.destroy();
    });
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const operator = operatorOf(request.socket);
    if (operator === undefined)
      return sendProblem(
        response,
        "operator_unauthorized",
        "this socket is for the user that runs the server",
      );
    try {
      const url = parseTarget(request.url ?? "/");
      const { handler, parameters } = findRoute(request.method ?? "", url.pathname);
      const body = (): Promise<Buffer> => readBody(request);
      const json = async (): Promise<unknown> => parseJson(await body());
      const result = await handler({ parameters, query: url.searchParams, operator, body, json, response });
      if (result !== undefined) sendJson(response, 200, result);
    } catch (error) {
      fail(response, error);
    }
  }

  function findRoute(method: string, path: string): { handler: Handler; parameters: string[] } {
    const segments = path.split("/");
    const matching = routes.filter((route) => matches(route.path.split("/"), segments));
    if (matching.length === 0) throw new ApiRefusal("not_found", "there is no such place in the API");
    const route = matching.find((candidate) => candidate.method === method);
    if (route === undefined) throw new ApiRefusal("method_not_allowed", `${method} is not possible here`);
    const parameters = route.path
      .split("/")
      .flatMap((part, i) => (part === ":" ? [decoded(segments[i]!)] : []));
    return { handler: route.handler, parameters };
  }

  function fail(response: ServerResponse, error: unknown): void {
    if (response.headersSent) return void response.destroy();
    if (error instanceof ApiRefusal) return sendProblem(response, error.code, error.message, error.places);
    if (error instanceof Fault) return sendProblem(response, error.code, error.message);
    log.write("error", "operator request failed", faultFields(error));
    sendProblem(response, "internal_error", "the server failed; its log says more");
  }
}

function parseTarget(target: string): URL {
  const url = URL.parse(target, "http://postern");
  if (url === null) throw new ApiRefusal("request_malformed", "the request target is not a path");
  return url;
}

const matches = (pattern: readonly string[], segments: readonly string[]): boolean =>
  pattern.length === segments.length &&
  pattern.every((part, i) => (part === ":" ? segments[i] !== "" : part === segments[i]));

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new ApiRefusal("request_malformed", "the path holds a broken percent-encoding");
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LARGEST_BODY)
      throw new ApiRefusal("request_too_large", `the body is larger than ${LARGEST_BODY} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    throw new ApiRefusal("request_malformed", "the body is not JSON");
  }
}

function sendJson(response: ServerResponse, status: number, value: unknown, type = "application/json"): void {
  const text = JSON.stringify(value);
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(text) });
  response.end(text);
}

function sendProblem(
  response: ServerResponse,
  code: ProblemCode,
  detail: string,
  places?: readonly Place[],
): void {
  const body = problem(code, detail, places === undefined ? {} : { places });
  sendJson(response, body.status, body, "application/problem+json");
}
