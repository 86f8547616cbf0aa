// SPDX-License-Identifier: Apache-2.0
/** How does a text that an agent may have written look on a terminal, so that it cannot steer it? */

/** Control, format and private characters and lone surrogates, and what starts a new line. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

export const printable = (text: string): string =>
  text.replaceAll(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
