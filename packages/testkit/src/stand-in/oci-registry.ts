// SPDX-License-Identifier: Apache-2.0
/**
 * A container registry (OCI Distribution Specification 1.1) as far as signatures are read from it: manifests, blobs,
 * referrers with and without the API, tokens by challenge, blobs kept at another host, and bad manners.
 */
import { createHash, randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import type { TestAuthority } from "../test-authority.ts";
import type { SignedLayer } from "./sigstore.ts";

export type RegistryFault =
  | "error"
  | "silence"
  | "huge"
  | "redirect"
  | "no-json"
  | "wrong-digest"
  | "endless-pages"
  | "token-elsewhere";

export interface RegistryOptions {
  readonly authority: TestAuthority;
  /** As images name it. */
  readonly host: string;
  /** With these, reading needs a token, which is given for them. */
  readonly account?: { readonly name: string; readonly password: string };
  /** Host, with its port, that blobs are redirected to. */
  readonly blobHost?: string;
  readonly withoutReferrers?: boolean;
}

export interface OciRegistry {
  readonly host: string;
  readonly port: number;
  readonly requests: readonly {
    readonly host: string;
    readonly target: string;
    readonly authorization?: string;
  }[];
  /** `host/repository@sha256:…` */
  addImage(repository: string): string;
  /** Replaces what is under `sha256-….sig` or `.att`. */
  putTag(image: string, kind: "sig" | "att", layers: readonly SignedLayer[]): void;
  addReferrer(image: string, artifactType: string, layers: readonly SignedLayer[]): void;
  removeSignatures(image: string): void;
  setFault(fault: RegistryFault | undefined): void;
  close(): Promise<void>;
}

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const INDEX = "application/vnd.oci.image.index.v1+json";
const EMPTY = Buffer.from("{}");

const digestOf = (bytes: Buffer): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

interface Referrer {
  readonly digest: string;
  readonly size: number;
  readonly artifactType: string;
}

export async function startOciRegistry(options: RegistryOptions): Promise<OciRegistry> {
  const { authority, blobHost, host } = options;
  const { certificate, privateKey } = await authority.issue([host.replace(/:\d+$/, "")]);
  const [blobs, manifests] = [new Map<string, Buffer>(), new Map<string, Buffer>()];
  const referrers = new Map<string, Referrer[]>();
  const requests: { host: string; target: string; authorization?: string }[] = [];
  const token = randomUUID();
  let fault: RegistryFault | undefined;

  const put = (bytes: Buffer): { digest: string; size: number } => {
    blobs.set(digestOf(bytes), bytes);
    return { digest: digestOf(bytes), size: bytes.length };
  };
  const manifestOf = (layers: readonly SignedLayer[], more: object = {}): Buffer =>
    Buffer.from(
      JSON.stringify({
        ...{ schemaVersion: 2, mediaType: MANIFEST, ...more },
        config: { mediaType: "application/vnd.oci.empty.v1+json", ...put(EMPTY) },
        layers: layers.map(({ annotations, blob, mediaType, size }) => ({
          ...{ mediaType, ...put(blob), annotations },
          ...(size === undefined ? {} : { size }),
        })),
      }),
    );

  const server = createServer({ cert: certificate, key: privateKey }, (request, response) => {
    const { authorization, host: asked = "" } = request.headers;
    requests.push({
      host: asked,
      target: request.url ?? "",
      ...(authorization === undefined ? {} : { authorization }),
    });
    if (fault !== undefined && answerWithFault(fault, response)) return;
    answer(request, response);
  });

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", `https://${request.headers.host}`);
    if (url.pathname === "/token") return giveToken(url, request, response);
    if (options.account !== undefined && request.headers.authorization !== `Bearer ${token}`)
      return challenge(response);
    const [, repository = "", kind = "", reference = ""] =
      /^\/v2\/(.+)\/(manifests|blobs|referrers)\/([^/]+)$/.exec(url.pathname) ?? [];
    if (kind === "referrers") return listReferrers(`${repository}@${reference}`, url, response);
    if (kind === "manifests")
      return send(response, manifests.get(`${repository}/${reference}`) ?? blobs.get(reference), MANIFEST);
    if (kind === "blobs" && blobHost !== undefined)
      return void response
        .writeHead(307, { location: `https://${blobHost}${url.pathname}?signature=x` })
        .end();
    send(response, kind === "blobs" ? blobs.get(reference) : undefined, "application/octet-stream");
  }

  function challenge(response: ServerResponse): void {
    const realm = fault === "token-elsewhere" ? "https://evil.example/token" : `https://${host}/token`;
    const value = `Bearer realm="${realm}",service="${host}",scope="repository:everything:pull,push"`;
    response.writeHead(401, { "www-authenticate": value, "content-type": "application/json" });
    response.end('{"errors":[{"code":"UNAUTHORIZED"}]}');
  }

  function giveToken(url: URL, request: IncomingMessage, response: ServerResponse): void {
    const { name = "", password = "" } = options.account ?? {};
    const wanted = `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`;
    const isKnown = request.headers.authorization === wanted && url.searchParams.get("service") === host;
    const isReading = /^repository:[a-z/-]+:pull$/.test(url.searchParams.get("scope") ?? "");
    if (!isKnown || !isReading) return void response.writeHead(401).end();
    send(response, Buffer.from(JSON.stringify({ token, expires_in: 300 })), "application/json");
  }

  function listReferrers(key: string, url: URL, response: ServerResponse): void {
    if (options.withoutReferrers === true) return send(response, undefined, INDEX);
    if (fault === "endless-pages")
      response.setHeader("link", `<${url.pathname}?n=1&last=${randomUUID()}>; rel="next"`);
    const list = (referrers.get(key) ?? []).map((each) => ({ mediaType: MANIFEST, ...each }));
    send(
      response,
      Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: list })),
      INDEX,
    );
  }

  function send(response: ServerResponse, body: Buffer | undefined, contentType: string): void {
    if (body === undefined) return void response.writeHead(404).end('{"errors":[{"code":"NOT_FOUND"}]}');
    const isChanged = fault === "wrong-digest" && contentType === "application/octet-stream";
    const bytes = isChanged ? Buffer.concat([body.subarray(0, -1), Buffer.from(" ")]) : body;
    response.writeHead(200, { "content-type": contentType, "content-length": bytes.length }).end(bytes);
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const placeOf = (image: string): { repository: string; digest: string } => {
    const [name = "", digest = ""] = image.split("@");
    return { repository: name.slice(name.indexOf("/") + 1), digest };
  };
  return {
    host,
    port: (server.address() as AddressInfo).port,
    requests,
    addImage: (repository) => {
      const manifest = manifestOf([], { annotations: { made: randomUUID() } });
      manifests.set(`${repository}/${digestOf(manifest)}`, manifest);
      return `${host}/${repository}@${digestOf(manifest)}`;
    },
    putTag: (image, kind, layers) => {
      const { digest, repository } = placeOf(image);
      manifests.set(`${repository}/${digest.replace(":", "-")}.${kind}`, manifestOf(layers));
    },
    addReferrer: (image, artifactType, layers) => {
      const { digest, repository } = placeOf(image);
      const manifest = manifestOf(layers, {
        artifactType,
        subject: { mediaType: MANIFEST, digest, size: 1 },
      });
      const key = `${repository}@${digest}`;
      const list = [...(referrers.get(key) ?? []), { ...put(manifest), artifactType }];
      referrers.set(key, list);
      if (options.withoutReferrers !== true) return;
      const index = {
        schemaVersion: 2,
        mediaType: INDEX,
        manifests: list.map((each) => ({ mediaType: MANIFEST, ...each })),
      };
      manifests.set(`${repository}/${digest.replace(":", "-")}`, Buffer.from(JSON.stringify(index)));
    },
    removeSignatures: (image) => {
      const { digest, repository } = placeOf(image);
      referrers.delete(`${repository}@${digest}`);
      for (const end of [".sig", ".att", ""])
        manifests.delete(`${repository}/${digest.replace(":", "-")}${end}`);
    },
    setFault: (next) => void (fault = next),
    close: () => close(server),
  };
}

const close = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });

/** Whether the fault answers for everything; the others are in what is answered. */
function answerWithFault(fault: RegistryFault, response: ServerResponse): boolean {
  switch (fault) {
    case "error":
      response.writeHead(503).end("{}");
      return true;
    case "silence":
      return true;
    case "huge":
      response.writeHead(200, { "content-type": MANIFEST }).end(Buffer.alloc(8_000_000, "x"));
      return true;
    case "redirect":
      response.writeHead(302, { location: "https://evil.example/v2/" }).end();
      return true;
    case "no-json":
      response.writeHead(200, { "content-type": MANIFEST }).end("<html>maintenance</html>");
      return true;
    default:
      return false;
  }
}
