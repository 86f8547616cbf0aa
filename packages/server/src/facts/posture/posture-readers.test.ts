// SPDX-License-Identifier: Apache-2.0
import type { PostureSourceSpec } from "@postern/contract";
import { postureSourceSpec } from "@postern/contract";
import { describe, expect, it } from "vitest";
import { ok, refuse, type Result } from "../../kernel/result.ts";
import { Secret } from "../../kernel/secret.ts";
import { crowdstrike } from "./crowdstrike.ts";
import type { Question } from "./posture-reader.ts";
import { report } from "./report.ts";
import { wiz } from "./wiz.ts";

const NOW = Date.parse("2026-11-21T12:00:00Z");
const secret = () => Secret.fromUtf8("the client's");
type Of<K extends string> = Extract<PostureSourceSpec, { kind: K }>;
const spec = <K extends string>(kind: K, more: object = {}) =>
  postureSourceSpec.parse({ kind, ...more }) as Of<K>;

/** Answers by path, in turn where there are several. */
function answering(answers: Readonly<Record<string, readonly unknown[]>>) {
  const left = new Map(Object.entries(answers).map(([path, list]) => [path, [...list]]));
  const asked: Question[] = [];
  const ask = async (question: Question): Promise<Result<unknown, string>> => {
    asked.push(question);
    const answer = left.get(question.url.pathname)?.shift();
    return answer === undefined ? refuse("authority_status_404") : ok(answer);
  };
  return { ask, asked };
}

const TOKEN = { access_token: "t", expires_in: 1799, token_type: "bearer" };
const client = { clientId: "c", secret: "s", subject: "aws-ec2:instance-id={instance_id}" };

describe("CrowdStrike", () => {
  const host = (more: object = {}) => ({
    ...{ device_id: "a1", hostname: "h", instance_id: "i-1", status: "normal" },
    ...{ reduced_functionality_mode: "no", last_seen: "2026-11-21T11:59:00Z" },
    ...more,
  });
  const falcon = (hosts: readonly object[], scores: object = { resources: [] }) =>
    answering({
      "/oauth2/token": [TOKEN],
      "/devices/queries/devices-scroll/v1": [
        { meta: { pagination: { total: 2, offset: "next" } }, resources: ["a1"] },
        { meta: { pagination: { total: 2, offset: "" } }, resources: ["a2"] },
      ],
      "/devices/entities/devices/v2": [{ resources: hosts }],
      "/zero-trust-assessment/entities/assessments/v1": [scores],
    });
  const read = (ask: Parameters<ReturnType<typeof crowdstrike>>[0], more: object = {}) =>
    crowdstrike(spec("crowdstrike", { ...client, ...more }), secret())(ask, NOW);

  it("says of each host what its sensor is and scores, from when the cloud last heard of it", async () => {
    const scores = { resources: [{ aid: "a1", assessment: { overall: 87, os: 80, sensor_config: 90 } }] };
    const { ask, asked } = falcon([host()], scores);
    expect(await read(ask, { filter: "platform_name:'Linux'" })).toEqual(
      ok([
        {
          ...{ subject: "aws-ec2:instance-id=i-1", observedAt: NOW - 60_000 },
          facts: {
            ...{ "crowdstrike.status": "normal", "crowdstrike.reduced-functionality": false },
            "crowdstrike.zero-trust-score": 87,
          },
        },
      ]),
    );
    expect(asked.map(({ method, url }) => `${method} ${url.pathname}${url.search}`)).toEqual([
      "POST /oauth2/token",
      "GET /devices/queries/devices-scroll/v1?limit=1000&filter=platform_name%3A%27Linux%27",
      "GET /devices/queries/devices-scroll/v1?limit=1000&filter=platform_name%3A%27Linux%27&offset=next",
      "POST /devices/entities/devices/v2",
      "GET /zero-trust-assessment/entities/assessments/v1?ids=a1&ids=a2",
    ]);
    expect(asked[0]!.body!.toString()).toBe(
      "grant_type=client_credentials&client_id=c&client_secret=the+client%27s",
    );
    expect(asked.slice(1).every(({ headers }) => headers["authorization"] === "Bearer t")).toBe(true);
    expect(asked[3]!.body!.toString()).toBe('{"ids":["a1","a2"]}');
  });

  it.each([
    ["has no such member", host({ instance_id: undefined })],
    ["has a member that is no text", host({ instance_id: ["i-1"] })],
    ["has a space in it", host({ instance_id: "i-1 x" })],
    ["was never heard of", host({ last_seen: undefined })],
  ])("says nothing of a host that %s", async (_, each) => {
    expect(await read(falcon([each]).ask)).toEqual(ok([]));
  });

  it("says nothing of an instance of which two hosts speak", async () => {
    const hosts = [host(), host({ device_id: "a2", status: "contained" })];
    expect(await read(falcon(hosts).ask)).toEqual(ok([]));
  });

  it("knows no score where there is none, and takes any other mode than none for reduced", async () => {
    const { ask } = falcon([host({ reduced_functionality_mode: "yes", status: "contained" })]);
    expect(await read(ask)).toMatchObject({
      value: [{ facts: { "crowdstrike.status": "contained", "crowdstrike.reduced-functionality": true } }],
    });
  });

  it.each([
    ["no token", { "/oauth2/token": [{}] }, "token_malformed"],
    ["a token with a line break", { "/oauth2/token": [{ access_token: "a\nb" }] }, "token_malformed"],
    ["no answer", { "/oauth2/token": [TOKEN] }, "authority_status_404"],
    [
      "ids that would change the path",
      { "/oauth2/token": [TOKEN], "/devices/queries/devices-scroll/v1": [{ resources: ["a&ids=b"] }] },
      "answer_malformed",
    ],
  ])("with %s says nothing at all", async (_, answers, reason) => {
    expect(await read(answering(answers).ask)).toEqual(refuse(reason));
  });

  it("whose pages never end says nothing at all", async () => {
    const page = { meta: { pagination: { offset: "again" } }, resources: ["a1"] };
    const { ask } = answering({
      "/oauth2/token": [TOKEN],
      "/devices/queries/devices-scroll/v1": Array.from({ length: 1000 }, () => page),
    });
    expect(await read(ask)).toEqual(refuse("answer_of_too_many"));
  });
});

describe("Wiz", () => {
  const url = "https://api.eu1.app.wiz.io/graphql";
  const counts = {
    lowSeverityCount: 4,
    mediumSeverityCount: 3,
    highSeverityCount: 2,
    criticalSeverityCount: 1,
  };
  const node = (more: object = {}) => ({
    ...{ id: "n1", name: "vm", type: "VIRTUAL_MACHINE", externalId: "i-1", issueAnalytics: counts },
    ...{ graphEntity: { id: "g", type: "VIRTUAL_MACHINE", properties: { providerUniqueId: "arn:x" } } },
    ...more,
  });
  const page = (nodes: readonly object[], endCursor?: string) => ({
    data: {
      cloudResourcesV2: {
        pageInfo: { hasNextPage: endCursor !== undefined, endCursor: endCursor ?? null },
        nodes,
      },
    },
  });
  const read = (pages: readonly unknown[], subject = "aws-ec2:instance-id={externalId}") => {
    const { ask, asked } = answering({ "/oauth/token": [TOKEN], "/graphql": pages });
    return { asked, done: wiz(spec("wiz", { ...client, subject, url }), secret())(ask, NOW) };
  };

  it("says how many issues of each severity are open, zeros too, page by page", async () => {
    const none = Object.fromEntries(Object.keys(counts).map((name) => [name, 0]));
    const second = node({ externalId: "i-2", issueAnalytics: none });
    const { asked, done } = read([page([node()], "c1"), page([second])]);
    expect(await done).toMatchObject({
      value: [
        {
          ...{ subject: "aws-ec2:instance-id=i-1", observedAt: NOW },
          facts: {
            "wiz.issues.critical": 1,
            "wiz.issues.high": 2,
            "wiz.issues.medium": 3,
            "wiz.issues.low": 4,
          },
        },
        { subject: "aws-ec2:instance-id=i-2", facts: { "wiz.issues.critical": 0 } },
      ],
    });
    expect(asked[0]).toMatchObject({ url: new URL("https://auth.app.wiz.io/oauth/token") });
    expect(asked[0]!.body!.toString()).toContain("audience=wiz-api");
    const variables = asked
      .slice(1)
      .map(({ body }) => (JSON.parse(body!.toString()) as { variables: object }).variables);
    expect(variables).toEqual([
      { first: 500, after: null, filterBy: { type: { equals: ["VIRTUAL_MACHINE"] } } },
      { first: 500, after: "c1", filterBy: { type: { equals: ["VIRTUAL_MACHINE"] } } },
    ]);
  });

  it("may be told by a member of its graph, which does not hide one of the entry", async () => {
    expect(await read([page([node()])], "x:arn={providerUniqueId}").done).toMatchObject({
      value: [{ subject: "x:arn=arn:x" }],
    });
    const graphEntity = { properties: { externalId: "i-of-somebody-else" } };
    expect(await read([page([node({ graphEntity })])]).done).toMatchObject({
      value: [{ subject: "aws-ec2:instance-id=i-1" }],
    });
  });

  it("says nothing of a resource whose issues were not counted", async () => {
    expect(await read([page([node({ issueAnalytics: { lowSeverityCount: 0 } })])]).done).toEqual(ok([]));
  });

  it.each([
    ["errors beside data", { ...page([node()]), errors: [{ message: "partial" }] }],
    ["no data", {}],
    [
      "a next page that has no name",
      { data: { cloudResourcesV2: { pageInfo: { hasNextPage: true }, nodes: [] } } },
    ],
  ])("with %s says nothing at all", async (_, answer) => {
    expect(await read([answer]).done).toEqual(refuse("answer_malformed"));
  });
});

describe("a source of reports", () => {
  const url = "https://watch.example/posture";
  const read = (answer: unknown, token?: Secret) => {
    const { ask, asked } = answering({ "/posture": [answer] });
    return { asked, done: report(spec("report", { url }), token)(ask, NOW) };
  };
  const one = { subject: "machine", validFor: 60, facts: { healthy: true } };

  it("says what it says, and is shown the token", async () => {
    const { asked, done } = read({ reports: [one] }, secret());
    expect(await done).toEqual(ok([{ ...one, observedAt: NOW }]));
    expect(asked[0]!.headers["authorization"]).toBe("Bearer the client's");
  });

  it.each([
    ["no list", {}],
    ["one that is no report", { reports: [one, { subject: "x" }] }],
    ["one in another's name", { reports: [{ ...one, source: "edr" }] }],
  ])("with %s says nothing at all", async (_, answer) => {
    expect(await read(answer).done).toEqual(refuse("answer_malformed"));
  });
});
