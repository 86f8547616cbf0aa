// SPDX-License-Identifier: Apache-2.0
/**
 * What does a YAML file say, and where?
 *
 * A plain subset of YAML 1.2: no aliases (so no bombs), no tags, no directives of other versions, no duplicate keys,
 * keys are plain words. Every document keeps the places of its values.
 */
import type { Place } from "@postern/contract";
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isScalar,
  LineCounter,
  type Node,
  parseAllDocuments,
  visit,
} from "yaml";
import { pathText, type PlaceWithoutMessage, type ResourcePath } from "./places.ts";

export interface SourceFile {
  readonly name: string;
  readonly text: string;
}

export interface YamlDocument {
  readonly value: unknown;
  /** The place of `path`, or of the nearest thing around it; of the key itself with `atKey`. */
  place(path: ResourcePath, atKey?: boolean): PlaceWithoutMessage;
}

const MAX_BYTES = 1024 * 1024;
const MAX_PROBLEMS = 100;

/** The documents that are sound, and the problems of those that are not. Empty documents are passed over. */
export function readYaml(file: SourceFile): { documents: YamlDocument[]; problems: Place[] } {
  const lines = new LineCounter();
  const placeAt = (offset: number, path: ResourcePath): PlaceWithoutMessage => {
    const { line, col } = lines.linePos(offset);
    return { file: file.name, line: Math.max(1, line), column: Math.max(1, col), path: pathText(path) };
  };
  if (Buffer.byteLength(file.text) > MAX_BYTES)
    return {
      documents: [],
      problems: [{ ...placeAt(0, []), message: "is larger than 1 MiB; split the file" }],
    };
  try {
    return readDocuments(file.text, lines, placeAt);
  } catch (error) {
    // The library recurses, and runs out of stack some thousand levels down.
    if (error instanceof RangeError)
      return { documents: [], problems: [{ ...placeAt(0, []), message: TOO_DEEP }] };
    throw error;
  }
}

const TOO_DEEP = "nests too deeply";

function readDocuments(
  text: string,
  lines: LineCounter,
  placeAt: (offset: number, path: ResourcePath) => PlaceWithoutMessage,
): { documents: YamlDocument[]; problems: Place[] } {
  // `uniqueKeys` of the library compares every pair of keys: quadratic. `unsoundPlaces` does it instead.
  const parsed = parseAllDocuments(text, { lineCounter: lines, uniqueKeys: false, prettyErrors: false });
  const documents: YamlDocument[] = [];
  const problems: Place[] = [];
  for (const document of Array.isArray(parsed) ? parsed : []) {
    if (isEmpty(document)) continue;
    const unsound = unsoundPlaces(document);
    problems.push(...unsound.map(({ offset, message }) => ({ ...placeAt(offset, []), message })));
    if (unsound.length > 0) continue;
    documents.push({
      value: document.toJS({ maxAliasCount: 0 }),
      place: (path, atKey = false) => placeAt(offsetOf(document, path, atKey), path),
    });
  }
  return { documents, problems: problems.slice(0, MAX_PROBLEMS) };
}

const isEmpty = ({ contents, errors }: Document.Parsed): boolean =>
  errors.length === 0 && (contents === null || (isScalar(contents) && contents.source === ""));

interface Unsound {
  readonly offset: number;
  readonly message: string;
}

function unsoundPlaces(document: Document.Parsed): Unsound[] {
  const unsound: Unsound[] = [...document.errors, ...document.warnings]
    .slice(0, MAX_PROBLEMS)
    .map(({ pos, message }) => ({
      offset: pos[0],
      message: message.startsWith("Maximum call stack")
        ? TOO_DEEP
        : message.charAt(0).toLowerCase() + message.slice(1),
    }));
  const yaml = document.directives.yaml;
  if (yaml.explicit === true && yaml.version !== "1.2")
    unsound.push({
      offset: document.range[0],
      message: `YAML ${yaml.version} is not read; remove the directive`,
    });
  if (document.errors.length > 0) return unsound;
  visit(document, {
    Node: (_, node) => {
      const message = unsoundNode(node);
      if (message !== undefined && unsound.length < MAX_PROBLEMS)
        unsound.push({ offset: startOf(node), message });
    },
    Map: (_, map) => {
      const seen = new Set<string>();
      for (const { key } of map.items) {
        if (!isScalar(key) || typeof key.value !== "string")
          unsound.push({ offset: startOf(key ?? map), message: "a key must be text" });
        else if (seen.has(key.value))
          unsound.push({ offset: startOf(key), message: `duplicate key \`${key.value}\`` });
        else seen.add(key.value);
      }
    },
  });
  return unsound;
}

function unsoundNode(node: Node): string | undefined {
  if (isAlias(node)) return "aliases are not read; write the value out";
  if ("anchor" in node && node.anchor !== undefined) return "anchors are not read; remove it";
  return node.tag === undefined ? undefined : "tags are not read; remove it";
}

const startOf = (node: unknown): number =>
  typeof node === "object" && node !== null && "range" in node && Array.isArray(node.range)
    ? Number(node.range[0])
    : 0;

/** Scalars are found by their value, collections by their key: that is the line a person looks for. */
function offsetOf(document: Document.Parsed, path: ResourcePath, atKey: boolean): number {
  let node: unknown = document.contents;
  let offset = startOf(node);
  for (const [index, step] of path.entries()) {
    const isLast = index === path.length - 1;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === step);
      if (pair === undefined) return offset;
      node = pair.value;
      offset = isScalar(node) && node.range && !(isLast && atKey) ? node.range[0] : startOf(pair.key);
    } else if (isCollection(node)) {
      node = node.items[Number(step)];
      if (node === undefined) return offset;
      offset = startOf(node);
    } else return offset;
  }
  return offset;
}
