// SPDX-License-Identifier: Apache-2.0
/** What does a git host answer? Real git (`git http-backend`, the smart protocol) behind TLS and Basic auth. */
import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import { sendJson } from "./answer.ts";
import {
  startTlsStandIn,
  type Exchange,
  type Provider,
  type StandIn,
  type StandInOptions,
} from "./tls-stand-in.ts";

const run = promisify(execFile);

export interface GitStandInOptions extends StandInOptions {
  /** An empty folder; the bare repository `demo.git` is made in it. */
  readonly folder: string;
  readonly host?: string;
  /** The user name that goes with the key; GitHub's for tokens where absent. */
  readonly username?: string;
}

export interface GitStandIn extends StandIn {
  /** Path of the repository on its host. */
  readonly repositoryPath: string;
  /** Subject lines of the branch `main`, newest first. */
  commits(): Promise<readonly string[]>;
}

export async function startGitStandIn(options: GitStandInOptions): Promise<GitStandIn> {
  const repository = `${options.folder}/demo.git`;
  await createRepository(repository);
  const username = options.username ?? "x-access-token";
  const standIn = await startTlsStandIn(gitProvider(options, username), options);
  const commits = async () => {
    const { stdout } = await run("git", ["-C", repository, "log", "--format=%s", "main"], { env: GIT_ENV });
    return stdout.trim().split("\n");
  };
  // A getter such as `openStreams` must stay one: extend the object, do not copy it.
  return Object.assign(standIn, { repositoryPath: "/demo.git", commits });
}

/** The machine's own git configuration must not change what a test sees. */
const GIT_ENV = {
  PATH: process.env["PATH"] ?? "/usr/bin:/bin",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_AUTHOR_NAME: "Stand-in",
  GIT_AUTHOR_EMAIL: "stand-in@example.com",
  GIT_COMMITTER_NAME: "Stand-in",
  GIT_COMMITTER_EMAIL: "stand-in@example.com",
};

async function createRepository(repository: string): Promise<void> {
  const git = (...args: string[]) => run("git", ["-C", repository, ...args], { env: GIT_ENV });
  await run("git", ["init", "--quiet", "--bare", "--initial-branch=main", repository], { env: GIT_ENV });
  await git("config", "http.receivepack", "true");
  const tree = (await git("hash-object", "-w", "-t", "tree", "/dev/null")).stdout.trim();
  const commit = (await git("commit-tree", tree, "-m", "first commit")).stdout.trim();
  await git("update-ref", "refs/heads/main", commit);
}

const gitProvider = (options: GitStandInOptions, username: string): Provider => ({
  name: "git",
  hosts: [options.host ?? "git.example.com"],
  answer: (exchange) => serve(exchange, options.folder),
  fail: (exchange, status) => sendJson(exchange, status, { message: "stand-in failure" }),
  refuseCredential: (exchange) => refuseCredential(exchange, username),
  endlessEvent: (index) => `data: tick ${index}\n\n`,
});

function refuseCredential(exchange: Exchange, username: string): boolean {
  const { response, request, key } = exchange;
  const right = Buffer.from(`${username}:${key}`).toString("base64");
  const [first, ...others] = request.credentials;
  if (others.length === 0 && first?.carrier === "basic" && first.value === right) return false;
  response.writeHead(401, { "www-authenticate": 'Basic realm="stand-in"', "content-type": "text/plain" });
  response.end("Authentication failed\n");
  return true;
}

/** Runs the CGI program of git for one request (RFC 3875). */
async function serve({ request, response, url }: Exchange, folder: string): Promise<void> {
  const child = spawn("git", ["http-backend"], {
    env: {
      ...GIT_ENV,
      GIT_PROJECT_ROOT: folder,
      GIT_HTTP_EXPORT_ALL: "1",
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method,
      REMOTE_USER: "stand-in",
      REMOTE_ADDR: request.remote.address,
      CONTENT_TYPE: request.headers["content-type"] ?? "",
      HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
      HTTP_GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
    },
    stdio: ["pipe", "pipe", "ignore"],
  });
  child.stdin.on("error", () => {});
  child.stdin.end(request.body);
  const output: Buffer[] = [];
  for await (const chunk of child.stdout) output.push(chunk as Buffer);
  const answer = Buffer.concat(output);
  const end = answer.indexOf("\r\n\r\n");
  const headers = answer.subarray(0, Math.max(0, end)).toString("latin1").split("\r\n");
  let status = end < 0 ? 500 : 200;
  for (const line of headers) {
    const [, name, value] = /^([^:]+): *(.*)$/.exec(line) ?? [];
    if (name === undefined || value === undefined) continue;
    if (name.toLowerCase() === "status") status = Number.parseInt(value, 10);
    else response.setHeader(name, value);
  }
  response.writeHead(status);
  response.end(end < 0 ? "" : answer.subarray(end + 4));
}
