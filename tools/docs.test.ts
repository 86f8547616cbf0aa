// SPDX-License-Identifier: Apache-2.0
/** Do the documents say what the code does? Both ways: nothing missing, nothing that is not there. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { PROBLEMS } from "@postern/contract";
import { describe, expect, it } from "vitest";
import { commands } from "../packages/cli/src/commands.ts";
import { cliPage } from "./cli-page.ts";
import { firstCells, markdownFiles, ROOT, sectionsOf } from "./markdown.ts";
import { FIELD_NOTES, KIND_NOTES } from "./resource-notes.ts";
import { resourceKinds, resourcesPage } from "./resources-page.ts";
import { spiffePage } from "./spiffe-page.ts";

const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const pages = markdownFiles();

describe("docs/errors.md", () => {
  const sections = sectionsOf(read("docs/errors.md"));

  it("has a heading for every problem code, and no other", () => {
    expect([...sections.keys()]).toEqual(Object.keys(PROBLEMS));
  });

  it.each(Object.entries(PROBLEMS))(
    "says of %s what the table says",
    (code, { title, status, retryable, nextStep, proxyError }) => {
      const retry = retryable ? "later" : "is of no use";
      const section = sections.get(code);
      expect(section).toContain(
        `**${title}** · status ${status} · retry ${retry} · \`Proxy-Status\` error \`${proxyError}\``,
      );
      expect(section).toContain(`Next: ${nextStep}`);
    },
  );
});

describe("pages that are made from code", () => {
  it("docs/cli.md has every command and flag", async () => {
    expect(read("docs/cli.md"), "run `npm run docs`").toBe(await cliPage());
    expect([...sectionsOf(read("docs/cli.md")).keys()]).toEqual(
      commands.map(({ name }) => `postern ${name}`),
    );
  });

  it("docs/resources.md has every kind and field", async () => {
    expect(read("docs/resources.md"), "run `npm run docs`").toBe(await resourcesPage());
  });

  it("docs/spiffe.md has every rule", async () => {
    expect(read("docs/spiffe.md"), "run `npm run docs`").toBe(await spiffePage());
  });

  it("every field has a note, and every note a field", () => {
    const kinds = resourceKinds();
    const keys = kinds.flatMap(({ fields }) => fields.map(({ key }) => key));
    expect(keys.length).toBeGreaterThan(30);
    expect(
      Object.keys(FIELD_NOTES)
        .filter((key) => !key.startsWith("metadata."))
        .toSorted(),
    ).toEqual(keys.toSorted());
    expect(Object.keys(KIND_NOTES).toSorted()).toEqual(kinds.map(({ kind }) => kind).toSorted());
  });
});

describe("docs/config.md", () => {
  const source = read("packages/server/src/config/config.ts");
  const page = read("docs/config.md");

  it("has every option of the server, and no other", () => {
    const from = source.indexOf("options: {");
    const block = source.slice(from, source.indexOf("});", from));
    const names = [...block.matchAll(/^\s+"?([a-z0-9-]+)"?: \{ type:/gm)].map(([, name]) => `--${name}`);
    expect(names.length).toBeGreaterThan(3);
    const rows = firstCells(sectionsOf(page).get("The server") ?? "").filter((cell) => cell.startsWith("--"));
    expect(rows.toSorted()).toEqual(names.toSorted());
  });

  it("has every variable that is read", () => {
    const text = source + read("packages/cli/src/main.ts");
    const names = [...text.matchAll(/(?:environment|env)\["([A-Z_]+)"\]/g)].map(([, name]) => name!);
    expect(names.length).toBeGreaterThan(2);
    expect(names.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
  });

  it("names files that are there", () => {
    expect(firstCells(page).length).toBeGreaterThan(10);
    const files = [...page.matchAll(/`(packages\/[^`]+)`/g)].map(([, file]) => file!);
    expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
  });
});

describe("docs/dependencies.md", () => {
  const sections = sectionsOf(read("docs/dependencies.md"));

  it.each(readdirSync(join(ROOT, "packages")))(
    "has every runtime dependency of %s with a reason, and no other",
    (folder) => {
      const { name, dependencies = {} } = JSON.parse(read(`packages/${folder}/package.json`)) as {
        name: string;
        dependencies?: Record<string, string>;
      };
      const foreign = Object.keys(dependencies).filter((dependency) => !dependency.startsWith("@postern/"));
      const section = sections.get(name) ?? "";
      const rows = firstCells(section).filter((cell) => cell !== "package" && cell !== "");
      expect(rows.toSorted()).toEqual(foreign.toSorted());
      expect(section).not.toMatch(/\|\s*\|\s*$/m);
    },
  );
});

describe("ARCHITECTURE.md", () => {
  const rows = [...read("ARCHITECTURE.md").matchAll(/^\| \d+ +\| \[([^\]]+\.ts)\].*?\| ([^|]*) \|$/gm)];

  it("has a row for every stage, in order", () => {
    const files = readdirSync(join(ROOT, "packages/server/src/gateway/stages")).filter((file) =>
      /^\d+-(?!.*test).*\.ts$/.test(file),
    );
    expect(rows.map(([, file]) => file)).toEqual(
      files.toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10)),
    );
  });

  it("names every code that stands in a stage, and only codes that are there", () => {
    for (const [, file, codes] of rows) {
      const named = [...codes!.matchAll(/`([a-z_]+)`/g)].map(([, code]) => code!);
      const text = read(`packages/server/src/gateway/stages/${file}`);
      const used = Object.keys(PROBLEMS).filter(
        (code) => text.includes(`"${code}"`) && file !== "13-record-outcome.ts",
      );
      expect(
        used.filter((code) => !named.includes(code)),
        file,
      ).toEqual([]);
      expect(
        named.filter((code) => !(code in PROBLEMS)),
        file,
      ).toEqual([]);
    }
  });
});

describe("every page", () => {
  it("was read", () => {
    expect(pages).toEqual(
      expect.arrayContaining(["README.md", "docs/storage.md", "docs/guides/policies.md"]),
    );
    expect(pages.length).toBeGreaterThan(20);
  });

  it.each(pages)("%s has no broken link", (page) => {
    expect(brokenLinks(page)).toEqual([]);
  });

  it.each(pages)("%s names commands and flags that exist", (page) => {
    expect(unknownCommands(read(page))).toEqual([]);
  });

  it.each(pages)("%s speaks of the product, not of a machine or of how it was made", (page) => {
    const text = read(page);
    expect(text).not.toMatch(/(?<![\w.~])\/(?:work|tmp|root)\//);
    expect(text).not.toMatch(/\b(?:sessions?|helpers?|sub-?agents?)\b/i);
  });

  it("would find what is wrong", () => {
    expect(unknownCommands("`postern fly` and ./postern run --far, `npm run nothing`")).toHaveLength(3);
    expect(unknownCommands("`postern audit verify log.jsonl --key K`, ./postern secret set a")).toEqual([]);
  });
});

function brokenLinks(page: string): string[] {
  const links = [...withoutCode(read(page)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);
  return links.filter((target) => {
    if (/^(https?:|mailto:)/.test(target)) return false;
    const [path = "", anchor] = target.split("#");
    const file = path === "" ? page : join(dirname(page), path);
    if (!existsSync(join(ROOT, file))) return true;
    return anchor !== undefined && !headings(read(file)).includes(anchor);
  });
}

const withoutCode = (markdown: string): string => markdown.replaceAll(/```[^]*?```/g, "");

/** Anchors as GitHub makes them. */
const headings = (markdown: string): string[] =>
  [...withoutCode(markdown).matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
    title!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );

/** `postern …` in code, and `npm run …`. Words in capitals and dots stand for others. */
function unknownCommands(markdown: string): string[] {
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  const npm = [...markdown.matchAll(/npm run ([a-z][a-z0-9:-]*)/g)].filter(
    ([, script = ""]) => !(script in scripts),
  );
  const postern = [...markdown.matchAll(/(?:\.\/|`|\| |^)postern ((?:[a-z-]+)(?: [^`\n|]*)?)/gm)].filter(
    ([, words]) => !isKnown(words!),
  );
  return [...npm, ...postern].map(([found]) => found);
}

function isKnown(text: string): boolean {
  if (text === "is ready") return true; // what the server prints
  const words = text.split(/\s+/);
  const command = commands.find(({ name }) => name === words.slice(0, name.split(" ").length).join(" "));
  if (command === undefined) return false;
  const own = words.includes("--") ? words.slice(0, words.indexOf("--")) : words;
  const shorts = Object.values(command.flags).map(({ short }) => `-${short}`);
  const longs = [...Object.keys(command.flags), "data", "json", "help"].map((name) => `--${name}`);
  const flags = own.flatMap((word) => /^--?[a-z][a-z-]*/.exec(word) ?? []);
  return flags.every((flag) => [...shorts, ...longs].includes(flag));
}
