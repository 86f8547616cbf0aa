// SPDX-License-Identifier: Apache-2.0
/**
 * Who has signed the images that a workload is made of, and what is attested of them?
 *
 * A fact holds where it holds of every image: evidence of a pod does not tell which of its containers presents it. What a
 * registry shows is asked for each time, so that a signature that is gone counts no more; what was verified once, byte
 * for byte, is remembered.
 */
import { setImmediate as otherWork } from "node:timers/promises";
import type { SigstoreSpec } from "@postern/contract";
import type { Clock } from "../../kernel/clock.ts";
import type { Facts } from "../trust-provider.ts";
import { findSignatures, type FoundSignature } from "./find-signatures.ts";
import { type ImageName, readImageName } from "./image-name.ts";
import type { SignatureJudge, Verdict } from "./judge-signature.ts";
import { RegistryReader } from "./registry.ts";

export interface ImageFinding {
  readonly facts: Facts;
  /** Why an image proves nothing, or perhaps not all that it could, for operators. */
  readonly notes: readonly string[];
  /** Who would know could not be asked. */
  readonly isIncomplete: boolean;
}

interface ImageProofs {
  readonly proofs: ReadonlySet<string>;
  readonly note?: string;
  readonly isIncomplete: boolean;
}

const MOST_IMAGES = 10;
const MOST_NAMES = 5;
const MOST_AT_ONCE = 32;
const MOST_REASONS = 5;
const LONGEST_MS = 5_000;
const MOST_REMEMBERED = 2_000;
/** A signature whose time, by this machine's clock, has not come yet may come to be good. */
const BAD_FOR_MS = 5 * 60_000;

export class ImageSignatures {
  readonly #spec: SigstoreSpec;
  readonly #clock: Clock;
  readonly #known = new Map<string, { readonly verdict: Verdict; readonly until: number }>();
  readonly #asking = new Map<string, Promise<ImageProofs>>();
  #judge: Promise<SignatureJudge> | undefined;

  constructor(spec: SigstoreSpec, clock: Clock) {
    this.#spec = spec;
    this.#clock = clock;
  }

  /** Each image by all its names: what is signed under one of them is the same image. */
  async factsOf(images: readonly (readonly string[])[]): Promise<ImageFinding> {
    if (images.length === 0) return { facts: {}, isIncomplete: false, notes: ["no_image"] };
    if (images.length > MOST_IMAGES) return { facts: {}, isIncomplete: false, notes: ["too_many_images"] };
    const all = await Promise.all(images.map((names) => this.#proveAny(names)));
    const [first, ...others] = all.map(({ proofs }) => proofs);
    const common = [...(first ?? [])].filter((proof) => others.every((proofs) => proofs.has(proof)));
    return {
      facts: factsOf(common),
      notes: all.flatMap(({ notes }) => notes),
      isIncomplete: all.some(({ isIncomplete }) => isIncomplete),
    };
  }

  async #proveAny(names: readonly string[]) {
    const all = await Promise.all(names.slice(0, MOST_NAMES).map((name) => this.#ask(name)));
    const proofs = new Set(all.flatMap((each) => [...each.proofs]));
    const isIncomplete = all.some((each) => each.isIncomplete);
    const notes =
      names.length === 0 ? ["image_without_registry_or_digest"] : all.flatMap(({ note }) => note ?? []);
    return { proofs, isIncomplete, notes: proofs.size > 0 && !isIncomplete ? [] : notes };
  }

  /** Whoever asks at the same time gets the same answer. */
  #ask(name: string): Promise<ImageProofs> {
    const known = this.#asking.get(name);
    if (known !== undefined) return known;
    if (this.#asking.size >= MOST_AT_ONCE)
      return Promise.resolve({
        proofs: new Set(),
        isIncomplete: true,
        note: noteOf(name, ["too_many_images_at_once"]),
      });
    const asked = this.#prove(name).finally(() => this.#asking.delete(name));
    this.#asking.set(name, asked);
    return asked;
  }

  async #prove(text: string): Promise<ImageProofs> {
    const nothing = (reason: string) => ({
      ...{ proofs: new Set<string>(), isIncomplete: false, note: noteOf(text, [reason]) },
    });
    const image = readImageName(text);
    if (image === undefined) return nothing("image_without_registry_or_digest");
    const place = this.#spec.registries.find(({ host }) => host === image.registry);
    if (place === undefined) return nothing("registry_not_listed");
    const registry = new RegistryReader(place, image.repository, AbortSignal.timeout(LONGEST_MS));
    const { found, isIncomplete, problems } = await findSignatures(registry, image);
    const proofs = new Set<string>();
    const reasons = [...problems];
    for (const signature of found) {
      const verdict = await this.#verdictOf(signature, image);
      if (verdict.ok) for (const proof of verdict.value) proofs.add(proof);
      else reasons.push(verdict.reason);
    }
    if (proofs.size > 0 && !isIncomplete) return { proofs, isIncomplete };
    return { proofs, isIncomplete, note: noteOf(text, reasons.length === 0 ? ["unsigned"] : reasons) };
  }

  async #verdictOf(signature: FoundSignature, { digest }: ImageName): Promise<Verdict> {
    const key = `${digest} ${signature.id}`;
    const known = this.#known.get(key);
    if (known !== undefined && known.until > this.#clock.now()) return known.verdict;
    // In memory from the first signature on, and not before.
    this.#judge ??= import("./judge-signature.ts").then((module) => new module.SignatureJudge(this.#spec));
    const judge = await this.#judge;
    // Milliseconds of computation for each: others get their turn in between.
    await otherWork();
    const verdict = judge.judge(signature, digest);
    this.#known.delete(key);
    this.#known.set(key, { verdict, until: verdict.ok ? Infinity : this.#clock.now() + BAD_FOR_MS });
    const [oldest] = this.#known.keys();
    if (oldest !== undefined && this.#known.size > MOST_REMEMBERED) this.#known.delete(oldest);
    return verdict;
  }
}

/** `name=value` of each, by name. */
function factsOf(proofs: readonly string[]): Facts {
  const facts = new Map<string, string[]>();
  for (const proof of proofs) {
    const at = proof.indexOf("=");
    const name = proof.slice(0, at);
    facts.set(name, [...(facts.get(name) ?? []), proof.slice(at + 1)]);
  }
  return Object.fromEntries(facts);
}

const noteOf = (image: string, reasons: readonly string[]): string =>
  `image ${image.slice(0, 300)}: ${[...new Set(reasons)].slice(0, MOST_REASONS).join(", ")}`;
