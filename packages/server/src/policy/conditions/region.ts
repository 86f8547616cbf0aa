// SPDX-License-Identifier: Apache-2.0
/**
 * Is the caller, or this machine, where it is wanted?
 *
 * By its address, and by what attestation knows of its cloud. A process of this machine is where the machine is. What
 * no source can tell is unknown: so is a place whose address stands in no file.
 */
import type { ConditionSpecOf } from "@postern/contract";
import ipaddr from "ipaddr.js";
import { contains, parseAddress } from "../../guard/special-purpose-address.ts";
import { type ConditionKind, met, type SpecProblem, unknown, unmet, type Verdict } from "./condition-kind.ts";
import type { ConditionFacts, Whereabouts } from "./facts.ts";

type Spec = ConditionSpecOf<"region">;

export const region: ConditionKind<Spec> = {
  scope: "caller",
  problems,
  conflict: (a, b) => {
    if (a.of !== b.of) return undefined;
    for (const field of ["countries", "continents"] as const) {
      const [first, second] = [
        a[field] as readonly string[] | undefined,
        b[field] as readonly string[] | undefined,
      ];
      if (first === undefined || second === undefined) continue;
      if (!first.some((each) => second.includes(each)))
        return `they have none of their \`${field}\` in common`;
    }
    return undefined;
  },
  judge: (spec) => {
    const networks = spec.networks?.map((text) => ipaddr.parseCIDR(text));
    return (facts) => {
      const bySelector = spec.selectors === undefined ? undefined : cloudRegion(spec.selectors, facts);
      if (bySelector?.holds === false) return bySelector;
      if ([spec.countries, spec.continents, networks].every((field) => field === undefined))
        return bySelector!;
      const addresses = addressesOf(spec, facts);
      if (addresses.length === 0)
        return unknown("the address of this machine is not known; see --public-address");
      // Of several addresses of one machine each has to be where it is wanted.
      const verdicts = addresses.map((address) => atAddress(address, spec, networks, facts));
      return verdicts.find(({ holds }) => !holds) ?? verdicts[0]!;
    };
  },
};

function addressesOf({ of }: Spec, { caller, sources }: ConditionFacts): readonly string[] {
  if (of === "caller" && caller.address !== undefined) return [caller.address];
  return sources.regions?.machine ?? [];
}

function cloudRegion(wanted: readonly string[], { caller }: ConditionFacts): Verdict {
  const found = wanted.find((selector) => caller.selectors.includes(selector));
  if (found !== undefined) return met(`attested is ${found}`);
  const names = new Set(wanted.map(nameOf));
  const same = caller.selectors.filter((selector) => names.has(nameOf(selector)));
  return same.length === 0
    ? unknown(`nothing is attested of ${[...names].join(", ")}`)
    : unmet(`attested is ${same.slice(0, 3).join(", ")}; wanted ${wanted.slice(0, 3).join(", ")}`);
}

const nameOf = (selector: string): string => selector.slice(0, selector.indexOf("="));

function atAddress(
  text: string,
  spec: Spec,
  networks: ReturnType<typeof ipaddr.parseCIDR>[] | undefined,
  { sources }: ConditionFacts,
): Verdict {
  const address = parseAddress(text);
  if (address === undefined) return unknown(`${text} is no address`);
  if (networks !== undefined && !networks.some((network) => contains(network, address)))
    return unmet(`${text} is in none of ${spec.networks?.slice(0, 3).join(", ")}`);
  if (spec.countries === undefined && spec.continents === undefined) return met(`the address is ${text}`);
  if (sources.regions === undefined)
    return unknown("there is no file that tells where addresses are; see --geoip-file");
  const place = sources.regions.locate(text);
  return (
    fits(text, place, "country", spec.countries) ??
    fits(text, place, "continent", spec.continents) ??
    met(`${text} is in ${placeText(place)}`)
  );
}

/** Undefined where it is as wanted. */
function fits(
  address: string,
  place: Whereabouts | undefined,
  field: "country" | "continent",
  wanted: readonly string[] | undefined,
): Verdict | undefined {
  if (wanted === undefined) return undefined;
  const found = place?.[field];
  if (found === undefined) return unknown(`nobody knows the ${field} of ${address}`);
  return wanted.includes(found)
    ? undefined
    : unmet(`${address} is in ${placeText(place)}; wanted ${wanted.slice(0, 10).join(", ")}`);
}

const placeText = (place: Whereabouts | undefined): string =>
  [place?.country, place?.continent].filter((each) => each !== undefined).join(", ");

function problems(spec: Spec): SpecProblem[] {
  const found: SpecProblem[] = [];
  const countries = new Intl.DisplayNames("en", { type: "region", fallback: "none" });
  for (const [index, code] of (spec.countries ?? []).entries()) {
    if (countries.of(code) !== undefined && !NO_COUNTRIES.has(code)) continue;
    const hint = code === "UK" ? "the United Kingdom is `GB`" : "use the codes of ISO 3166-1";
    found.push({ path: ["countries", index], message: `there is no country \`${code}\`; ${hint}` });
  }
  for (const [index, text] of (spec.networks ?? []).entries()) {
    const [base, bits] = ipaddr.parseCIDR(text);
    const first = (base.kind() === "ipv4" ? ipaddr.IPv4 : ipaddr.IPv6)
      .networkAddressFromCIDR(text)
      .toString();
    if (bits === 0)
      found.push({
        path: ["networks", index],
        message: "holds every address; remove `networks`, or name a network",
      });
    else if (base instanceof ipaddr.IPv6 && base.isIPv4MappedAddress())
      found.push({ path: ["networks", index], message: "is an IPv4-mapped network; write it as IPv4" });
    else if (first !== base.toString())
      found.push({ path: ["networks", index], message: `begins at ${first}; write \`${first}/${bits}\`` });
  }
  if (spec.of === "machine" && spec.selectors !== undefined)
    found.push({ path: ["selectors"], message: "are facts about the caller; remove `of: machine`" });
  return found;
}

/** Codes that are not of countries although there is a name for them: unions, groups and aliases. */
const NO_COUNTRIES = new Set(["AC", "EU", "EZ", "UN", "UK", "XA", "XB", "ZZ", "QO", "SU", "DD", "YU", "FX"]);
