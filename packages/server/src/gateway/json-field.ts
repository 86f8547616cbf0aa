// SPDX-License-Identifier: Apache-2.0
/** Reads one top-level field of a JSON body without leaving two ways to read it. */
import { type Result, ok, refuse } from "../kernel/result.ts";
import { folded, JsonScan, scanWhole } from "./json-scan.ts";

export type FieldRefusal = "not_json" | "not_an_object" | "not_a_string" | "duplicate_field";

type FieldAnswer = Result<string | undefined, FieldRefusal>;

/** Longest value that a field may have, in bytes of JSON. */
const LONGEST_VALUE = 4096;

/**
 * The string in a top-level field of a JSON object (RFC 8259); undefined where the field is absent.
 *
 * A field that is there twice is refused, in any spelling: parsers differ in which one they take, and some
 * ignore case in keys, so the model that was decided need not be the model that is used.
 */
export function topLevelString(body: Buffer, field: string): FieldAnswer | Promise<FieldAnswer> {
  const scan = new FieldScan(body, field);
  const isJson = scanWhole(body, scan);
  return isJson instanceof Promise ? isJson.then((is) => answerOf(is, scan)) : answerOf(isJson, scan);
}

const answerOf = (isJson: boolean, scan: FieldScan): FieldAnswer =>
  isJson ? scan.result() : refuse("not_json");

const QUOTE = 0x22;
const OPEN_OBJECT = 0x7b;

class FieldScan extends JsonScan {
  readonly #json: Buffer;
  readonly #field: string;
  #isTopObject: boolean | undefined;
  /** Whether the key just read is the field, at the top. */
  #isField = false;
  /** Where its value begins, while that is read. */
  #start: number | undefined;
  #exact = 0;
  #similar = 0;
  #value: { readonly start: number; readonly end: number } | "not_a_string" | undefined;

  constructor(json: Buffer, field: string) {
    super(json);
    [this.#json, this.#field] = [json, field];
  }

  result(): FieldAnswer {
    if (this.#isTopObject !== true) return refuse("not_an_object");
    if (this.#exact + this.#similar > 1 || this.#similar > 0) return refuse("duplicate_field");
    if (this.#value === undefined) return ok(undefined);
    if (this.#value === "not_a_string") return refuse("not_a_string");
    return ok(JSON.parse(this.#json.toString("utf8", this.#value.start, this.#value.end)) as string);
  }

  /** Whether a key at the top is the field, or would be taken for it by a parser that ignores case. */
  protected onKey(start: number, end: number): void {
    this.#isField = false;
    // Six bytes for each character is the longest way to write it.
    if (this.depth !== 1 || end - start - 2 > this.#field.length * 6) return;
    const key = JSON.parse(this.#json.toString("utf8", start, end)) as string;
    if (key === this.#field) {
      this.#exact++;
      this.#isField = true;
    } else if (folded(key) === folded(this.#field)) this.#similar++;
  }

  protected onValue(start: number, byte: number): void {
    this.#isTopObject ??= byte === OPEN_OBJECT;
    if (this.#isField && this.depth === 1) {
      if (byte === QUOTE) this.#start = start;
      else this.#value = "not_a_string";
    }
    this.#isField = false;
  }

  protected onEnd(end: number): void {
    if (this.#start === undefined) return;
    const start = this.#start;
    this.#start = undefined;
    this.#value = end - start <= LONGEST_VALUE ? { start, end } : "not_a_string";
  }
}
