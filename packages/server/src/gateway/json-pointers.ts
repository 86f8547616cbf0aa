// SPDX-License-Identifier: Apache-2.0
/**
 * Which values stand at some JSON pointers (RFC 6901) of a body, if it can be read in one way only?
 *
 * A member on the way to one of them that is there twice, in any spelling, makes the whole body unreadable: parsers
 * differ in which one they take.
 */
import type { BodyFacts, BodyValue } from "../policy/conditions/facts.ts";
import { folded, JsonScan, scanWhole } from "./json-scan.ts";

/** Undefined where the body is no JSON, or could be read in two ways. */
export function valuesAt(
  bytes: Buffer,
  pointers: readonly string[],
): BodyFacts | undefined | Promise<BodyFacts | undefined> {
  const scan = new PointerScan(bytes, pointers);
  const isJson = scanWhole(bytes, scan);
  const factsOf = (is: boolean): BodyFacts | undefined =>
    is && !scan.isAmbiguous ? { bytes, at: (pointer) => scan.at(pointer) } : undefined;
  return isJson instanceof Promise ? isJson.then(factsOf) : factsOf(isJson);
}

/** A step on the way to a pointer. */
interface Step {
  /** Steps below, by token. */
  readonly below: Map<string, Step>;
  /** Of the tokens below, folded: each stands for one member. */
  readonly folded: Map<string, string>;
  /** The longest token below, in UTF-16 units. */
  longest: number;
  /** Pointers that end here: one, where there is any. */
  pointer: string | undefined;
}

const newStep = (): Step => ({ below: new Map(), folded: new Map(), longest: 0, pointer: undefined });

function stepsTo(pointers: readonly string[]): Step {
  const top = newStep();
  for (const pointer of pointers) {
    let step = top;
    for (const escaped of pointer.split("/").slice(1)) {
      const token = escaped.replaceAll("~1", "/").replaceAll("~0", "~");
      let next = step.below.get(token);
      if (next === undefined) step.below.set(token, (next = newStep()));
      step.folded.set(folded(token), token);
      step.longest = Math.max(step.longest, token.length);
      step = next;
    }
    step.pointer = pointer;
  }
  return top;
}

interface Open {
  readonly step: Step | undefined;
  readonly start: number;
  readonly type: BodyValue["type"];
  /** Elements so far, of an array. */
  count: number;
  /** Members on the way that were met, of an object. */
  readonly met: Set<string>;
}

const TYPES = new Map<number, BodyValue["type"]>([
  ...([
    [0x7b, "object"],
    [0x5b, "array"],
    [0x22, "string"],
  ] as const),
  ...([
    [0x74, "boolean"],
    [0x66, "boolean"],
    [0x6e, "null"],
  ] as const),
]);

const NONE: ReadonlySet<string> = new Set();

class PointerScan extends JsonScan {
  isAmbiguous = false;
  readonly #found = new Map<string, BodyValue>();
  readonly #asked: ReadonlySet<string>;
  readonly #json: Buffer;
  readonly #top: Step;
  /** Values that have begun and not ended, the innermost last. */
  readonly #open: Open[] = [];
  /** Where the key leads that was read last. */
  #next: Step | undefined;

  constructor(json: Buffer, pointers: readonly string[]) {
    super(json);
    [this.#json, this.#top, this.#asked] = [json, stepsTo(pointers), new Set(pointers)];
  }

  /** What was not looked for is not absent. */
  at(pointer: string): BodyValue | undefined {
    if (!this.#asked.has(pointer)) throw new Error(`nobody has looked for ${pointer}`);
    return this.#found.get(pointer);
  }

  protected onKey(start: number, end: number): void {
    this.#next = undefined;
    const { step, met } = this.#open.at(-1)!;
    // Folding may change the length, and six bytes for a character is the longest way to write it.
    if (step === undefined || end - start - 2 > (step.longest + 2) * 18) return;
    const key = JSON.parse(this.#json.toString("utf8", start, end)) as string;
    const token = step.folded.get(folded(key));
    if (token === undefined) return;
    if (met.has(token) || !step.below.has(key)) this.isAmbiguous = true;
    met.add(token);
    this.#next = step.below.get(key);
  }

  protected onValue(start: number, byte: number): void {
    const type = TYPES.get(byte) ?? "number";
    const around = this.#open.at(-1);
    const step = around === undefined ? this.#top : this.#stepInto(around);
    this.#next = undefined;
    const met = step === undefined ? (NONE as Set<string>) : new Set<string>();
    this.#open.push({ step, start, type, count: 0, met });
  }

  #stepInto(around: Open): Step | undefined {
    if (around.type === "object") return this.#next;
    return around.step?.below.get(String(around.count++));
  }

  protected onEnd(end: number): void {
    const { step, start, type } = this.#open.pop()!;
    if (step?.pointer !== undefined)
      this.#found.set(step.pointer, { type, raw: this.#json.subarray(start, end) });
  }
}
