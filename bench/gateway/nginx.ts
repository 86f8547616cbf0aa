// SPDX-License-Identifier: Apache-2.0
/** The peer, and the upstream behind both: nginx that sets a static header, and nginx that answers. */
import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";

export const PORTS = { upstream: 18_443, plain: 18_080, terminating: 18_444 };

/** Paths of PEM files. */
export interface TlsFiles {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

export function upstreamConfig({ certificate, key }: TlsFiles, answerBody: string): string {
  const tls = `ssl_certificate ${certificate}; ssl_certificate_key ${key};`;
  return `server { listen 127.0.0.1:${PORTS.upstream} ssl; ${tls} keepalive_requests 100000000;
    default_type application/json; location / { return 200 '${answerBody}'; } }`;
}

export function proxyConfig({ ca, certificate, key }: TlsFiles): string {
  const tls = `ssl_certificate ${certificate}; ssl_certificate_key ${key};`;
  const location = `location / { proxy_pass https://up; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_set_header Host api.openai.com; proxy_set_header Authorization "Bearer static"; proxy_ssl_server_name on;
    proxy_ssl_name api.openai.com; proxy_ssl_verify on; proxy_ssl_trusted_certificate ${ca}; }`;
  return `upstream up { server 127.0.0.1:${PORTS.upstream}; keepalive 64; keepalive_requests 100000000; }
    server { listen 127.0.0.1:${PORTS.plain}; keepalive_requests 100000000; ${location} }
    server { listen 127.0.0.1:${PORTS.terminating} ssl; ${tls} keepalive_requests 100000000; ${location} }`;
}

/** Resolves when it listens on the port. */
export async function startNginx(
  folder: string,
  { name, core, servers, port }: { name: string; core: number; servers: string; port: number },
): Promise<ChildProcess> {
  const config = join(folder, `${name}.conf`);
  writeFileSync(
    config,
    `worker_processes 1; daemon off; pid ${join(folder, `${name}.pid`)}; error_log ${join(folder, `${name}.log`)};
    events { worker_connections 4096; } http { access_log off; client_body_temp_path ${folder}/${name}-body;
    proxy_temp_path ${folder}/${name}-proxy; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s; ${servers} }`,
  );
  const child = spawn("taskset", ["-c", String(core), "nginx", "-c", config], { stdio: "inherit" });
  for (let attempt = 0; attempt < 100; attempt++) {
    // One attempt after the other, until it listens.
    // oxlint-disable-next-line no-await-in-loop
    if (await listens(port)) return child;
  }
  child.kill();
  throw new Error(`nginx did not start: ${readFileSync(join(folder, `${name}.log`), "utf8")}`);
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => setTimeout(resolve, 50, false));
  });
}
