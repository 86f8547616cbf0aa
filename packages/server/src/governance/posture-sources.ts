// SPDX-License-Identifier: Apache-2.0
/**
 * Asks those who watch, again and again, how workloads and machines are, and hands what they say to the desk.
 *
 * Who cannot be asked says nothing new: what was said before holds until it expires, and no longer.
 */
import type { PostureSourceSpec, ResourceOf } from "@postern/contract";
import { callHttps } from "../attestation/authority/call-https.ts";
import { crowdstrike } from "../facts/posture/crowdstrike.ts";
import type { Ask, PostureReader, Seen } from "../facts/posture/posture-reader.ts";
import { report } from "../facts/posture/report.ts";
import { wiz } from "../facts/posture/wiz.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Log } from "../kernel/log.ts";
import { type Result, ok, refuse } from "../kernel/result.ts";
import type { Secret } from "../kernel/secret.ts";
import type { PostureDesk } from "./posture-desk.ts";

type Source = ResourceOf<"PostureSource">;

export interface PostureSourcesParts {
  readonly desk: Pick<PostureDesk, "take">;
  secret(name: string): Promise<Result<Secret, string>>;
  readonly clock: Clock;
  readonly log: Log;
  /** 0 to 1: not every server asks at the same moment. */
  chance(): number;
}

/** All questions of one round. */
const LONGEST_ROUND = 60_000;
const MOST_ANSWER_BYTES = 16 * 1024 * 1024;

interface Followed {
  readonly resource: Source;
  readonly text: string;
  problem: string | undefined;
  timer: NodeJS.Timeout | undefined;
}

export class PostureSources {
  readonly #parts: PostureSourcesParts;
  readonly #followed = new Map<string, Followed>();

  constructor(parts: PostureSourcesParts) {
    this.#parts = parts;
  }

  /** What operators have said now: new ones are asked at once, and what is no longer there is asked no more. */
  follow(resources: readonly Source[]): void {
    const names = new Set(resources.map(({ metadata }) => metadata.name));
    for (const name of this.#followed.keys()) if (!names.has(name)) this.#forget(name);
    for (const resource of resources) {
      const text = JSON.stringify(resource.spec);
      const { name } = resource.metadata;
      if (this.#followed.get(name)?.text === text) continue;
      this.#forget(name);
      const followed: Followed = { resource, text, problem: undefined, timer: undefined };
      this.#followed.set(name, followed);
      void this.#round(followed);
    }
  }

  close(): void {
    for (const name of this.#followed.keys()) this.#forget(name);
  }

  #forget(name: string): void {
    clearTimeout(this.#followed.get(name)?.timer);
    this.#followed.delete(name);
  }

  async #round(followed: Followed): Promise<void> {
    const { metadata, spec } = followed.resource;
    const done = await this.#ask(followed).catch((): Result<number, string> => refuse("internal_error"));
    if (this.#followed.get(metadata.name) !== followed) return;
    this.#note(followed, done.ok ? undefined : done.reason);
    const wait = spec.every * 1000 * (0.9 + 0.1 * this.#parts.chance());
    followed.timer = setTimeout(() => void this.#round(followed), wait);
    followed.timer.unref();
  }

  async #ask(followed: Followed): Promise<Result<number, string>> {
    const { metadata, spec } = followed.resource;
    const secret = spec.secret === undefined ? ok(undefined) : await this.#parts.secret(spec.secret);
    if (!secret.ok) return secret;
    const read = await readerOf(spec, secret.value)(
      askOf(spec, AbortSignal.timeout(LONGEST_ROUND)),
      this.#parts.clock.now(),
    );
    if (!read.ok) return read;
    // Forgotten or changed meanwhile: what was read is nobody's answer.
    if (this.#followed.get(metadata.name) !== followed) return ok(0);
    return ok(
      await this.#parts.desk.take(
        metadata.name,
        read.value.map((seen) => held(seen, spec.validFor)),
      ),
    );
  }

  /** Said once for each kind of trouble, and when it is over. */
  #note(followed: Followed, problem: string | undefined): void {
    if (followed.problem === problem) return;
    followed.problem = problem;
    const fields = { state: followed.resource.metadata.name, check: problem ?? "read" };
    if (problem === undefined) this.#parts.log.write("info", "a posture source was read", fields);
    else this.#parts.log.write("warn", "a posture source could not be read", fields);
  }
}

const held = (seen: Seen, validFor: number) => ({
  ...seen,
  validFor: Math.min(seen.validFor ?? Infinity, validFor),
});

function readerOf(spec: PostureSourceSpec, secret: Secret | undefined): PostureReader {
  switch (spec.kind) {
    case "report":
      return report(spec, secret);
    case "crowdstrike":
      return crowdstrike(spec, secret!);
    case "wiz":
      return wiz(spec, secret!);
  }
}

/** TLS verified, no redirect followed, no special-purpose address that is not listed: as with all who are believed. */
const askOf =
  (spec: PostureSourceSpec, signal: AbortSignal): Ask =>
  async (question) => {
    const answer = await callHttps({ ...question, mostBytes: MOST_ANSWER_BYTES }, spec, signal);
    if (!answer.ok) return answer;
    const { body, status } = answer.value;
    if (status !== 200 && status !== 201) return refuse(`authority_status_${status}`);
    try {
      return ok(JSON.parse(body.toString("utf8")) as unknown);
    } catch {
      return refuse("answer_malformed");
    }
  };
