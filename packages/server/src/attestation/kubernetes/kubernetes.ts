// SPDX-License-Identifier: Apache-2.0
/**
 * Kubernetes: the projected service-account token of a pod, made for our audience.
 *
 * A signature does not tell that the pod has been deleted since: with `apiServer` the cluster is asked each time. The
 * signature is checked here first all the same, so that strangers cannot make us ask the cluster.
 */
import type { ResourceOf } from "@postern/contract";
import { parseKeySet } from "@postern/identity/jwt/key-set";
import type { Claims } from "@postern/identity/jwt/verify-jwt";
import { claimText } from "../token/read-claims.ts";
import type { TokenKind } from "../token/token-kind.ts";
import { ApiServer } from "./api-server.ts";
import { confirmPod } from "./confirm-pod.ts";

type Spec = Extract<ResourceOf<"TrustProvider">["spec"], { kind: "kubernetes" }>;

/** What a token says of the pod that it was made for; all of it is there. */
export interface BoundPod {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly serviceAccountUid: string;
  readonly podName: string;
  readonly podUid: string;
  readonly nodeName: string | undefined;
  readonly nodeUid: string | undefined;
}

export function kubernetes({ apiServer, audience, issuer, jwks }: Spec): TokenKind {
  const api = apiServer === undefined ? undefined : new ApiServer(apiServer);
  return {
    issuer,
    algorithms: ["RS256", "ES256", "ES384"],
    // Projected tokens live an hour unless the pod asks for something else.
    longestLife: 86_400,
    // The kubelet writes a token to a file, and the pod presents it until there is a new one.
    singleUse: false,
    readKeys: api?.readKeys ?? (jwks === undefined ? undefined : async () => parseKeySet(Buffer.from(jwks))),
    demand: (claims) => {
      const pod = boundPod(claims);
      return typeof pod === "string" ? pod : undefined;
    },
    facts: (claims) => {
      const pod = boundPod(claims);
      return typeof pod === "string" ? {} : factsOf(pod);
    },
    ...(api === undefined
      ? {}
      : {
          confirm: (token, claims, signal) =>
            confirmPod({ api, audience, token, pod: boundPod(claims) as BoundPod }, signal),
        }),
  };
}

/** RFC 1123 names: what they are put into, such as a path, they cannot change. */
const NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const UID = /^[0-9A-Za-z-]{1,64}$/;

/** Why a token is not bound to one pod, as one word, or the pod. */
function boundPod(claims: Claims): BoundPod | string {
  const at = (path: string): string | undefined => claimText(claims, `/kubernetes.io/${path}`);
  const [namespace = "", serviceAccount = ""] = [at("namespace"), at("serviceaccount/name")];
  const [serviceAccountUid = "", podName, podUid] = [at("serviceaccount/uid"), at("pod/name"), at("pod/uid")];
  // A token of no pod outlives whatever it was made for.
  if (podName === undefined || podUid === undefined) return "pod_missing";
  if (![namespace, serviceAccount, podName].every((name) => NAME.test(name))) return "names_malformed";
  if (![serviceAccountUid, podUid].every((uid) => UID.test(uid))) return "uids_malformed";
  if (claimText(claims, "sub") !== `system:serviceaccount:${namespace}:${serviceAccount}`)
    return "subject_inconsistent";
  const node = { nodeName: at("node/name"), nodeUid: at("node/uid") };
  return { namespace, serviceAccount, serviceAccountUid, podName, podUid, ...node };
}

const factsOf = (pod: BoundPod) => ({
  namespace: pod.namespace,
  "service-account": pod.serviceAccount,
  "service-account-uid": pod.serviceAccountUid,
  "pod-name": pod.podName,
  "pod-uid": pod.podUid,
  "node-name": pod.nodeName,
  "node-uid": pod.nodeUid,
});
