// SPDX-License-Identifier: Apache-2.0
/** What does `docs/resources.md` say? Made from the schema of the contract and the notes on each field. */
import { resourceSchema } from "@postern/contract";
import { formatted, table } from "./markdown.ts";
import { FIELD_NOTES, KIND_NOTES } from "./resource-notes.ts";

/** The part of JSON Schema that zod writes for our shapes. */
interface Schema {
  readonly type?: string;
  readonly const?: string | number | boolean;
  readonly format?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxLength?: number;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly oneOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
}

export interface Field {
  /** As in the notes: `Agent.selectors`. */
  readonly key: string;
  /** As in YAML: `spec.selectors`. */
  readonly path: string;
  readonly type: string;
  readonly need: string;
}

export function resourceKinds(): { kind: string; fields: Field[] }[] {
  const schema = resourceSchema.toJSONSchema({ io: "input" }) as Schema;
  return (schema.oneOf ?? []).map(({ properties }) => {
    const kind = String(properties?.["kind"]?.const);
    return { kind, fields: fieldsOf(properties?.["spec"] ?? {}, kind, "spec") };
  });
}

/** Fields of an object, of objects in a list, and of all variants of a union, outer ones first. */
function fieldsOf(schema: Schema, key: string, path: string): Field[] {
  const one = schema.items ?? schema;
  const variants = one.oneOf ?? one.anyOf ?? [one];
  const names = [...new Set(variants.flatMap(({ properties }) => Object.keys(properties ?? {})))];
  return names.flatMap((name) => {
    const found = variants.flatMap(({ properties }) => properties?.[name] ?? []);
    const inner = found[0]!;
    const isRequired = variants.every(({ required }) => required?.includes(name) ?? false);
    const field = {
      key: `${key}.${name}`,
      path: `${path}.${name}`,
      type:
        found.length > 1 && found.every((each) => each.const !== undefined)
          ? constants(found)
          : typeOf(inner),
      need: found.some((each) => JSON.stringify(each.default) !== JSON.stringify(inner.default))
        ? ""
        : needOf(inner, isRequired),
    };
    return [field, ...fieldsOf(inner, field.key, `${field.path}${inner.type === "array" ? "[]" : ""}`)];
  });
}

const constants = (schemas: readonly Schema[]): string =>
  [...new Set(schemas.map((schema) => `\`${String(schema.const)}\``))].join(", ");

function needOf(schema: Schema, isRequired: boolean): string {
  if (schema.default !== undefined) return `default \`${JSON.stringify(schema.default)}\``;
  return isRequired ? "yes" : "";
}

function typeOf(schema: Schema): string {
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  if (schema.type === "array") {
    const { maxItems, minItems } = schema;
    const most = maxItems === undefined ? "" : `at most ${maxItems}`;
    const limits =
      minItems === undefined
        ? most
        : maxItems === undefined
          ? `at least ${minItems}`
          : `${minItems}–${maxItems}`;
    return `list (${limits}) of ${typeOf(schema.items ?? {})}`;
  }
  if (schema.type === "integer") return `integer, ${schema.minimum}–${schema.maximum}`;
  if (schema.type === "number") return `number, ${schema.minimum}–${schema.maximum}`;
  if (schema.format === "date") return "date";
  if (schema.format === "date-time") return "date and time with offset";
  if (schema.type === "boolean") return "`true` or `false`";
  if (schema.type === "object" || schema.oneOf !== undefined) return "object";
  if (schema.anyOf !== undefined)
    return [...new Set(schema.anyOf.map((each) => each.format ?? typeOf(each)))].join(" or ");
  return schema.maxLength === undefined ? "string" : `string, at most ${schema.maxLength}`;
}

export function resourcesPage(): Promise<string> {
  return formatted(
    [
      "# Resources",
      "",
      "Written by `tools/write-docs.ts` from the schema in `packages/contract/src/resources.ts`; do not edit it here.",
      "",
      "Everything an operator says is a resource, in YAML or JSON, in one file or many. `postern apply -f FILE` makes it so and says what changes. Unknown fields, references to what is not there and unsafe combinations are refused, with the place in the file.",
      "",
      "Every resource has `kind`, `metadata` and `spec`:",
      "",
      table(
        ["field", "needed", "meaning"],
        [
          ["`metadata.name`", "yes", FIELD_NOTES["metadata.name"] ?? ""],
          ["`metadata.description`", "", FIELD_NOTES["metadata.description"] ?? ""],
        ],
      ),
      "",
      ...resourceKinds().flatMap(({ kind, fields }) => [
        `## ${kind}`,
        "",
        KIND_NOTES[kind] ?? "",
        "",
        table(
          ["field", "type", "needed", "meaning"],
          fields.map(({ key, path, type, need }) => [`\`${path}\``, type, need, FIELD_NOTES[key] ?? ""]),
        ),
        "",
      ]),
    ].join("\n"),
  );
}
