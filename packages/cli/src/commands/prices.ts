// SPDX-License-Identifier: Apache-2.0
/** `postern price import`: a PriceList of a file of prices, for a person to read and apply. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { type Command, FilesError, listFlag, nameOf, oneWord, stringFlag, UsageError } from "../command.ts";
import { importPrices, type Imported } from "../price-import.ts";
import { printable } from "../printable.ts";

const importCommand: Command = {
  name: "price import",
  usage: "price import FILE",
  summary: "make a PriceList of a file of prices in LiteLLM's format, to read and apply",
  flags: {
    provider: { type: "string", value: "NAME", help: "whose models, as `litellm_provider` has it" },
    workload: { type: "string", multiple: true, value: "NAME", help: "server workload with these prices" },
    model: { type: "string", multiple: true, value: "NAME", help: "only this model (default: all)" },
    name: { type: "string", value: "NAME", help: "of the PriceList (default: PROVIDER-prices)" },
    date: { type: "string", value: "DATE", help: "the day for which you have checked them: YYYY-MM-DD" },
  },
  details:
    "Nothing is fetched and nothing is changed: the list goes to standard output, for `postern apply -f`. Its version is the\nbeginning of the file's SHA-256. Whoever applies it has checked the prices.",
  run: async (invocation) => {
    const { flags } = invocation;
    const file = oneWord(invocation, "file of prices");
    const [provider, date] = [stringFlag(flags["provider"]), stringFlag(flags["date"])];
    const serverWorkloads = listFlag(flags["workload"]).map(nameOf);
    if (provider === undefined || date === undefined || serverWorkloads.length === 0)
      throw new UsageError("give --provider, --workload and --date");
    const name = nameOf(stringFlag(flags["name"]) ?? `${provider}-prices`);
    const bytes = read(file);
    const digest = createHash("sha256").update(bytes).digest("hex");
    const imported = attempt(file, () =>
      importPrices(bytes.toString("utf8"), {
        ...{ provider, date, name, serverWorkloads, models: listFlag(flags["model"]) },
        ...{ version: digest.slice(0, 12), source: `${basename(file)}, sha256 ${digest}` },
      }),
    );
    for (const note of imported.notes) invocation.note(printable(note));
    invocation.note(`${imported.count} models; read the list, then: postern apply -f FILE`);
    invocation.print(imported.yaml.trimEnd());
    return 0;
  },
};

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch {
    throw new FilesError(`${printable(file)} cannot be read`, []);
  }
}

function attempt(file: string, make: () => Imported): Imported {
  try {
    return make();
  } catch (error) {
    throw new FilesError(`${printable(file)}: ${printable((error as Error).message)}`, []);
  }
}

export const priceCommands: readonly Command[] = [importCommand];
