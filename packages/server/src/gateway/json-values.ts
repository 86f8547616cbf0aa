// SPDX-License-Identifier: Apache-2.0
/** Reads several fields of a JSON object without leaving two ways to read any of them, and looks for keys anywhere. */
import { type Result, ok, refuse } from "../kernel/result.ts";
import { folded, JsonScan, scanWhole } from "./json-scan.ts";

/** What is looked for, worked out once. */
export interface Wanted {
  readonly fields: ReadonlySet<string>;
  readonly foldedFields: ReadonlySet<string>;
  /** Of a field, in UTF-16 units. */
  readonly longestField: number;
  /** By how they are folded. */
  readonly keys: ReadonlyMap<string, string>;
  readonly shortestKey: number;
  readonly longestKey: number;
}

export const wantedOf = (fields: readonly string[], keys: readonly string[]): Wanted => ({
  fields: new Set(fields),
  foldedFields: new Set(fields.map(folded)),
  longestField: Math.max(0, ...fields.map(({ length }) => length)),
  keys: new Map(keys.map((key) => [folded(key), key])),
  shortestKey: Math.min(...keys.map(({ length }) => length)),
  longestKey: Math.max(0, ...keys.map(({ length }) => length)),
});

export interface Values {
  /** Of fields at the top, as the JSON that stands there; what is absent is not in the map. */
  readonly fields: ReadonlyMap<string, Buffer>;
  /** The first of the keys that stands anywhere in the text, in any spelling. */
  readonly key: string | undefined;
}

type Answer = Result<Values, "not_json" | "not_an_object" | "duplicate_field">;

/**
 * A field that is there twice, or in another spelling that some parsers take for it, makes all of it refused.
 */
export function valuesIn(body: Buffer, wanted: Wanted): Answer | Promise<Answer> {
  const scan = new ValuesScan(body, wanted);
  const isJson = scanWhole(body, scan);
  return isJson instanceof Promise ? isJson.then((is) => answerOf(is, scan)) : answerOf(isJson, scan);
}

const answerOf = (isJson: boolean, scan: ValuesScan): Answer => (isJson ? scan.result() : refuse("not_json"));

/** Of a text that need be no object, and no JSON either: what was met of it until there. */
export function keyAnywhere(body: Buffer, wanted: Wanted): string | undefined | Promise<string | undefined> {
  if (wanted.keys.size === 0) return undefined;
  const scan = new ValuesScan(body, wanted);
  const isJson = scanWhole(body, scan);
  return isJson instanceof Promise ? isJson.then(() => scan.key) : scan.key;
}

const OPEN_OBJECT = 0x7b;
const NONE: ReadonlyMap<string, Buffer> = new Map();

class ValuesScan extends JsonScan {
  key: string | undefined;
  readonly #json: Buffer;
  readonly #wanted: Wanted;
  #fields: Map<string, Buffer> | undefined;
  #isTopObject: boolean | undefined;
  #isDuplicate = false;
  /** The field whose key was read last at the top, until its value ends. */
  #field: string | undefined;
  #start = 0;

  constructor(json: Buffer, wanted: Wanted) {
    super(json);
    [this.#json, this.#wanted] = [json, wanted];
  }

  result(): Answer {
    if (this.#isTopObject !== true) return refuse("not_an_object");
    return this.#isDuplicate
      ? refuse("duplicate_field")
      : ok({ fields: this.#fields ?? NONE, key: this.key });
  }

  protected onKey(start: number, end: number): void {
    const { longestField, shortestKey, longestKey } = this.#wanted;
    const length = end - start - 2;
    // Six bytes for each character is the longest way to write it.
    const mayBeField = this.depth === 1 && length <= longestField * 6;
    const mayBeKey = this.key === undefined && length >= shortestKey && length <= longestKey * 6;
    if (!mayBeField && !mayBeKey) return;
    const key = this.keyAt(start, end);
    const plain = folded(key);
    if (mayBeKey) this.key = this.#wanted.keys.get(plain);
    if (mayBeField) this.#metField(key, plain);
  }

  #metField(key: string, plain: string): void {
    if (this.#wanted.fields.has(key)) {
      if (this.#fields?.has(key) === true) this.#isDuplicate = true;
      this.#field = key;
    } else if (this.#wanted.foldedFields.has(plain)) this.#isDuplicate = true;
  }

  protected onValue(start: number, byte: number): void {
    this.#isTopObject ??= byte === OPEN_OBJECT;
    if (this.depth === 1) this.#start = start;
  }

  protected onEnd(end: number): void {
    if (this.depth !== 1 || this.#field === undefined) return;
    this.#fields ??= new Map();
    this.#fields.set(this.#field, this.#json.subarray(this.#start, end));
    this.#field = undefined;
  }
}
