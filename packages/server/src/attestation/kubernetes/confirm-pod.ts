// SPDX-License-Identifier: Apache-2.0
/**
 * Is the pod that a token was made for still there, and what is it? Two questions to the API server.
 *
 * TokenReview first, which knows deleted pods and service accounts; then the pod itself, of the same UID: a name may be
 * somebody else's by now.
 */
import { isJsonObject, memberOf } from "@postern/identity/jwt/strict-json";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { AttestRefusal } from "../trust-provider.ts";
import { claimText } from "../token/read-claims.ts";
import type { ApiServer } from "./api-server.ts";
import type { BoundPod } from "./kubernetes.ts";
import type { Confirmed } from "../token/token-provider.ts";
import { podConfinement } from "./pod-confinement.ts";
import { podFacts, podImages } from "./pod-facts.ts";

interface Question {
  readonly api: ApiServer;
  readonly audience: string;
  readonly token: string;
  readonly pod: BoundPod;
}

type Json = Readonly<Record<string, unknown>>;

const refused = (reason: string): { ok: false; reason: AttestRefusal } =>
  refuse({ outcome: "refused", reason });
const unavailable = (reason: string): { ok: false; reason: AttestRefusal } =>
  refuse({ outcome: "unavailable", reason });

export async function confirmPod(
  question: Question,
  signal: AbortSignal,
): Promise<Result<Confirmed, AttestRefusal>> {
  const reviewed = await reviewToken(question, signal);
  if (!reviewed.ok) return reviewed;
  const { api, pod } = question;
  const answer = await api.get(`/api/v1/namespaces/${pod.namespace}/pods/${pod.podName}`, signal);
  if (!answer.ok) return unavailable(answer.reason);
  const { object, status } = answer.value;
  if (status === 404) return refused("pod_gone");
  if (status !== 200 || object["kind"] !== "Pod") return unavailable(`api_server_status_${status}`);
  const problem = podProblem(object, pod);
  return problem === undefined
    ? ok({ facts: { ...podFacts(object), ...podConfinement(object) }, images: podImages(object) })
    : refused(problem);
}

async function reviewToken(
  { api, audience, pod, token }: Question,
  signal: AbortSignal,
): Promise<Result<undefined, AttestRefusal>> {
  const review = {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenReview",
    spec: { token, audiences: [audience] },
  };
  const answer = await api.post("/apis/authentication.k8s.io/v1/tokenreviews", review, signal);
  if (!answer.ok) return unavailable(answer.reason);
  const { object, status: code } = answer.value;
  const status = memberOf(object, "status");
  if ((code !== 201 && code !== 200) || object["kind"] !== "TokenReview" || !isJsonObject(status))
    return unavailable(`api_server_status_${code}`);
  // Its own words are left out: they may repeat the token.
  if (status["authenticated"] !== true) return refused("token_review_denied");
  // API servers that do not know the field review for their own audience, and say nothing about ours.
  const audiences = status["audiences"];
  if (!Array.isArray(audiences) || !audiences.includes(audience))
    return refused("token_review_audience_wrong");
  return reviewedSame(status, pod) ? ok(undefined) : refused("token_review_of_another");
}

/** What the API server read from the token is what we read from it. */
function reviewedSame(status: Json, pod: BoundPod): boolean {
  const extra = (name: string): unknown => {
    const user = status["user"];
    const all = isJsonObject(user) ? memberOf(user, "extra") : undefined;
    const values = isJsonObject(all) ? memberOf(all, `authentication.kubernetes.io/${name}`) : undefined;
    return Array.isArray(values) && values.length === 1 ? values[0] : undefined;
  };
  return (
    claimText(status, "/user/username") === `system:serviceaccount:${pod.namespace}:${pod.serviceAccount}` &&
    claimText(status, "/user/uid") === pod.serviceAccountUid &&
    extra("pod-name") === pod.podName &&
    extra("pod-uid") === pod.podUid
  );
}

function podProblem(object: Json, pod: BoundPod): string | undefined {
  if (claimText(object, "/metadata/uid") !== pod.podUid) return "pod_replaced";
  if (claimText(object, "/metadata/deletionTimestamp") !== undefined) return "pod_ends";
  if (claimText(object, "/status/phase") !== "Running") return "pod_not_running";
  if (claimText(object, "/spec/serviceAccountName") !== pod.serviceAccount) return "service_account_changed";
  if (pod.nodeName !== undefined && claimText(object, "/spec/nodeName") !== pod.nodeName)
    return "node_changed";
  return undefined;
}
