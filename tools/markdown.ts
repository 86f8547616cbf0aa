// SPDX-License-Identifier: Apache-2.0
/** How does generated Markdown look? As Prettier leaves it. */
import { readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { format, resolveConfig } from "prettier";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));

export async function formatted(markdown: string): Promise<string> {
  const config = await resolveConfig(join(ROOT, "docs/page.md"));
  return format(markdown, { ...config, parser: "markdown" });
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** Paths of all Markdown files of the repository, from its root. */
export function markdownFiles(folder: string = ROOT): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return /^(node_modules|\..*)$/.test(entry.name) ? [] : markdownFiles(path);
    return entry.name.endsWith(".md") ? [relative(ROOT, path)] : [];
  });
}

/** The text under each heading of one level. */
export function sectionsOf(markdown: string, level = 2): Map<string, string> {
  const mark = `${"#".repeat(level)} `;
  const parts = `\n${markdown}`.split(`\n${mark}`).slice(1);
  return new Map(parts.map((part) => [part.split("\n", 1)[0]!.trim(), part.slice(part.indexOf("\n") + 1)]));
}

/** First cells of all rows of the tables in a text, without code marks. */
export function firstCells(markdown: string): string[] {
  return markdown
    .split("\n")
    .filter((line) => line.startsWith("|") && !/^\|\s*-/.test(line))
    .map((line) => line.split("|")[1]!.trim().replaceAll("`", ""));
}
