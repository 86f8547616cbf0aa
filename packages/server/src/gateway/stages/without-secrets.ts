// SPDX-License-Identifier: Apache-2.0
/**
 * What of a decision was written by the agent, with asterisks where a secret of the vault stands in it: an agent that
 * knows one must not bring it into the log by naming it in a path or as a model.
 */
import type { Matcher } from "../../guard/pattern-matcher.ts";
import { holdsPattern, Scrubber } from "../../guard/scrubber.ts";
import type { DecisionRecord, KnownSecrets } from "../ports.ts";

type Words = Pick<DecisionRecord, "method" | "host" | "path" | "model" | "detail" | "conditions">;

/** Where the secrets cannot be read, those words are left out: what was not searched is not written. */
export async function withoutSecrets(record: DecisionRecord, secrets: KnownSecrets): Promise<DecisionRecord> {
  let matcher: Matcher;
  try {
    matcher = await secrets.matcher();
  } catch {
    return { ...record, ...cleaned(record, () => undefined) };
  }
  const { method, host, path, model, detail, conditions = [] } = record;
  const seen = conditions.map(({ words }) => words);
  const all = Buffer.from([method, host, path, model, detail, ...seen].join("\n"));
  const hidden = path?.includes("%") === true && holdsPattern(matcher, unescaped(path));
  if (!hidden && !holdsPattern(matcher, all)) return record;
  const clean = { ...record, ...cleaned(record, (text) => masked(text, matcher)) };
  // An escape may stand anywhere in it: the path goes as a whole.
  return hidden ? { ...clean, path: "/*" } : clean;
}

const cleaned = (
  { method, host, path, model, detail, conditions }: Words,
  clean: (text: string) => string | undefined,
): Words => {
  const each = (text: string | undefined): string | undefined =>
    text === undefined ? undefined : clean(text);
  return {
    method: each(method),
    host: each(host),
    path: each(path),
    model: each(model),
    detail: each(detail),
    ...(conditions === undefined
      ? {}
      : { conditions: conditions.map((found) => ({ ...found, words: clean(found.words) ?? "" })) }),
  };
};

function masked(text: string, matcher: Matcher): string {
  const scrubber = new Scrubber(matcher);
  return Buffer.concat([scrubber.push(Buffer.from(text)), scrubber.end()]).toString();
}

/** Every escape as its byte; what is none stays. */
const unescaped = (path: string): Buffer =>
  Buffer.from(
    path.replaceAll(/%[0-9a-f]{2}/gi, (escape) => String.fromCharCode(Number.parseInt(escape.slice(1), 16))),
    "latin1",
  );
