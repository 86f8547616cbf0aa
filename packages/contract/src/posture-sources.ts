// SPDX-License-Identifier: Apache-2.0
/** What may stand in `spec` of a PostureSource: who is asked how workloads and machines are, where, and how often. */
import { z } from "zod";
import { LONGEST_POSTURE } from "./posture.ts";
import { reach } from "./reach.ts";

const url = z
  .string()
  .max(500)
  .regex(
    /^https:\/\/[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9]\d{0,4})?(\/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*\/?$/,
    "use https://host/path with a lower-case host, without user, query or fragment",
  );

const secret = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "use the name of a secret");

const common = {
  /** Seconds between two questions. */
  every: z.int().min(30).max(86_400).default(300),
  /** Seconds for which an answer holds from when it was seen. */
  validFor: z.int().min(60).max(LONGEST_POSTURE).default(900),
  ...reach,
};

/** About whom an entry is: a selector with `{member}` for members of the entry. */
const subject = z
  .string()
  .max(500)
  .regex(
    /^[a-z0-9-]+:[a-z0-9-]+=[^{}]*(\{[A-Za-z0-9_]{1,64}\}[^{}]*)+$/,
    "write a selector with a member of the entry in it, such as spiffe:id=spiffe://corp/instances/{instance_id}",
  );

const client = { clientId: z.string().min(1).max(200), secret, subject };

export const postureSourceSpec = z.discriminatedUnion("kind", [
  /** Answers with reports as `PUT /v1/posture` takes them. */
  z.strictObject({ kind: z.literal("report"), url, secret: secret.optional(), ...common }),
  /** The Falcon API. */
  z.strictObject({
    kind: z.literal("crowdstrike"),
    url: url.default("https://api.crowdstrike.com"),
    ...client,
    /** In Falcon Query Language: which hosts. */
    filter: z.string().min(1).max(1000).optional(),
    ...common,
  }),
  z.strictObject({
    kind: z.literal("wiz"),
    /** Of its GraphQL API. */
    url,
    tokenUrl: url.default("https://auth.app.wiz.io/oauth/token"),
    ...client,
    /** Types of cloud resources. */
    types: z
      .array(z.string().regex(/^[A-Z][A-Z0-9_]{0,63}$/))
      .min(1)
      .max(20)
      .default(["VIRTUAL_MACHINE"]),
    ...common,
  }),
]);

export type PostureSourceSpec = z.infer<typeof postureSourceSpec>;
