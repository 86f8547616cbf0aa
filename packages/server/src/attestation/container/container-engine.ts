// SPDX-License-Identifier: Apache-2.0
/**
 * What does the engine on this machine say about a container? (Docker Engine API; Podman answers the same)
 *
 * The engine's socket is as good as root, so nothing is written to it and only two documents are ever asked for.
 */
import { request } from "node:http";
import { ok, refuse, type Result } from "../../kernel/result.ts";
import { isJsonObject, memberOf, parseStrictJson } from "@postern/identity/jwt/strict-json";

export interface ContainerFacts {
  /** Of its first process, in the process namespace that the engine is in. */
  readonly pid: number;
  readonly startedAt: string;
  /** As it was named when the container was made, tag and all. */
  readonly image: string | undefined;
  /** `sha256:…` of the image's configuration. */
  readonly imageId: string;
  /** `key=value` */
  readonly labels: readonly string[];
}

/** `unavailable`: the engine did not answer, or not as an engine does. */
export interface EngineRefusal {
  readonly outcome: "refused" | "unavailable";
  readonly reason: string;
}

const MOST_BYTES = 1_048_576;
const LONGEST_MS = 3000;
const MOST_LABELS = 200;
const IMAGE_ID = /^sha256:[0-9a-f]{64}$/;
const DIGEST = /^[^@\s]{1,500}@(sha256:[0-9a-f]{64})$/;

type Json = Readonly<Record<string, unknown>>;

export class ContainerEngine {
  readonly #socket: string;
  /** Asked once for all who ask at the same time: thousands of streams may be of one container. */
  readonly #asking = new Map<string, Promise<Result<Json, EngineRefusal>>>();

  constructor(socket: string) {
    this.#socket = socket;
  }

  /** `id`: 64 hexadecimal digits. */
  async inspectContainer(id: string): Promise<Result<ContainerFacts, EngineRefusal>> {
    const document = await this.#get(`/containers/${id}/json`);
    if (!document.ok) return document;
    return readContainer(document.value, id);
  }

  /** `repository@sha256:…` of each manifest that the image was pulled by; empty for an image that was built here. */
  async imageNames(imageId: string): Promise<Result<readonly string[], EngineRefusal>> {
    const document = await this.#get(`/images/${imageId}/json`);
    if (!document.ok) return document;
    if (memberOf(document.value, "Id") !== imageId) return malformed("engine_answers_about_another_image");
    const digests = memberOf(document.value, "RepoDigests");
    const names = (Array.isArray(digests) ? digests : []).filter(
      (each): each is string => typeof each === "string" && DIGEST.test(each),
    );
    return ok([...new Set(names)]);
  }

  #get(path: string): Promise<Result<Json, EngineRefusal>> {
    const known = this.#asking.get(path);
    if (known !== undefined) return known;
    const asked = getJson(this.#socket, path).finally(() => this.#asking.delete(path));
    this.#asking.set(path, asked);
    return asked;
  }
}

const malformed = (reason: string): Result<never, EngineRefusal> =>
  refuse({ outcome: "unavailable", reason });

async function getJson(socketPath: string, path: string): Promise<Result<Json, EngineRefusal>> {
  const answer = await get(socketPath, path).catch(() => undefined);
  if (answer === undefined) return malformed("engine_unreachable");
  if (answer.status === 404) return refuse({ outcome: "refused", reason: "container_unknown" });
  if (answer.status !== 200) return malformed(`engine_status_${answer.status}`);
  if (answer.body === undefined) return malformed("engine_answer_too_large");
  const json = parseStrictJson(answer.body);
  return json.ok && isJsonObject(json.value) ? ok(json.value) : malformed("engine_answer_malformed");
}

function get(
  socketPath: string,
  path: string,
): Promise<{ readonly status: number; readonly body: Buffer | undefined }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        ...{ socketPath, path, method: "GET", agent: false, signal: AbortSignal.timeout(LONGEST_MS) },
        headers: { host: "localhost", accept: "application/json" },
      },
      (answer) => {
        const chunks: Buffer[] = [];
        let size = 0;
        const status = answer.statusCode ?? 0;
        answer.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size <= MOST_BYTES) return void chunks.push(chunk);
          resolve({ status, body: undefined });
          answer.destroy();
        });
        answer.once("error", reject);
        // Cut off in the middle, it is no answer.
        answer.once("close", () => reject(new Error("the answer has no end")));
        answer.once("end", () => resolve({ status, body: Buffer.concat(chunks) }));
      },
    );
    outgoing.once("error", reject);
    outgoing.end();
  });
}

/** `ContainerInspectResponse`; Podman writes the image's id without `sha256:`. */
function readContainer(document: Json, id: string): Result<ContainerFacts, EngineRefusal> {
  if (memberOf(document, "Id") !== id) return malformed("engine_answers_about_another_container");
  const state = memberOf(document, "State");
  const config = memberOf(document, "Config");
  const image = memberOf(document, "Image");
  if (!isJsonObject(state) || !isJsonObject(config) || typeof image !== "string")
    return malformed("engine_answer_malformed");
  const [pid, startedAt] = [memberOf(state, "Pid"), memberOf(state, "StartedAt")];
  if (memberOf(state, "Running") !== true || !Number.isSafeInteger(pid) || (pid as number) <= 0)
    return refuse({ outcome: "refused", reason: "container_not_running" });
  const imageId = image.startsWith("sha256:") ? image : `sha256:${image}`;
  if (!IMAGE_ID.test(imageId) || typeof startedAt !== "string") return malformed("engine_answer_malformed");
  const name = memberOf(config, "Image");
  return ok({
    pid: pid as number,
    startedAt,
    image: typeof name === "string" && name !== "" ? name : undefined,
    imageId,
    labels: labelsOf(memberOf(config, "Labels")),
  });
}

/** A key that holds an equals sign would be read in two ways. */
function labelsOf(labels: unknown): string[] {
  if (!isJsonObject(labels)) return [];
  return Object.entries(labels)
    .filter(([key, value]) => typeof value === "string" && /^[^=\s]{1,300}$/.test(key))
    .slice(0, MOST_LABELS)
    .map(([key, value]) => `${key}=${String(value)}`);
}
