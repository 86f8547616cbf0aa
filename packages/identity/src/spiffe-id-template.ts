// SPDX-License-Identifier: Apache-2.0
/**
 * Which SPIFFE ID do attested facts make of an agent's template?
 *
 * `spiffe://corp/agents/{k8s.namespace}/{k8s.service-account}`: `{kind.key}` stands for the value of the selector
 * `kind:key=value`. Two different sets of facts never give the same ID by accident: a value is one whole segment or
 * the only unknown part of one, and it has no slash in it.
 */
import { ok, refuse, type Result } from "./result.ts";
import { isPathSegment, isReserved, MOST_ID_BYTES, parseSpiffeId, type SpiffeId } from "./spiffe-id.ts";

interface Segment {
  readonly before: string;
  /** `kind:key=`, the beginning of the selectors that it is taken from; undefined for fixed text, which is `before`. */
  readonly selector: string | undefined;
  readonly after: string;
}

export interface SpiffeIdTemplate {
  readonly trustDomain: string;
  readonly segments: readonly Segment[];
}

const PLACEHOLDER = /\{([a-z0-9-]+)\.([A-Za-z0-9-]+)\}/;

export function parseTemplate(text: string): Result<SpiffeIdTemplate, string> {
  // With a letter in the place of each value the rest must be a SPIFFE ID by itself.
  const sample = parseSpiffeId(text.replaceAll(new RegExp(PLACEHOLDER, "g"), "x"));
  if (!sample.ok) return refuse(`${sample.reason}; a value is written {kind.key}, such as {process.uid}`);
  const { path, trustDomain } = sample.value;
  if (path === "") return refuse("an agent's SPIFFE ID has a path, such as spiffe://corp/agents/one");
  if (isReserved(sample.value)) return refuse("SPIFFE IDs below /postern are the server's own");
  if (!text.startsWith(`spiffe://${trustDomain}/`))
    return refuse("the trust domain is fixed: no value stands in it");
  const segments: Segment[] = [];
  for (const part of text.slice(`spiffe://${trustDomain}/`.length).split("/")) {
    const match = PLACEHOLDER.exec(part);
    if (match === null) {
      segments.push({ before: part, selector: undefined, after: "" });
      continue;
    }
    const [whole, kind, key] = match;
    const after = part.slice(match.index + whole.length);
    if (PLACEHOLDER.test(after))
      return refuse(
        "one segment holds one value at most: with two, different facts could give the same SPIFFE ID",
      );
    segments.push({ before: part.slice(0, match.index), selector: `${kind}:${key}=`, after });
  }
  return ok({ trustDomain, segments });
}

/** The ID for a caller of whom these selectors hold. Refuses where a fact is missing, or not one. */
export function fillTemplate(
  { trustDomain, segments }: SpiffeIdTemplate,
  selectors: Iterable<string>,
): Result<SpiffeId, string> {
  const held = [...selectors];
  let text = `spiffe://${trustDomain}`;
  for (const { before, selector, after } of segments) {
    if (selector === undefined) {
      text += `/${before}`;
      continue;
    }
    const values = held.filter((each) => each.startsWith(selector));
    const [first, ...more] = values;
    if (first === undefined) return refuse(`nothing is known of ${selector.slice(0, -1)}`);
    if (more.length > 0) return refuse(`${selector.slice(0, -1)} has several values`);
    const value = first.slice(selector.length);
    if (!isPathSegment(value) || !isPathSegment(before + value + after))
      return refuse(`the value of ${selector.slice(0, -1)} cannot stand in a SPIFFE ID`);
    text += `/${before}${value}${after}`;
  }
  if (text.length > MOST_ID_BYTES) return refuse("the SPIFFE ID would be too long");
  const id = parseSpiffeId(text);
  return id.ok && isReserved(id.value) ? refuse("the SPIFFE ID would be one of the server's own") : id;
}

/** The template with the values that these selectors fix: all that its agent can ever get. */
export function narrowTemplate(template: SpiffeIdTemplate, selectors: readonly string[]): SpiffeIdTemplate {
  const segments = template.segments.map((segment) => {
    const { before, selector, after } = segment;
    const fixed = selector === undefined ? undefined : selectors.find((each) => each.startsWith(selector));
    if (selector === undefined || fixed === undefined) return segment;
    return { before: before + fixed.slice(selector.length) + after, selector: undefined, after: "" };
  });
  return { ...template, segments };
}

/** Whether some ID could come from both. */
export function templatesOverlap(a: SpiffeIdTemplate, b: SpiffeIdTemplate): boolean {
  return (
    a.trustDomain === b.trustDomain &&
    a.segments.length === b.segments.length &&
    a.segments.every((segment, index) => segmentsOverlap(segment, b.segments[index]!))
  );
}

/** Whether this ID could come from the template. */
export function matchesTemplate(template: SpiffeIdTemplate, { trustDomain, path }: SpiffeId): boolean {
  const segments = path
    .split("/")
    .slice(1)
    .map((before) => ({ before, selector: undefined, after: "" }));
  return templatesOverlap(template, { trustDomain, segments });
}

function segmentsOverlap(a: Segment, b: Segment): boolean {
  if (a.selector === undefined && b.selector === undefined) return a.before === b.before;
  if (a.selector === undefined) return isMadeBy(b, a.before);
  if (b.selector === undefined) return isMadeBy(a, b.before);
  const isStart = a.before.startsWith(b.before) || b.before.startsWith(a.before);
  return isStart && (a.after.endsWith(b.after) || b.after.endsWith(a.after));
}

const isMadeBy = ({ before, after }: Segment, text: string): boolean =>
  text.length > before.length + after.length && text.startsWith(before) && text.endsWith(after);
