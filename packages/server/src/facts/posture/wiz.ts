// SPDX-License-Identifier: Apache-2.0
/**
 * How are the cloud resources that Wiz scans? How many issues of each severity are open on each.
 *
 * Wiz's GraphQL API, `cloudResourcesV2`: it lists what has no issue, too. So a resource that Wiz does not know has no
 * facts, and one without issues has zeros.
 */
import type { PostureSourceSpec } from "@postern/contract";
import type { Instant } from "../../kernel/clock.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { Secret } from "../../kernel/secret.ts";
import { clientToken } from "./client-token.ts";
import * as reader from "./posture-reader.ts";

type Spec = Extract<PostureSourceSpec, { kind: "wiz" }>;

const { listOf, objectOf, textOf } = reader;

const QUERY = `query PosternPosture($first: Int, $after: String, $filterBy: CloudResourceV2Filters) {
  cloudResourcesV2(first: $first, after: $after, filterBy: $filterBy) {
    pageInfo { hasNextPage endCursor }
    nodes {
      id name type nativeType externalId
      graphEntity { id type properties }
      issueAnalytics { lowSeverityCount mediumSeverityCount highSeverityCount criticalSeverityCount }
    }
  }
}`;

const SEVERITIES = ["low", "medium", "high", "critical"] as const;

export const wiz =
  (spec: Spec, secret: Secret): reader.PostureReader =>
  async (ask, now) => {
    const more = { audience: "wiz-api" };
    const token = await clientToken(ask, { ...spec, url: new URL(spec.tokenUrl), secret, more });
    if (!token.ok) return token;
    const seen: reader.Seen[] = [];
    let after: string | null = null;
    for (let page = 0; page < reader.MOST_PAGES; page++) {
      const variables = { first: 500, after, filterBy: { type: { equals: spec.types } } };
      // eslint-disable-next-line no-await-in-loop
      const answer = await ask({
        ...{ url: new URL(spec.url), method: "POST" },
        headers: {
          ...{ accept: "application/json", "content-type": "application/json" },
          authorization: `Bearer ${token.value}`,
        },
        body: Buffer.from(JSON.stringify({ query: QUERY, variables })),
      });
      if (!answer.ok) return answer;
      const next = pageOf(answer.value, spec.subject, now);
      if (!next.ok) return next;
      seen.push(...next.value.seen);
      if (seen.length > reader.MOST_SEEN) return refuse("answer_of_too_many");
      if (next.value.after === undefined) return ok(reader.unambiguous(seen));
      after = next.value.after;
    }
    return refuse("answer_of_too_many");
  };

function pageOf(
  answer: unknown,
  template: string,
  now: Instant,
): Result<{ readonly seen: readonly reader.Seen[]; readonly after: string | undefined }, string> {
  const { data, errors } = objectOf(answer);
  const { nodes, pageInfo } = objectOf(objectOf(data)["cloudResourcesV2"]);
  // GraphQL answers with 200 and both: what is there of the data may be half of it.
  if (errors !== undefined || !Array.isArray(nodes)) return refuse("answer_malformed");
  const { endCursor, hasNextPage } = objectOf(pageInfo);
  const after = hasNextPage === true ? textOf(endCursor) : undefined;
  if (hasNextPage === true && after === undefined) return refuse("answer_malformed");
  const seen = listOf(nodes)
    .map(objectOf)
    .flatMap((node) => {
      const { properties } = objectOf(node["graphEntity"]);
      const subject = reader.subjectOf(template, { ...objectOf(properties), ...node });
      const facts = factsOf(objectOf(node["issueAnalytics"]));
      return subject === undefined || facts === undefined ? [] : [{ subject, facts, observedAt: now }];
    });
  return ok({ seen, after });
}

function factsOf(counts: reader.Json): Record<string, number> | undefined {
  const facts: Record<string, number> = {};
  for (const severity of SEVERITIES) {
    const count = counts[`${severity}SeverityCount`];
    if (typeof count !== "number") return undefined;
    facts[`wiz.issues.${severity}`] = count;
  }
  return facts;
}
