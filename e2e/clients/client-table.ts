// SPDX-License-Identifier: Apache-2.0
/** How are the outcomes shown to people, in the terminal and in the guide? */
import type { Client, Way } from "./clients.ts";

export interface Outcome {
  readonly client: Client;
  readonly version: string;
  readonly way: Way;
  readonly problems: readonly string[];
}

/** A Markdown table, padded as Prettier does it; one line per client. */
export function tableOf(outcomes: readonly Outcome[]): string {
  const rows = [["client", "version", "base URL", "proxy", "what you set"]];
  for (const client of new Set(outcomes.map((outcome) => outcome.client))) {
    const own = outcomes.filter((outcome) => outcome.client === client);
    const name = `${client.name} (${client.source})`;
    rows.push([
      name,
      own[0]!.version,
      mark(own, "base URL"),
      mark(own, "proxy"),
      client.userMust ?? "nothing",
    ]);
  }
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")} |`;
  const [head, ...body] = rows.map(line);
  return [head, line(widths.map((width) => "-".repeat(width))), ...body].join("\n");
}

function mark(outcomes: readonly Outcome[], way: Way): string {
  const outcome = outcomes.find((candidate) => candidate.way === way);
  if (outcome === undefined) return "–";
  return outcome.problems.length === 0 ? "✓" : "fails";
}

const BEGIN = "<!-- clients: begin, written by `npm run e2e:clients -- --docs` -->";
const END = "<!-- clients: end -->";

/** The document with the table between its markers replaced. */
export function replaceTable(document: string, table: string): string {
  const begin = document.indexOf(BEGIN);
  const end = document.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`the document needs the lines ${BEGIN} and ${END}`);
  return `${document.slice(0, begin + BEGIN.length)}\n\n${table}\n\n${document.slice(end)}`;
}
