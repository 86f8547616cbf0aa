// SPDX-License-Identifier: Apache-2.0
/** Do all servers find the same model in a query that `queryParameter` has read? */
import { queryParameter } from "../../packages/server/src/gateway/query-model.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const NAME = "model";

/** What servers do with queries, as pairs: by `&` or by `;` too, with plus signs as spaces or not. */
const pairsOf = (query: string): [string, string][] => [...new URL(`http://host/?${query}`).searchParams];

const READERS: Readonly<Record<string, (query: string) => [string, string][]>> = {
  "WHATWG URL": (query) => pairsOf(query),
  "semicolons, too": (query) => pairsOf(query.replaceAll(";", "&")),
  "names without case": (query) => pairsOf(query).map(([name, value]) => [name.toLowerCase(), value]),
  "brackets as lists": (query) => pairsOf(query).map(([name, value]) => [name.replace(/\[.*$/s, ""), value]),
  "names without spaces": (query) => pairsOf(query).map(([name, value]) => [name.trim(), value]),
};

function check(input: Buffer): void {
  const query = `?${input.toString("latin1").replaceAll(/[^!$-~]|#/g, "")}`;
  const found = queryParameter(query, NAME);
  for (const [name, read] of Object.entries(READERS)) {
    const values = read(query.slice(1)).filter(([key]) => key === NAME);
    if (!found.ok) continue;
    if (found.value === undefined) demandEqual(values, [], `absent, but read by: ${name}`);
    else
      demandEqual(
        values.map(([, value]) => value),
        [found.value],
        `read by: ${name}`,
      );
  }
  if (/^\?(?:[a-z]+=[a-z]+&)*model=[a-z]+$/.test(query) && query.split("model=").length === 2)
    demand(found.ok && found.value === query.split("model=")[1], "a plain query was not read");
}

const PARTS = [
  "model=a",
  "model=",
  "model",
  "Model=a",
  "mod%65l=a",
  "m%6Fdel=b",
  "model[]=a",
  "model%5B0%5D=a",
  "+model=a",
  "model+=a",
  "model=a;model=b",
  "model=%zz",
  "model=%ff",
  "model=a+b%20c",
  "&",
  ";",
  "=",
  "x=1",
  "%26model=a",
  "?model=a",
  "model%00=a",
  "%EF%BB%BFmodel=a",
];

const target: FuzzTarget = {
  parsers: ["packages/server/src/gateway/query-model.ts"],
  property:
    "What is read is the one value that readers with and without case, semicolons, brackets and spaces find; everything else is refused.",
  words: PARTS,
  make: (choose) => choose.list(6, () => choose.pick(PARTS)).join(choose.pick(["&", "&", ";", ""])),
  check,
};
export default target;
