// SPDX-License-Identifier: Apache-2.0
/**
 * Is a Cedar text shallow enough to be handed to the Cedar library?
 *
 * Its parser and evaluator are recursive on a stack of about 1 MiB inside WebAssembly. Overrunning it (from some
 * 120 nested brackets on) traps, and every later call of the process traps too: all access would be denied until
 * a restart. So depth is measured here, before and after parsing.
 */

/** Nested brackets plus `if`s of one policy. The library fails from about 100 nested records on. */
const MAX_NESTING = 40;
/** Tokens of one policy: bounds chains such as `a && b && …`, which parse up to some thousand. */
const MAX_TOKENS = 4000;
/** Nested objects in Cedar's JSON form, about two per expression. The evaluator fails between 400 and 1000. */
const MAX_JSON_DEPTH = 250;

/** A reason not to parse `text`, or undefined. */
export function cedarTextProblem(text: string): string | undefined {
  if (!text.isWellFormed()) return "is not well-formed Unicode";
  let depth = 0;
  let deepest = 0;
  let conditionals = 0;
  let tokens = 0;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token.startsWith("//")) continue;
    tokens++;
    if (token === "if") conditionals++;
    if (token === ";") depth = deepest = conditionals = tokens = 0;
    else if ("([{".includes(token)) deepest = Math.max(deepest, ++depth);
    else if (")]}".includes(token)) depth = Math.max(0, depth - 1);
    if (deepest + conditionals > MAX_NESTING)
      return `nests deeper than ${MAX_NESTING} levels; split the policy`;
    if (tokens > MAX_TOKENS) return `holds a policy of more than ${MAX_TOKENS} tokens; split it`;
  }
  return undefined;
}

/** As Cedar's lexer: a comment ends at either line end; a string may span lines and may be unterminated here. */
const TOKEN = /\/\/[^\n\r]*|"(?:\\[^]|[^"\\])*"?|[A-Za-z0-9_]+|\S/g;

/** A reason not to evaluate the parsed policy, or undefined. Walks without recursion. */
export function cedarDepthProblem(json: unknown): string | undefined {
  const open: { value: unknown; depth: number }[] = [{ value: json, depth: 0 }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, depth } = next;
    if (depth > MAX_JSON_DEPTH)
      return "chains too many operators; split the policy, or use a set and `contains`";
    if (typeof value !== "object" || value === null) continue;
    for (const child of Object.values(value)) open.push({ value: child, depth: depth + 1 });
  }
  return undefined;
}
