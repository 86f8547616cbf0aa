// SPDX-License-Identifier: Apache-2.0
/** The stories of Kubernetes: the API server is asked about each pod, or its keys are all there is. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Kubernetes,
  KUBERNETES_ISSUER,
  type StandInPod,
  startKubernetes,
  type TestAuthority,
} from "@postern/testkit";
import { AUDIENCE, type Break, breaks, NOWHERE, reach, type Story } from "./story.ts";
import { claimsOf, tokenBreaks } from "./token-breaks.ts";

interface Clusters {
  readonly cluster: Kubernetes;
  /** Another one whose issuer has the same name, as every cluster's has that nobody has told otherwise. */
  readonly twin: Kubernetes;
  readonly pod: StandInPod;
  close(): Promise<unknown>;
}

async function startClusters(authority: TestAuthority): Promise<Clusters> {
  const [cluster, twin] = [await startKubernetes(authority), await startKubernetes(authority)];
  const close = () => Promise.all([cluster.close(), twin.close()]);
  return { cluster, twin, pod: cluster.addPod("support-0"), close };
}

/** By asking for each token (TokenReview), and for the pod. */
export async function reviewedPod(authority: TestAuthority, folder: string): Promise<Story> {
  const clusters = await startClusters(authority);
  const { cluster, pod } = clusters;
  const tokenFile = join(folder, "own-token");
  writeFileSync(tokenFile, cluster.ownToken, { mode: 0o600 });
  const server = { url: KUBERNETES_ISSUER, tokenFile, ...reach(authority, cluster.port) };
  const good = (): string => cluster.tokenOf(pod, AUDIENCE);
  return {
    spec: { kind: "kubernetes", issuer: KUBERNETES_ISSUER, audience: AUDIENCE, apiServer: server },
    down: { apiServer: { ...server, ...NOWHERE } },
    selectors: ["kubernetes:namespace=agents", "kubernetes:pod-label=app=support"],
    path: ["{kubernetes.namespace}/{kubernetes.pod-name}", "agents/support-0"],
    evidence: good,
    breaks: [
      ...claimBreaks(clusters),
      ...podBreaks(cluster),
      ...reviewBreaks(cluster, good),
      ...tokenBreaks(cluster, good),
    ],
    close: () => clusters.close(),
  };
}

/** By the keys that the cluster publishes: nothing is known of what became of the pod since. */
export async function signedPod(authority: TestAuthority): Promise<Story> {
  const clusters = await startClusters(authority);
  const { cluster, pod } = clusters;
  const good = (): string => cluster.tokenOf(pod, AUDIENCE);
  return {
    spec: { kind: "kubernetes", issuer: KUBERNETES_ISSUER, audience: AUDIENCE, jwks: cluster.keySet() },
    selectors: ["kubernetes:namespace=agents", "kubernetes:service-account=support"],
    path: ["by-keys/{kubernetes.service-account}", "by-keys/support"],
    evidence: good,
    breaks: [...claimBreaks(clusters), ...tokenBreaks(cluster, good)],
    close: () => clusters.close(),
  };
}

/** What the token says of itself. */
function claimBreaks({ cluster, pod, twin }: Clusters): Break[] {
  const bound = claimsOf(cluster.tokenOf(pod, AUDIENCE))["kubernetes.io"] as object;
  const token = (change: object) => () => cluster.tokenOf(pod, AUDIENCE, change);
  const within = (change: object) => token({ "kubernetes.io": { ...bound, ...change } });
  const { uid } = pod;
  return breaks([
    [
      "of another cluster whose issuer has the same name",
      () => twin.tokenOf(twin.addPod("support-0"), AUDIENCE),
      "token_key_unknown",
    ],
    ["made for the API server", () => cluster.tokenOf(pod, KUBERNETES_ISSUER), "token_audience_wrong"],
    ["made for the API server, too", token({ aud: [AUDIENCE, KUBERNETES_ISSUER] }), "token_audience_wrong"],
    ["of a secret of the old kind, without an end", token({ exp: undefined }), "token_time_missing"],
    ["of no pod", within({ pod: undefined }), "pod_missing"],
    ["whose pod is a path", within({ pod: { name: "../../secrets", uid } }), "names_malformed"],
    ["whose namespace is a query", within({ namespace: "agents?watch=1" }), "names_malformed"],
    [
      "whose subject is another service account",
      token({ sub: "system:serviceaccount:agents:admin" }),
      "subject_inconsistent",
    ],
  ]);
}

/** What became of the pod. */
function podBreaks(cluster: Kubernetes): Break[] {
  let count = 0;
  const odd = (part: string, change: object) => () => {
    const pod = cluster.addPod(`odd-${++count}`);
    Object.assign(pod.object[part]!, change);
    return cluster.tokenOf(pod, AUDIENCE);
  };
  const gone = (comesBack: boolean) => () => {
    const pod = cluster.addPod("gone");
    const token = cluster.tokenOf(pod, AUDIENCE);
    cluster.deletePod(pod);
    if (comesBack) cluster.addPod("gone");
    return token;
  };
  const foreign = () => cluster.tokenOf(cluster.addPod("support-0", { namespace: "others" }), AUDIENCE);
  return breaks([
    ["of a pod that was deleted", gone(false), "token_review_denied"],
    ["of a pod whose name another one has now", gone(true), "token_review_denied"],
    ["of a pod that has ended", odd("status", { phase: "Succeeded" }), "pod_not_running"],
    ["of a pod that is being deleted", odd("metadata", { deletionTimestamp: new Date() }), "pod_ends"],
    ["of a pod that is on another node", odd("spec", { nodeName: "node-2" }), "node_changed"],
    [
      "of a pod that has another service account",
      odd("spec", { serviceAccountName: "admin" }),
      "service_account_changed",
    ],
    ["of a pod without the label", odd("metadata", { labels: { app: "other" } }), "no_agent_matches"],
    ["of the same pod in another namespace", foreign, "no_agent_matches"],
  ]);
}

/** What an API server that is old, or that lies, says to the question. */
function reviewBreaks(cluster: Kubernetes, good: () => string): Break[] {
  const reviewed = (
    name: string,
    change: (status: Record<string, unknown>) => unknown,
    reason: string,
  ): Break => ({
    ...{ name, reason },
    evidence: () => (cluster.setReview((status) => void change(status)), good()),
    after: () => cluster.setReview(undefined),
  });
  return [
    reviewed(
      "that was reviewed for nobody, as old API servers do",
      (status) => delete status["audiences"],
      "token_review_audience_wrong",
    ),
    reviewed(
      "that was reviewed for the API server",
      (status) => (status["audiences"] = [KUBERNETES_ISSUER]),
      "token_review_audience_wrong",
    ),
    reviewed(
      "that is authenticated in words only",
      (status) => (status["authenticated"] = "true"),
      "token_review_denied",
    ),
    reviewed(
      "that is somebody else's to the API server",
      (status) => Object.assign(status["user"] as object, { username: "system:serviceaccount:agents:admin" }),
      "token_review_of_another",
    ),
    reviewed(
      "that is of no pod to the API server",
      (status) => Object.assign(status["user"] as object, { extra: {} }),
      "token_review_of_another",
    ),
  ];
}
