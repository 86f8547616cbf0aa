// SPDX-License-Identifier: Apache-2.0
/** Text of a stranger as a terminal can show it without being led astray. */

/** Controls, separators of lines, what has no picture or stands for nothing, what turns the direction of the text around it, odd blanks. */
const DECEIVING =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/gu;

const named = (character: string): string => `\\u{${character.codePointAt(0)!.toString(16)}}`;

/** On one line. A backslash stays: the escapes cannot be told from text that spells them, but hide nothing. */
export const visible = (text: string): string => text.replaceAll(DECEIVING, named);
