// SPDX-License-Identifier: Apache-2.0
/**
 * A Kubernetes API server as far as workloads are attested by it: its keys, TokenReview and pods, in the real wire format
 * (authentication.k8s.io/v1, core/v1), with authentication of whoever asks.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { startTokenIssuer, type StandInAnswer, type TokenIssuer } from "./token-issuer.ts";
import type { TestAuthority } from "../test-authority.ts";

export interface StandInPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly serviceAccount: string;
  /** The object that `GET` answers; a test may change it. */
  readonly object: Record<string, Record<string, unknown>>;
}

export interface Kubernetes extends TokenIssuer {
  /** What Postern must present as its own token. */
  readonly ownToken: string;
  /** `image` is what its one container runs, as the kubelet says it. */
  addPod(name: string, more?: { namespace?: string; serviceAccount?: string; image?: string }): StandInPod;
  deletePod(pod: StandInPod): void;
  /** The projected token of a pod, as the kubelet gets it. */
  tokenOf(pod: StandInPod, audience: string, change?: object): string;
  /** Changes the answer to a TokenReview, as an old or a lying API server does. */
  setReview(change: ((status: Record<string, unknown>) => void) | undefined): void;
}

export const KUBERNETES_ISSUER = "https://kubernetes.default.svc.cluster.local";
const NODE = { name: "node-1", uid: "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1" };
const IMAGE = `registry.example/agent@sha256:${"4e1c".repeat(16)}`;

export async function startKubernetes(authority: TestAuthority): Promise<Kubernetes> {
  const pods = new Map<string, StandInPod>();
  const ownToken = `own.${randomUUID()}`;
  const accounts = new Map<string, string>();
  let changeReview: ((status: Record<string, unknown>) => void) | undefined;
  const keyOf = ({ name, namespace }: { name: string; namespace: string }) => `${namespace}/${name}`;

  function answer(request: IncomingMessage, body: Buffer): StandInAnswer | undefined {
    const url = request.url ?? "";
    if (url.endsWith("/.well-known/openid-configuration")) return undefined;
    if (request.headers.authorization !== `Bearer ${ownToken}`) return failure(401, "Unauthorized");
    if (request.method === "POST" && url === "/apis/authentication.k8s.io/v1/tokenreviews")
      return { status: 201, body: review(body) };
    const [, namespace, name] = /^\/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)$/.exec(url) ?? [];
    if (namespace === undefined || name === undefined) return undefined;
    const pod = pods.get(keyOf({ namespace, name }));
    return pod === undefined
      ? failure(404, "NotFound")
      : { status: 200, body: { kind: "Pod", apiVersion: "v1", ...pod.object } };
  }

  function review(body: Buffer): unknown {
    const { spec } = JSON.parse(body.toString("utf8")) as { spec: { token: string; audiences: string[] } };
    const status: Record<string, unknown> = reviewed(spec.token, spec.audiences);
    changeReview?.(status);
    return {
      kind: "TokenReview",
      apiVersion: "authentication.k8s.io/v1",
      metadata: { creationTimestamp: null },
      spec,
      status,
    };
  }

  /** As the service-account authenticator does: signature by our own issuer is implied, bound objects are looked up. */
  function reviewed(token: string, audiences: readonly string[]): Record<string, unknown> {
    const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as {
      aud: string[];
      "kubernetes.io": {
        namespace: string;
        pod: { name: string; uid: string };
        serviceaccount: { name: string; uid: string };
      };
    };
    const { namespace, pod, serviceaccount } = claims["kubernetes.io"];
    const meant = claims.aud.filter((audience) => audiences.includes(audience));
    if (meant.length === 0) return { user: {}, error: "[invalid bearer token, token audiences are invalid]" };
    if (pods.get(keyOf({ namespace, name: pod.name }))?.uid !== pod.uid)
      return { user: {}, error: "[invalid bearer token, service account token has been invalidated]" };
    return {
      authenticated: true,
      audiences: meant,
      user: {
        username: `system:serviceaccount:${namespace}:${serviceaccount.name}`,
        uid: serviceaccount.uid,
        groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
        extra: {
          "authentication.kubernetes.io/credential-id": [`JTI=${randomUUID()}`],
          "authentication.kubernetes.io/node-name": [NODE.name],
          "authentication.kubernetes.io/node-uid": [NODE.uid],
          "authentication.kubernetes.io/pod-name": [pod.name],
          "authentication.kubernetes.io/pod-uid": [pod.uid],
        },
      },
    };
  }

  const issuer = await startTokenIssuer({ authority, issuer: KUBERNETES_ISSUER, answer });
  return {
    ...issuer,
    ownToken,
    addPod: (name, { namespace = "agents", serviceAccount = "support", image = IMAGE } = {}) => {
      const uid = randomUUID();
      const pod = {
        namespace,
        name,
        uid,
        serviceAccount,
        object: podObject({ namespace, name, uid, serviceAccount, image }),
      };
      pods.set(keyOf(pod), pod);
      return pod;
    },
    deletePod: (pod) => void pods.delete(keyOf(pod)),
    tokenOf: (pod, audience, change = {}) => {
      const account = `${pod.namespace}/${pod.serviceAccount}`;
      if (!accounts.has(account)) accounts.set(account, randomUUID());
      return issuer.sign({
        aud: [audience],
        nbf: Math.floor(Date.now() / 1000),
        sub: `system:serviceaccount:${pod.namespace}:${pod.serviceAccount}`,
        "kubernetes.io": {
          namespace: pod.namespace,
          node: NODE,
          pod: { name: pod.name, uid: pod.uid },
          serviceaccount: { name: pod.serviceAccount, uid: accounts.get(account) },
          warnafter: Math.floor(Date.now() / 1000) + 3607,
        },
        ...change,
      });
    },
    setReview: (change) => void (changeReview = change),
  };
}

const failure = (code: number, reason: string): StandInAnswer => ({
  status: code,
  body: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", reason, code },
});

function podObject(pod: Omit<StandInPod, "object"> & { image: string }) {
  const { image, name, namespace, serviceAccount, uid } = pod;
  return {
    metadata: {
      name,
      namespace,
      uid,
      labels: { app: "support", "pod-template-hash": "7d4b9c" },
      ownerReferences: [
        {
          apiVersion: "apps/v1",
          kind: "ReplicaSet",
          name: "support-7d4b9c",
          uid: "0c3c2b6d-6f6f-4d5e-9a51-2f4a2f3f9f11",
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: {
      serviceAccountName: serviceAccount,
      nodeName: NODE.name,
      containers: [{ name: "agent", image: "registry.example/agent:latest" }],
    },
    status: {
      phase: "Running",
      containerStatuses: [
        {
          name: "agent",
          image: "registry.example/agent:latest",
          imageID: image,
          state: { running: { startedAt: "2026-11-21T08:00:00Z" } },
          ready: true,
        },
      ],
    },
  };
}
