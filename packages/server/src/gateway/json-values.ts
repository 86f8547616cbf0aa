// SPDX-License-Identifier: Apache-2.0
/** Reads several fields of a JSON object without leaving two ways to read any of them, and looks for keys anywhere. */
import { type Result, ok, refuse } from "../kernel/result.ts";
import { folded, JsonScan, scanWhole } from "./json-scan.ts";

type Values = Result<ReadonlyMap<string, Buffer>, "not_json" | "not_an_object" | "duplicate_field">;

/**
 * The values of fields at the top, as the JSON that stands there; what is absent is not in the map.
 *
 * A field that is there twice, or in another spelling that some parsers take for it, makes all of it refused.
 */
export function topLevelValues(body: Buffer, fields: readonly string[]): Values | Promise<Values> {
  const scan = new ValuesScan(body, fields);
  const isJson = scanWhole(body, scan);
  return isJson instanceof Promise ? isJson.then((is) => answerOf(is, scan)) : answerOf(isJson, scan);
}

const answerOf = (isJson: boolean, scan: ValuesScan): Values => (isJson ? scan.result() : refuse("not_json"));

const OPEN_OBJECT = 0x7b;

class ValuesScan extends JsonScan {
  readonly #json: Buffer;
  readonly #fields: readonly string[];
  readonly #longest: number;
  readonly #values = new Map<string, Buffer>();
  #isTopObject: boolean | undefined;
  #isDuplicate = false;
  /** The field whose key was read last at the top, until its value ends. */
  #field: string | undefined;
  #start = 0;

  constructor(json: Buffer, fields: readonly string[]) {
    super(json);
    [this.#json, this.#fields] = [json, fields];
    this.#longest = Math.max(0, ...fields.map(({ length }) => length));
  }

  result(): Values {
    if (this.#isTopObject !== true) return refuse("not_an_object");
    return this.#isDuplicate ? refuse("duplicate_field") : ok(this.#values);
  }

  protected onKey(start: number, end: number): void {
    // Six bytes for each character is the longest way to write it.
    if (this.depth !== 1 || end - start - 2 > this.#longest * 6) return;
    const key = JSON.parse(this.#json.toString("utf8", start, end)) as string;
    if (this.#fields.includes(key)) {
      if (this.#values.has(key)) this.#isDuplicate = true;
      this.#field = key;
      return;
    }
    const plain = folded(key);
    if (this.#fields.some((field) => folded(field) === plain)) this.#isDuplicate = true;
  }

  protected onValue(start: number, byte: number): void {
    this.#isTopObject ??= byte === OPEN_OBJECT;
    if (this.depth === 1) this.#start = start;
  }

  protected onEnd(end: number): void {
    if (this.depth !== 1 || this.#field === undefined) return;
    this.#values.set(this.#field, this.#json.subarray(this.#start, end));
    this.#field = undefined;
  }
}

/** The first of these keys that stands anywhere in the text, in any spelling; none where it is not JSON either. */
export function keyAnywhere(
  body: Buffer,
  keys: readonly string[],
): string | undefined | Promise<string | undefined> {
  if (keys.length === 0) return undefined;
  const scan = new KeyScan(body, keys);
  const isJson = scanWhole(body, scan);
  return isJson instanceof Promise ? isJson.then(() => scan.found) : scan.found;
}

class KeyScan extends JsonScan {
  found: string | undefined;
  readonly #json: Buffer;
  readonly #keys: ReadonlyMap<string, string>;
  readonly #shortest: number;
  readonly #longest: number;

  constructor(json: Buffer, keys: readonly string[]) {
    super(json);
    this.#json = json;
    this.#keys = new Map(keys.map((key) => [folded(key), key]));
    const lengths = keys.map(({ length }) => length);
    [this.#shortest, this.#longest] = [Math.min(...lengths), Math.max(...lengths)];
  }

  protected onKey(start: number, end: number): void {
    const length = end - start - 2;
    if (this.found !== undefined || length < this.#shortest || length > this.#longest * 6) return;
    this.found = this.#keys.get(folded(JSON.parse(this.#json.toString("utf8", start, end)) as string));
  }

  protected onValue(): void {}
  protected onEnd(): void {}
}
