// SPDX-License-Identifier: Apache-2.0
/**
 * How are the hosts that CrowdStrike Falcon watches? Their sensor's state, and the score of Zero Trust Assessment.
 *
 * Falcon API: OAuth2 `/oauth2/token`, Hosts `devices/queries/devices-scroll/v1` and `devices/entities/devices/v2`, Zero
 * Trust Assessment `entities/assessments/v1`. What is said of a host was seen when the cloud last heard of it.
 */
import type { PostureSourceSpec } from "@postern/contract";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { Secret } from "../../kernel/secret.ts";
import { clientToken } from "./client-token.ts";
import * as reader from "./posture-reader.ts";

type Spec = Extract<PostureSourceSpec, { kind: "crowdstrike" }>;

const { listOf, objectOf, textOf } = reader;
/** Ids in one question: what fits into a URL. */
const AT_ONCE = 100;

export const crowdstrike =
  (spec: Spec, secret: Secret): reader.PostureReader =>
  async (ask) => {
    const token = await clientToken(ask, { ...spec, url: new URL("/oauth2/token", spec.url), secret });
    if (!token.ok) return token;
    const call = (path: string, body?: object) =>
      ask({
        ...{ url: new URL(path, spec.url), method: body === undefined ? "GET" : "POST" },
        headers: {
          ...{ accept: "application/json", authorization: `Bearer ${token.value}` },
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) }),
      });
    const ids = await hostIds(call, spec.filter);
    if (!ids.ok) return ids;
    const seen: reader.Seen[] = [];
    for (let index = 0; index < ids.value.length; index += AT_ONCE) {
      const some = ids.value.slice(index, index + AT_ONCE);
      // eslint-disable-next-line no-await-in-loop
      const [hosts, scores] = await Promise.all([
        call("/devices/entities/devices/v2", { ids: some }),
        call(`/zero-trust-assessment/entities/assessments/v1?${some.map((id) => `ids=${id}`).join("&")}`),
      ]);
      if (!hosts.ok) return hosts;
      // Not every customer has it: a score that is not there is a fact that is not there.
      const scoreOf = scoresOf(scores.ok ? scores.value : {});
      for (const host of listOf(objectOf(hosts.value)["resources"]).map(objectOf)) {
        const found = seenOf(spec.subject, host, scoreOf);
        if (found !== undefined) seen.push(found);
      }
    }
    return ok(reader.unambiguous(seen));
  };

type Call = (path: string, body?: object) => Promise<Result<unknown, string>>;

async function hostIds(call: Call, filter: string | undefined): Promise<Result<readonly string[], string>> {
  const ids: string[] = [];
  let offset: string | undefined;
  for (let page = 0; page < reader.MOST_PAGES; page++) {
    const query = new URLSearchParams({ limit: "1000" });
    if (filter !== undefined) query.set("filter", filter);
    if (offset !== undefined) query.set("offset", offset);
    // eslint-disable-next-line no-await-in-loop
    const answer = await call(`/devices/queries/devices-scroll/v1?${query.toString()}`);
    if (!answer.ok) return answer;
    const found = listOf(objectOf(answer.value)["resources"]);
    // Theirs are 32 hexadecimal digits; they go into URLs as they are.
    if (found.some((id) => typeof id !== "string" || !/^[0-9A-Za-z]{1,64}$/.test(id)))
      return refuse("answer_malformed");
    ids.push(...(found as string[]));
    if (ids.length > reader.MOST_SEEN) return refuse("answer_of_too_many");
    const { pagination } = objectOf(objectOf(answer.value)["meta"]);
    offset = textOf(objectOf(pagination)["offset"]);
    if (offset === undefined || found.length === 0) return ok([...new Set(ids)]);
  }
  return refuse("answer_of_too_many");
}

function scoresOf(answer: unknown): ReadonlyMap<string, number> {
  const scores = new Map<string, number>();
  for (const { aid, assessment } of listOf(objectOf(answer)["resources"]).map(objectOf)) {
    const { overall } = objectOf(assessment);
    if (typeof aid === "string" && typeof overall === "number") scores.set(aid, overall);
  }
  return scores;
}

function seenOf(
  template: string,
  host: reader.Json,
  scoreOf: ReadonlyMap<string, number>,
): reader.Seen | undefined {
  const subject = reader.subjectOf(template, host);
  const id = textOf(host["device_id"]);
  const observedAt = Date.parse(textOf(host["last_seen"]) ?? "");
  if (subject === undefined || id === undefined || Number.isNaN(observedAt)) return undefined;
  const status = textOf(host["status"]);
  const reduced = textOf(host["reduced_functionality_mode"]);
  const score = scoreOf.get(id);
  return {
    ...{ subject, observedAt },
    facts: {
      ...(status === undefined ? {} : { "crowdstrike.status": status.slice(0, 200) }),
      ...(reduced === undefined ? {} : { "crowdstrike.reduced-functionality": reduced !== "no" }),
      ...(score === undefined ? {} : { "crowdstrike.zero-trust-score": score }),
    },
  };
}
