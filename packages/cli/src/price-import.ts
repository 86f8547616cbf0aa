// SPDX-License-Identifier: Apache-2.0
/**
 * Makes a PriceList of the price map that the LiteLLM project keeps (`model_prices_and_context_window.json`), for a
 * person to read and apply. Prices there are floating-point dollars for one token; here they are exact decimals for a
 * million, rounded up. What a PriceList cannot say is left out and named.
 */
import { priceListSpec } from "@postern/contract";

export interface PriceImport {
  readonly provider: string;
  /** As requests name them; all of the provider where empty. */
  readonly models: readonly string[];
  readonly name: string;
  readonly serverWorkloads: readonly string[];
  readonly version: string;
  readonly date: string;
  readonly source: string;
}

export interface Imported {
  readonly yaml: string;
  readonly count: number;
  /** For people: what was left out and why. */
  readonly notes: readonly string[];
}

type Entry = Readonly<Record<string, unknown>>;

const MODES = new Set(["chat", "responses", "embedding"]);

/** Prices that no request has unless it asks for another rate, or that are not of tokens as they are counted here. */
const APART =
  /batch|flex|priority|_image|_video|_per_second|_character|_pixel|_query|vector_store|code_interp/;

/** @throws {Error} in words for people where the map is none, or nothing of it can be taken */
export function importPrices(text: string, wanted: PriceImport): Imported {
  const map = parsed(text);
  const notes: string[] = [];
  const models = new Map<string, object>();
  for (const [key, entry] of Object.entries(map)) {
    if (!isEntry(entry) || entry["litellm_provider"] !== wanted.provider) continue;
    const name = key.startsWith(`${wanted.provider}/`) ? key.slice(wanted.provider.length + 1) : key;
    const isNamed = wanted.models.includes(name);
    if (wanted.models.length > 0 && !isNamed) continue;
    const model = modelOf(name, entry);
    if (typeof model === "string") {
      if (isNamed || MODES.has(String(entry["mode"]))) notes.push(`${name} is left out: ${model}`);
      continue;
    }
    const unsaid = unsaidOf(entry);
    if (unsaid.length > 0) notes.push(`${name}: not taken: ${unsaid.join(", ")}`);
    models.set(name, model);
  }
  for (const name of wanted.models)
    if (!models.has(name) && !notes.some((note) => note.startsWith(`${name} is left out`)))
      notes.push(`${name} is not in the map for provider ${wanted.provider}`);
  if (models.size === 0)
    throw new Error([`there is no price to take for provider ${wanted.provider}`, ...notes].join("\n"));
  const { version, date, source, serverWorkloads } = wanted;
  const spec = { version, date, source, serverWorkloads, models: [...models.values()] };
  const checked = priceListSpec.safeParse(spec);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    throw new Error(`the list would be refused at ${issue?.path.join(".")}: ${issue?.message}`);
  }
  return { yaml: yamlOf(wanted.name, spec), count: models.size, notes };
}

function parsed(text: string): Entry {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("the file is not JSON");
  }
  if (isEntry(value)) return value;
  throw new Error("the file is no object of models");
}

const isEntry = (value: unknown): value is Entry =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Or why not. */
function modelOf(name: string, entry: Entry): object | string {
  const mode = String(entry["mode"]);
  if (!MODES.has(mode)) return `its mode is ${JSON.stringify(mode)}`;
  const price = (key: string): number | undefined => perMillion(entry[key]);
  const input = price("input_cost_per_token");
  const output =
    mode === "embedding" ? (price("output_cost_per_token") ?? 0) : price("output_cost_per_token");
  if (input === undefined || output === undefined) return "it has no price of input or output tokens";
  const tier = tierOf(entry);
  if (tier === "several") return "it has prices for several lengths of input";
  const write = [
    price("cache_creation_input_token_cost"),
    price("cache_creation_input_token_cost_above_1hr"),
  ];
  const tokens = (key: string): number | undefined =>
    Number.isSafeInteger(entry[key]) && (entry[key] as number) > 0 ? (entry[key] as number) : undefined;
  const model = {
    ...{ names: [name], input, output, cachedInput: price("cache_read_input_token_cost") },
    // How long it is kept is not in what providers report in one number: the dearer price.
    cacheWrite: largest(write),
    reasoning: price("output_cost_per_reasoning_token"),
    maxOutputTokens: tokens("max_output_tokens"),
    maxInputTokens: tokens("max_input_tokens"),
    hiddenReasoning: entry["supports_reasoning"] === true ? true : undefined,
    longInput: tier === undefined ? undefined : longInputOf(tier, price, { input, output }),
  };
  return Object.fromEntries(Object.entries(model).filter(([, value]) => value !== undefined));
}

/** Above how many thousand tokens other prices hold. */
function tierOf(entry: Entry): number | undefined | "several" {
  const found = new Set(
    Object.keys(entry).flatMap((key) => /_token(?:_cost)?_above_(\d+)k_tokens$/.exec(key)?.[1] ?? []),
  );
  const [only] = found;
  if (found.size > 1) return "several";
  return only === undefined ? undefined : Number(only);
}

function longInputOf(
  thousands: number,
  price: (key: string) => number | undefined,
  usual: { readonly input: number; readonly output: number },
): object {
  const above = `_above_${thousands}k_tokens`;
  const write = [
    price(`cache_creation_input_token_cost${above}`),
    price(`cache_creation_input_token_cost_above_1hr${above}`),
  ];
  const tier = {
    above: thousands * 1000,
    input: price(`input_cost_per_token${above}`) ?? usual.input,
    output: price(`output_cost_per_token${above}`) ?? usual.output,
    cachedInput: price(`cache_read_input_token_cost${above}`),
    cacheWrite: largest(write),
  };
  return Object.fromEntries(Object.entries(tier).filter(([, value]) => value !== undefined));
}

const largest = (values: readonly (number | undefined)[]): number | undefined => {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
};

const TAKEN =
  /^(input_cost_per_token|output_cost_per_token|output_cost_per_reasoning_token|cache_read_input_token_cost|cache_creation_input_token_cost(_above_1hr)?)(_above_\d+k_tokens)?$/;

/** Prices that may apply to a request of tokens and that the list does not have. */
const unsaidOf = (entry: Entry): string[] =>
  Object.keys(entry).filter(
    (key) => key.includes("cost") && !TAKEN.test(key) && !APART.test(key) && Number(entry[key]) > 0,
  );

/** Dollars for a million tokens, to the sixth decimal and up; of the shortest decimal that means the same number. */
function perMillion(value: unknown): number | undefined {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) return undefined;
  const [, whole = "", fraction = "", exponent = "0"] =
    /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value)) ?? [];
  // Millionths of a dollar for a million tokens: twelve places on.
  const places = Number(exponent) - fraction.length + 12;
  if (whole === "" || places > 30) return undefined;
  const digits = BigInt(whole + fraction);
  const below = places < 0 ? 10n ** BigInt(-places) : 1n;
  const micro = places < 0 ? (digits + below - 1n) / below : digits * 10n ** BigInt(places);
  return Number(micro) / 1_000_000;
}

/** Values as JSON, which is YAML as well. */
function yamlOf(name: string, spec: { readonly models: readonly object[] } & object): string {
  const { models, ...rest } = spec;
  return [
    "kind: PriceList",
    `metadata: { name: ${name} }`,
    "spec:",
    ...Object.entries(rest).map(([field, value]) => `  ${field}: ${JSON.stringify(value)}`),
    "  models:",
    ...models.map((model) => `    - ${JSON.stringify(model)}`),
    "",
  ].join("\n");
}
