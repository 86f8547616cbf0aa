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
  const asked = askedOf(pointers);
  const scan = new PointerScan(bytes, asked.top);
  const isJson = scanWhole(bytes, scan);
  return isJson instanceof Promise
    ? isJson.then((is) => factsOf(is, bytes, scan, asked))
    : factsOf(isJson, bytes, scan, asked);
}

/** Facts live as long as the request, the scan does not. */
function factsOf(
  isJson: boolean,
  bytes: Buffer,
  { found, isAmbiguous }: PointerScan,
  { pointers }: Asked,
): BodyFacts | undefined {
  if (!isJson || isAmbiguous) return undefined;
  const at = (pointer: string): BodyValue | undefined => {
    // What was not looked for is not absent.
    if (!pointers.has(pointer)) throw new Error(`nobody has looked for ${pointer}`);
    return found?.get(pointer);
  };
  return { bytes, at };
}

interface Asked {
  readonly pointers: ReadonlySet<string>;
  /** The way to all of them. */
  readonly top: Step;
}

/** By the list itself: those of conditions are made once. */
const askedBefore = new WeakMap<readonly string[], Asked>();

function askedOf(pointers: readonly string[]): Asked {
  let asked = askedBefore.get(pointers);
  if (asked === undefined)
    askedBefore.set(pointers, (asked = { pointers: new Set(pointers), top: stepsTo(pointers) }));
  return asked;
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

/** A value on the way. */
interface Open {
  readonly step: Step;
  readonly start: number;
  readonly type: BodyValue["type"];
  /** Elements so far, of an array. */
  count: number;
  /** Members on the way that were met, of an object. */
  met: Set<string> | undefined;
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

class PointerScan extends JsonScan {
  isAmbiguous = false;
  found: Map<string, BodyValue> | undefined;
  readonly #json: Buffer;
  readonly #top: Step;
  /** Values that have begun and not ended, the innermost last; undefined for those that lead nowhere. */
  readonly #open: (Open | undefined)[] = [];
  /** Where the key leads that was read last. */
  #next: Step | undefined;

  constructor(json: Buffer, top: Step) {
    super(json);
    [this.#json, this.#top] = [json, top];
  }

  protected onKey(start: number, end: number): void {
    this.#next = undefined;
    const around = this.#open.at(-1);
    // Folding may change the length, and six bytes for a character is the longest way to write it.
    if (around === undefined || end - start - 2 > (around.step.longest + 2) * 18) return;
    const { step } = around;
    const key = this.keyAt(start, end);
    const token = step.folded.get(folded(key));
    if (token === undefined) return;
    around.met ??= new Set();
    if (around.met.has(token) || !step.below.has(key)) this.isAmbiguous = true;
    around.met.add(token);
    this.#next = step.below.get(key);
  }

  protected onValue(start: number, byte: number): void {
    const around = this.#open.at(-1);
    const step = this.#open.length === 0 ? this.#top : around && this.#stepInto(around);
    this.#next = undefined;
    const type = TYPES.get(byte) ?? "number";
    this.#open.push(step && { step, start, type, count: 0, met: undefined });
  }

  #stepInto(around: Open): Step | undefined {
    if (around.type === "object") return this.#next;
    return around.step.below.get(String(around.count++));
  }

  protected onEnd(end: number): void {
    const ended = this.#open.pop();
    if (ended?.step.pointer === undefined) return;
    const { start, type } = ended;
    this.found ??= new Map();
    this.found.set(ended.step.pointer, { type, raw: this.#json.subarray(start, end) });
  }
}
