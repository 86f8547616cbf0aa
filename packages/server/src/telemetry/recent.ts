// SPDX-License-Identifier: Apache-2.0
/** One answer for everybody who asks within a moment: asking without pause costs no more than asking now and then. */
export function recent<T>(
  make: () => Promise<T>,
  milliseconds: number,
  now: () => number = () => performance.now(),
): () => Promise<T> {
  let latest: { readonly at: number; readonly value: Promise<T> } | undefined;
  return () => {
    if (latest === undefined || now() - latest.at > milliseconds) latest = { at: now(), value: make() };
    return latest.value;
  };
}
