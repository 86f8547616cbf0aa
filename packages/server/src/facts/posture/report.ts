// SPDX-License-Identifier: Apache-2.0
/** What does a source say that speaks Postern's own format? `{"reports": […]}`, each as `PUT /v1/posture` takes it, without `source`. */
import { type PostureSourceSpec, postureReportSchema } from "@postern/contract";
import { ok, refuse } from "../../kernel/result.ts";
import type { Secret } from "../../kernel/secret.ts";
import { listOf, MOST_SEEN, objectOf, type PostureReader, unambiguous } from "./posture-reader.ts";

type Spec = Extract<PostureSourceSpec, { kind: "report" }>;

const entry = postureReportSchema.omit({ source: true });

export const report =
  (spec: Spec, secret: Secret | undefined): PostureReader =>
  async (ask, now) => {
    const authorization =
      secret === undefined ? {} : { authorization: `Bearer ${secret.expose("connect").toString("latin1")}` };
    const headers = { accept: "application/json", ...authorization };
    const answer = await ask({ url: new URL(spec.url), method: "GET", headers });
    if (!answer.ok) return answer;
    const { reports } = objectOf(answer.value);
    if (!Array.isArray(reports)) return refuse("answer_malformed");
    if (reports.length > MOST_SEEN) return refuse("answer_of_too_many");
    const parsed = listOf(reports).map((each) => entry.safeParse(each));
    // Half of what somebody says is not what they say.
    if (parsed.some(({ success }) => !success)) return refuse("answer_malformed");
    return ok(
      unambiguous(
        parsed.map(({ data }) => ({
          ...{ subject: data!.subject, facts: data!.facts, validFor: data!.validFor },
          observedAt: data!.observedAt === undefined ? now : Date.parse(data!.observedAt),
        })),
      ),
    );
  };
