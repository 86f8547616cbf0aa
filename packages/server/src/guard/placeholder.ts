// SPDX-License-Identifier: Apache-2.0
/**
 * What the agent holds instead of a secret: a harmless value of the right shape.
 *
 * All placeholders carry one marker, so that a request in which one would still leave can be recognized
 * whatever provider it was made for.
 */

/** Stands in every placeholder; long enough never to occur by chance. */
export const PLACEHOLDER_MARKER = "PosternPlaceholder";

const marker = Buffer.from(PLACEHOLDER_MARKER, "latin1");

/** Fills `{marker}` in a profile's placeholder template. */
export const placeholderFrom = (template: string): string => template.replace("{marker}", PLACEHOLDER_MARKER);

/** Whether a text holds a placeholder, percent-encoded or in letters of either case too. */
export function holdsPlaceholder(text: string): boolean {
  return text.toLowerCase().includes(PLACEHOLDER_MARKER.toLowerCase());
}

/** Looks for the marker in a stream of body chunks. */
export class PlaceholderWatch {
  #tail: Buffer = Buffer.alloc(0);

  /** Whether the marker has ended within this chunk. */
  seesIn(chunk: Buffer): boolean {
    if (chunk.includes(marker)) return true;
    const seam = Buffer.concat([this.#tail, chunk.subarray(0, marker.length - 1)]);
    if (seam.includes(marker)) return true;
    this.#tail = Buffer.concat([this.#tail, chunk]).subarray(-(marker.length - 1));
    return false;
  }
}
