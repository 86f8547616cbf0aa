// SPDX-License-Identifier: Apache-2.0
/**
 * How many tokens can a request use at most?
 *
 * Input: as many as its body has bytes. No tokenizer is asked: a token stands for at least one byte, and tokenizers can
 * be made slow by hostile text. What is no text, such as an image of few bytes and thousands of tokens, and what brings
 * in text from elsewhere counts as all that the model can take in. Output: the limit that the request sets, or that the model has, times the answers that
 * it wants. What could be read in two ways is refused, and what cannot be bounded, too.
 */
import { MOST } from "../budget/ledger.ts";
import type { ModelPrice } from "../budget/price.ts";
import type { TokenBound } from "../budget/usage.ts";
import { type Result, ok, refuse } from "../kernel/result.ts";
import type { OperationMetering, ProfileMetering } from "../profiles/profile.ts";
import { keyAnywhere, type Values, valuesIn, type Wanted, wantedOf } from "./json-values.ts";
import { type Refusal, refusal } from "./stages/refusal.ts";

export interface Bounding {
  readonly metering: ProfileMetering;
  readonly operation: OperationMetering;
  readonly price: Pick<ModelPrice, "maxInputTokens" | "maxOutputTokens"> | undefined;
  /** Where nobody else says how much output there can be. */
  readonly assumed: number | undefined;
}

export async function boundOf(body: Buffer, bounding: Bounding): Promise<Result<TokenBound, Refusal>> {
  const { metering, operation, price } = bounding;
  const { maxOutput = [], times, outside } = operation;
  const looked = await lookedFor(body, soughtIn(metering, operation));
  if (!looked.ok) return looked;
  const { fields, key } = looked.value;
  const limit = largest(fields, maxOutput);
  const answers = largest(fields, times);
  if (!limit.ok) return limit;
  if (!answers.ok) return answers;
  const brought = outside.find((field) => fields.has(field)) ?? key;
  if (brought !== undefined && price?.maxInputTokens === undefined)
    return refuse(
      unbounded(
        "input_unbounded",
        `\`${brought}\` brings in more than the bytes of the request tell, and no price list says \`maxInputTokens\` of the model`,
      ),
    );
  const bytes = Math.min(MOST, body.length + metering.addedInput);
  const input = brought === undefined ? bytes : Math.max(bytes, price?.maxInputTokens ?? 0);
  if (operation.maxOutput === undefined) return ok({ input, output: 0 });
  const each = Math.min(limit.value ?? Infinity, price?.maxOutputTokens ?? Infinity);
  const known = each === Infinity ? bounding.assumed : each;
  if (known === undefined)
    return refuse(
      unbounded(
        "output_unbounded",
        `the request sets no limit of its output (${maxOutput.map((name) => `\`${name}\``).join(" or ")}), and neither a price list nor \`assumeOutputTokens\` of the Budget does`,
      ),
    );
  return ok({ input, output: Math.min(MOST, known * (answers.value ?? 1)) });
}

export const unbounded = (reason: string, detail: string): Refusal =>
  refusal("usage_unbounded", detail, [reason]);

const ambiguous = (detail: string): Result<never, Refusal> =>
  refuse(refusal("request_malformed", detail, ["budget_field"]));

/** What is looked for in the bodies of an operation. `a.b` is field `b` of the object in field `a`. */
interface Sought {
  readonly fields: ReadonlySet<string>;
  /** Those at the top, and keys anywhere. */
  readonly top: Wanted;
  /** By the field at the top that they are in. */
  readonly inner: ReadonlyMap<string, Wanted>;
}

/** Of a profile and an operation of it, neither of which changes. */
const soughtBefore = new WeakMap<ProfileMetering, WeakMap<OperationMetering, Sought>>();

function soughtIn(metering: ProfileMetering, operation: OperationMetering): Sought {
  let ofProfile = soughtBefore.get(metering);
  if (ofProfile === undefined) soughtBefore.set(metering, (ofProfile = new WeakMap()));
  let sought = ofProfile.get(operation);
  if (sought === undefined) ofProfile.set(operation, (sought = soughtOf(metering, operation)));
  return sought;
}

function soughtOf(
  { opaque }: ProfileMetering,
  { maxOutput = [], times, outside }: OperationMetering,
): Sought {
  const fields = [...maxOutput, ...times, ...outside];
  const heads = [...new Set(fields.map((field) => field.split(".")[0]!))];
  const innerOf = (head: string): string[] =>
    fields.filter((field) => field.startsWith(`${head}.`)).map((field) => field.slice(head.length + 1));
  const inner = heads.map((head) => [head, innerOf(head)] as const).filter(([, names]) => names.length > 0);
  return {
    fields: new Set(fields),
    top: wantedOf(heads, opaque),
    inner: new Map(inner.map(([head, names]) => [head, wantedOf(names, [])])),
  };
}

/** Fields that are there and not null, as JSON, and the first of the keys. */
async function lookedFor(body: Buffer, { fields, top, inner }: Sought): Promise<Result<Values, Refusal>> {
  if (fields.size === 0) return ok({ fields: new Map(), key: await keyAnywhere(body, top) });
  const tops = await valuesIn(body, top);
  if (!tops.ok)
    return ambiguous("the body is no JSON object in which each field stands once, in one spelling");
  const { key } = tops.value;
  const found = new Map<string, Buffer>();
  for (const [head, json] of tops.value.fields) {
    if (isNull(json)) continue;
    if (fields.has(head)) found.set(head, json);
    const wanted = inner.get(head);
    if (wanted === undefined) continue;
    // One head after the other: there are one or two.
    // oxlint-disable-next-line no-await-in-loop
    const below = await valuesIn(json, wanted);
    if (!below.ok)
      return ambiguous(`\`${head}\` is no JSON object in which each field stands once, in one spelling`);
    for (const [name, value] of below.value.fields) if (!isNull(value)) found.set(`${head}.${name}`, value);
  }
  return ok({ fields: found, key });
}

const isNull = (json: Buffer): boolean => json.length === 4 && json.toString("latin1") === "null";

/** Of those that are there. Zero is taken for none: some APIs do. */
function largest(
  values: ReadonlyMap<string, Buffer>,
  fields: readonly string[],
): Result<number | undefined, Refusal> {
  let most: number | undefined;
  for (const field of fields) {
    const json = values.get(field);
    if (json === undefined) continue;
    const value = json.length > 400 ? Number.NaN : Number(json.toString("latin1"));
    if (json[0] === 0x22 || !Number.isInteger(value) || value < 0)
      return ambiguous(`\`${field}\` is no whole number from 0 on`);
    if (value > 0) most = Math.max(most ?? 0, Math.min(value, MOST));
  }
  return ok(most);
}
