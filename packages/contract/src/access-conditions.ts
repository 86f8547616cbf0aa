// SPDX-License-Identifier: Apache-2.0
/**
 * What may stand in `spec` of an AccessCondition: a shape for each kind of condition.
 *
 * A condition says what must hold, never what must not be the case: where nobody can tell, it does not hold.
 */
import { z } from "zod";
import { postureFactName } from "./posture.ts";

const date = z.iso.date("write the date as YYYY-MM-DD");

/** `24:00` is the end of the day. */
const span = z
  .string()
  .regex(
    /^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$/,
    "write FROM-UNTIL on a 24 hour clock, such as 09:00-17:00; 22:00-06:00 goes over midnight",
  );

const WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] as const;

const time = z
  .strictObject({
    kind: z.literal("time"),
    /** IANA name of a time zone. */
    zone: z
      .string()
      .max(100)
      .regex(/^[A-Za-z][A-Za-z0-9_+/-]*$/, "use the IANA name of a zone, such as Europe/Berlin"),
    weekdays: z.array(z.enum(WEEKDAYS)).min(1).max(7).optional(),
    hours: z.array(span).min(1).max(20).optional(),
    /** First day on which it can hold. */
    from: date.optional(),
    /** Last day on which it can hold. */
    until: date.optional(),
    /** Days on which it does not hold. */
    holidays: z.array(date).min(1).max(1000).optional(),
  })
  .refine(
    ({ weekdays, hours, from, until }) => [weekdays, hours, from, until].some((field) => field !== undefined),
    "say when: `weekdays`, `hours`, `from` or `until`",
  );

/** One verified fact, `kind:key=value`; matched exactly. */
const selector = z
  .string()
  .max(4200)
  .regex(/^[a-z0-9-]+:[a-z0-9-]+=.+$/, "write kind:key=value, such as kubernetes:namespace=prod");

/** `*` in the value stands for any run of characters; kind and key are exact. */
const selectorPattern = selector.max(500);

const network = z.union([z.cidrv4(), z.cidrv6()], "use a network, such as 10.1.0.0/16 or 2001:db8::/32");

const region = z
  .strictObject({
    kind: z.literal("region"),
    /** Whose place it is about: of the one who calls, or of the machine that this server runs on. */
    of: z.enum(["caller", "machine"]).default("caller"),
    /** ISO 3166-1 alpha-2. */
    countries: z
      .array(z.string().regex(/^[A-Z]{2}$/, "use a country code of two capitals, such as DE"))
      .min(1)
      .max(250)
      .optional(),
    continents: z
      .array(z.enum(["AF", "AN", "AS", "EU", "NA", "OC", "SA"]))
      .min(1)
      .max(7)
      .optional(),
    networks: z.array(network).min(1).max(500).optional(),
    /** Facts that name a region of a cloud. */
    selectors: z.array(selector).min(1).max(200).optional(),
  })
  .refine(
    ({ countries, continents, networks, selectors }) =>
      [countries, continents, networks, selectors].some((field) => field !== undefined),
    "say where: `countries`, `continents`, `networks` or `selectors`",
  );

const attested = z
  .strictObject({
    kind: z.literal("attested"),
    allOf: z.array(selector).min(1).max(50).optional(),
    anyOf: z.array(selector).min(1).max(200).optional(),
    noneOf: z.array(selector).min(1).max(200).optional(),
    anyOfPatterns: z.array(selectorPattern).min(1).max(50).optional(),
    noneOfPatterns: z.array(selectorPattern).min(1).max(50).optional(),
  })
  .refine((spec) => Object.keys(spec).length > 1, "say what is attested, such as `anyOf`");

const delegation = z
  .strictObject({
    kind: z.literal("delegation"),
    /** Through how many hands it may have come; 0 is the agent in its own name. */
    minDepth: z.int().min(0).max(100).optional(),
    maxDepth: z.int().min(0).max(100).optional(),
    /** In whose name it acts, exactly. */
    subjects: z.array(z.string().min(1).max(500)).min(1).max(200).optional(),
  })
  .refine((spec) => Object.keys(spec).length > 1, "say what: `minDepth`, `maxDepth` or `subjects`");

const scalar = z.union([z.string().max(1000), z.number().min(-1e15).max(1e15), z.boolean()]);
const bound = z.number().min(-1e15).max(1e15);

/** What one value of the body must be. */
const bodyField = z
  .strictObject({
    /** JSON pointer, RFC 6901. */
    pointer: z
      .string()
      .max(300)
      .regex(/^(\/([^~/]|~[01])*)+$/, "use a JSON pointer such as /temperature or /messages/0/role"),
    equals: scalar.optional(),
    in: z.array(scalar).min(1).max(200).optional(),
    min: bound.optional(),
    max: bound.optional(),
    /** It must not be there. */
    absent: z.literal(true).optional(),
    /** It may also not be there. */
    orAbsent: z.literal(true).optional(),
  })
  .refine(
    ({ equals, in: list, min, max, absent }) =>
      [
        equals !== undefined,
        list !== undefined,
        min !== undefined || max !== undefined,
        absent === true,
      ].filter(Boolean).length === 1,
    "say one thing of it: `equals`, `in`, `min` and `max`, or `absent`",
  )
  .refine(({ absent, orAbsent }) => absent === undefined || orAbsent === undefined, {
    message: "`absent` says it already",
    path: ["orAbsent"],
  });

const pattern = z.string().min(1).max(500);

const request = z
  .strictObject({
    kind: z.literal("request"),
    operations: z.array(z.string().min(1).max(100)).min(1).max(200).optional(),
    models: z.array(z.string().min(1).max(200)).min(1).max(200).optional(),
    modelPatterns: z.array(pattern).min(1).max(200).optional(),
    methods: z
      .array(z.string().regex(/^[A-Z]{1,20}$/, "use an upper-case method name"))
      .min(1)
      .max(20)
      .optional(),
    paths: z.array(z.string().startsWith("/").max(500)).min(1).max(200).optional(),
    pathPatterns: z.array(pattern.startsWith("/")).min(1).max(200).optional(),
    /** Each must be so. */
    body: z.array(bodyField).min(1).max(50).optional(),
  })
  .refine((spec) => Object.keys(spec).length > 1, "say what of the request, such as `body`");

/** `sha256:` and the digest that `postern why` shows of what a request had; `none` where it had nothing. */
const digest = z
  .string()
  .regex(/^(sha256:[0-9a-f]{64}|none)$/, "use sha256: and 64 lower-case hexadecimal digits, or none");

const configuration = z
  .strictObject({
    kind: z.literal("configuration"),
    /** What the system prompt may be. */
    systemPrompt: z.array(digest).min(1).max(100).optional(),
    /** What the definitions of tools may be. */
    tools: z.array(digest).min(1).max(100).optional(),
  })
  .refine((spec) => Object.keys(spec).length > 1, "say what: `systemPrompt` or `tools`");

const capability = z
  .string()
  .regex(/^CAP_[A-Z_]{2,40}$/, "use the kernel's name, such as CAP_NET_BIND_SERVICE");

const runtime = z
  .strictObject({
    kind: z.literal("runtime"),
    /** Capabilities that it may have at most; an empty list means none. */
    capabilities: z.array(capability).max(64).optional(),
    /** It can gain no rights by starting other programs. */
    noNewPrivileges: z.literal(true).optional(),
    /** System calls are filtered. */
    seccomp: z.literal(true).optional(),
    /** The root of its file system cannot be written. */
    readOnlyRoot: z.literal(true).optional(),
    /** Namespaces that it must not share with this server. */
    ownNamespaces: z
      .array(z.enum(["network", "pid", "mount", "user", "ipc", "uts"]))
      .min(1)
      .max(6)
      .optional(),
    /** Most memory that its control group may take. */
    maxMemoryBytes: z
      .int()
      .min(1_048_576)
      .max(2 ** 50)
      .optional(),
    /** Most processes that its control group may have. */
    maxProcesses: z.int().min(1).max(4_194_304).optional(),
  })
  .refine((spec) => Object.keys(spec).length > 1, "say how, such as `noNewPrivileges: true`");

/** What somebody who looked must have said. */
const postureFact = z
  .strictObject({
    name: postureFactName,
    equals: z.union([z.boolean(), z.number().min(-1e15).max(1e15), z.string().max(200)]).optional(),
    min: bound.optional(),
    max: bound.optional(),
  })
  .refine(
    ({ equals, min, max }) => (equals === undefined) !== (min === undefined && max === undefined),
    "say one thing of it: `equals`, or `min` and `max`",
  );

const posture = z.strictObject({
  kind: z.literal("posture"),
  /** Each must be known to be so. */
  facts: z.array(postureFact).min(1).max(50),
  /** Whose word counts; everybody's where absent. */
  sources: z.array(z.string().min(1).max(63)).min(1).max(50).optional(),
  /** Seconds since it was seen, at most, whatever its source says of how long it holds. */
  maxAge: z
    .int()
    .min(1)
    .max(7 * 86_400)
    .optional(),
});

/** The kinds that are there; which of them a condition is, is said in `spec.kind`. */
export const accessConditionSpec = z.discriminatedUnion("kind", [
  time,
  region,
  attested,
  delegation,
  request,
  configuration,
  runtime,
  posture,
]);

export type AccessConditionSpec = z.infer<typeof accessConditionSpec>;
export type ConditionKindName = AccessConditionSpec["kind"];
export type ConditionSpecOf<K extends ConditionKindName> = Extract<AccessConditionSpec, { kind: K }>;
