// SPDX-License-Identifier: Apache-2.0
/** Text of a stranger over several lines, so that none of them passes for one of ours. */
import { visible } from "@postern/server/visible-text";

/** Lines of the text, each behind a margin, so that none can pass for a line of ours. */
export const quotedLines = (text: string, margin = "  | "): string =>
  text
    .split("\n")
    .map((line) => margin + visible(line.replaceAll("\t", "    ")))
    .join("\n");

/** Bytes as text where they are UTF-8, else in hex. */
export function quotedBytes(bytes: Buffer, margin = "  | "): string {
  const text = bytes.toString("utf8");
  if (Buffer.from(text, "utf8").equals(bytes)) return quotedLines(text, margin);
  const hex = bytes.toString("hex");
  return `${margin}(not text; in hex)\n${hex.replaceAll(/.{1,64}/g, (line) => `${margin}${line}\n`).trimEnd()}`;
}
