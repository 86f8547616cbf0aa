// SPDX-License-Identifier: Apache-2.0
/** Which resources do the operator's files hold? All errors at once, each with its place. */
import { type Place, resourceSchema } from "@postern/contract";
import { ok, refuse, type Result } from "../kernel/result.ts";
import type { ParsedResource } from "./places.ts";
import { issuesInWords } from "./schema-issues.ts";
import { readYaml, type SourceFile, type YamlDocument } from "./yaml-document.ts";

/** Parses YAML (or JSON, which is YAML) files of any number of documents. */
export function parseResources(files: readonly SourceFile[]): Result<ParsedResource[], Place[]> {
  const problems: Place[] = [];
  const parsed: ParsedResource[] = [];
  for (const file of files) {
    const { documents, problems: unsound } = readYaml(file);
    problems.push(...unsound);
    for (const document of documents) {
      const resource = parseDocument(document);
      if (resource.ok) parsed.push(resource.value);
      else problems.push(...resource.reason);
    }
  }
  problems.push(...duplicates(parsed));
  return problems.length === 0 ? ok(parsed) : refuse(problems);
}

function parseDocument(document: YamlDocument): Result<ParsedResource, Place[]> {
  const result = resourceSchema.safeParse(document.value);
  if (result.success) return ok({ resource: result.data, place: (path) => document.place(path) });
  return refuse(
    result.error.issues
      .flatMap((issue) => issuesInWords(issue, document.value))
      .map(({ path, isKey, message }) => ({ ...document.place(path, isKey), message })),
  );
}

function duplicates(parsed: readonly ParsedResource[]): Place[] {
  const first = new Map<string, ParsedResource>();
  return parsed.flatMap((entry) => {
    const { kind, metadata } = entry.resource;
    const earlier = first.get(`${kind}/${metadata.name}`);
    if (earlier === undefined) {
      first.set(`${kind}/${metadata.name}`, entry);
      return [];
    }
    const { file, line } = earlier.place(["metadata", "name"]);
    const message = `${kind} \`${metadata.name}\` is already at ${file}:${line}; keep one of them`;
    return [{ ...entry.place(["metadata", "name"]), message }];
  });
}
