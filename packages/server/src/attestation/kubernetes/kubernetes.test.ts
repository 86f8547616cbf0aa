// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TrustProviderSpec } from "@postern/contract";
import { createTestAuthority, KUBERNETES_ISSUER, startKubernetes, startTokenIssuer } from "@postern/testkit";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { attestBy } from "../attest-spec.fixture.ts";

type Spec = Extract<TrustProviderSpec, { kind: "kubernetes" }>;

const authority = await createTestAuthority();
const cluster = await startKubernetes(authority);
const folder = mkdtempSync(join(tmpdir(), "postern-kubernetes-"));
const tokenFile = join(folder, "token");
writeFileSync(tokenFile, `${cluster.ownToken}\n`);
afterEach(() => {
  cluster.setFault(undefined);
  cluster.setReview(undefined);
});
afterAll(async () => {
  await cluster.close();
  rmSync(folder, { recursive: true });
});

const reach = {
  allowedNetworks: ["127.0.0.1/32"],
  caCertificates: authority.certificate,
  connectTo: { address: "127.0.0.1", port: cluster.port },
};
const plain: Spec = { kind: "kubernetes", issuer: KUBERNETES_ISSUER, audience: "postern" };
const local: Spec = { ...plain, jwks: cluster.keySet() };
const asking: Spec = { ...plain, apiServer: { url: KUBERNETES_ISSUER, tokenFile, ...reach } };
const byKeys = attestBy(local);
const byReview = attestBy(asking);
const pod = cluster.addPod("support-7d4b9c-x2x1z");
const uidOf = (selectors: string | string[], name: string) =>
  [selectors].flat().find((selector) => selector.startsWith(`kubernetes:${name}=`));
const bound = (change: object) => ({
  "kubernetes.io": {
    namespace: "agents",
    pod: { name: pod.name, uid: pod.uid },
    serviceaccount: { name: "support", uid: "6d5e" },
    ...change,
  },
});

describe("a service-account token", () => {
  test.each<[string, object, string]>([
    ["for the API server", { aud: [KUBERNETES_ISSUER] }, "token_audience_wrong"],
    ["for the API server and for us", { aud: ["postern", KUBERNETES_ISSUER] }, "token_audience_wrong"],
    ["of another cluster", { iss: "https://oidc.eks.eu-west-1.amazonaws.com/id/A" }, "token_issuer_wrong"],
    ["without end, as old secrets hold them", { exp: undefined }, "token_time_missing"],
    ["of no pod", bound({ pod: undefined }), "pod_missing"],
    ["of a pod without UID", bound({ pod: { name: pod.name } }), "pod_missing"],
    [
      "whose subject is another service account",
      { sub: "system:serviceaccount:agents:admin" },
      "subject_inconsistent",
    ],
    [
      "whose subject is in another namespace",
      { sub: "system:serviceaccount:kube-system:support" },
      "subject_inconsistent",
    ],
    ["of a user", { sub: "admin" }, "subject_inconsistent"],
    ["whose pod is a path", bound({ pod: { name: "../../secrets", uid: "u" } }), "names_malformed"],
    ["whose namespace is a query", bound({ namespace: "a?watch=1" }), "names_malformed"],
    ["without any of it", { "kubernetes.io": undefined }, "pod_missing"],
  ])("%s is refused, and the cluster is not asked", async (_, change, reason) => {
    const token = cluster.tokenOf(pod, "postern", change);
    await byReview(cluster.tokenOf(pod, "postern"));
    const before = cluster.requests.length;
    expect([await byKeys(token), await byReview(token)]).toEqual([reason, reason]);
    expect(cluster.requests).toHaveLength(before);
  });

  test("signed by another cluster with the same issuer is refused: clusters often share its default", async () => {
    const other = await startTokenIssuer({ authority, issuer: KUBERNETES_ISSUER });
    const forged = other.sign({
      aud: ["postern"],
      sub: "system:serviceaccount:agents:support",
      ...bound({}),
    });
    expect(await byKeys(forged)).toBe("token_key_unknown");
    await other.close();
  });

  test("proves namespace, service account, pod and node by its signature alone", async () => {
    const selectors = await byKeys(cluster.tokenOf(pod, "postern"));
    expect(selectors).toEqual([
      "kubernetes:namespace=agents",
      "kubernetes:node-name=node-1",
      "kubernetes:node-uid=646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1",
      "kubernetes:pod-name=support-7d4b9c-x2x1z",
      `kubernetes:pod-uid=${pod.uid}`,
      uidOf(selectors, "service-account-uid"),
      "kubernetes:service-account=support",
    ]);
  });

  test("proves labels, owner and images, by digest, where the API server is asked", async () => {
    const digest = `sha256:${"4e1c".repeat(16)}`;
    expect(await byReview(cluster.tokenOf(pod, "postern"))).toEqual(
      expect.arrayContaining([
        "kubernetes:service-account=support",
        "kubernetes:pod-label=app=support",
        "kubernetes:pod-label=pod-template-hash=7d4b9c",
        "kubernetes:pod-owner=ReplicaSet/support-7d4b9c",
        "kubernetes:pod-owner-uid=0c3c2b6d-6f6f-4d5e-9a51-2f4a2f3f9f11",
        `kubernetes:pod-image=registry.example/agent@${digest}`,
        `kubernetes:pod-image-digest=${digest}`,
        "kubernetes:pod-image-count=1",
        "kubernetes:pod-privileged=false",
        "kubernetes:pod-read-only-root=false",
      ]),
    );
  });
});

describe("a pod", () => {
  test("that was deleted is refused while its token still has its signature and its time", async () => {
    const gone = cluster.addPod("gone");
    const token = cluster.tokenOf(gone, "postern");
    expect(await byReview(token)).toBeInstanceOf(Array);
    cluster.deletePod(gone);
    expect(await byReview(token)).toBe("token_review_denied");
  });

  test("of the same name and another UID is another pod", async () => {
    const first = cluster.addPod("twin");
    const token = cluster.tokenOf(first, "postern");
    cluster.deletePod(first);
    cluster.addPod("twin");
    expect(await byReview(token)).toBe("token_review_denied");
    // Also where the review is taken in by the name.
    const { name: podName, uid: podUid } = first;
    cluster.setReview((status) => {
      const authenticated = {
        "authentication.kubernetes.io/pod-name": [podName],
        "authentication.kubernetes.io/pod-uid": [podUid],
      };
      const claims = JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString()) as {
        "kubernetes.io": { serviceaccount: { uid: string } };
      };
      const user = {
        username: "system:serviceaccount:agents:support",
        uid: claims["kubernetes.io"].serviceaccount.uid,
        extra: authenticated,
      };
      Object.assign(status, { authenticated: true, audiences: ["postern"], user });
    });
    expect(await byReview(token)).toBe("pod_replaced");
  });

  test.each<[string, string, Record<string, unknown>, string]>([
    ["that has ended", "status", { phase: "Succeeded" }, "pod_not_running"],
    ["that has not started", "status", { phase: "Pending" }, "pod_not_running"],
    ["that is being deleted", "metadata", { deletionTimestamp: "2026-11-21T08:00:00Z" }, "pod_ends"],
    ["of another service account", "spec", { serviceAccountName: "admin" }, "service_account_changed"],
    ["on another node", "spec", { nodeName: "node-2" }, "node_changed"],
  ])("%s is refused", async (_, part, change, reason) => {
    const other = cluster.addPod("odd");
    Object.assign(other.object[part]!, change);
    expect(await byReview(cluster.tokenOf(other, "postern"))).toBe(reason);
  });

  test("proves no image by its tag, and counts the containers that could hold the token", async () => {
    const other = cluster.addPod("tagged");
    Object.assign(other.object["status"]!, {
      containerStatuses: [{ name: "agent", image: "agent:latest", imageID: "agent:latest" }],
    });
    Object.assign(other.object["spec"]!, { ephemeralContainers: [{ name: "debugger", image: "busybox" }] });
    const selectors = String(await byReview(cluster.tokenOf(other, "postern")));
    expect(selectors).not.toContain("pod-image=");
    expect(selectors).not.toContain("latest");
    expect(selectors).toContain("kubernetes:pod-image-count=2");
  });

  test("cannot make a label that reads as another one", async () => {
    const other = cluster.addPod("labelled");
    Object.assign(other.object["metadata"]!, { labels: { "app=admin": "x", app: ["admin"], role: "a" } });
    const selectors = [await byReview(cluster.tokenOf(other, "postern"))].flat();
    expect(selectors.filter((selector) => selector.includes("pod-label"))).toEqual([
      "kubernetes:pod-label=role=a",
    ]);
  });
});

describe("an API server", () => {
  test.each<[string, (status: Record<string, unknown>) => void, string]>([
    [
      "that does not know audiences",
      (status) => void delete status["audiences"],
      "token_review_audience_wrong",
    ],
    [
      "that reviewed for itself",
      (status) => void (status["audiences"] = [KUBERNETES_ISSUER]),
      "token_review_audience_wrong",
    ],
    ["that says yes in words", (status) => void (status["authenticated"] = "true"), "token_review_denied"],
    [
      "that means somebody else",
      (status) => Object.assign(status["user"]!, { username: "system:serviceaccount:a:b" }),
      "token_review_of_another",
    ],
    [
      "that means another service account of that name",
      (status) => Object.assign(status["user"]!, { uid: "u" }),
      "token_review_of_another",
    ],
    [
      "that names no pod",
      (status) => Object.assign(status["user"]!, { extra: {} }),
      "token_review_of_another",
    ],
  ])("%s lets nobody in", async (_, change, reason) => {
    cluster.setReview(change);
    expect(await byReview(cluster.tokenOf(pod, "postern"))).toBe(reason);
  });

  test("that is down lets nobody in, though the keys are known", async () => {
    const token = cluster.tokenOf(pod, "postern");
    expect(await byReview(token)).toBeInstanceOf(Array);
    cluster.setFault("error");
    expect(await byReview(token)).toBe("api_server_status_503");
    cluster.setFault("redirect");
    expect(await byReview(token)).toBe("authority_redirects");
    cluster.setFault("no-json");
    expect(await byReview(token)).toBe("authority_answer_malformed");
  });

  test("that does not take Postern's own token is unavailable, and so is a token that cannot be read", async () => {
    const token = cluster.tokenOf(pod, "postern");
    const wrong = join(folder, "wrong");
    writeFileSync(wrong, "somebody-else");
    const by = (file: string) =>
      attestBy({ ...asking, apiServer: { ...asking.apiServer!, tokenFile: file } })(token);
    expect(await by(wrong)).toBe("authority_status_401");
    expect(await by(join(folder, "missing"))).toBe("own_token_unreadable");
    writeFileSync(wrong, "two\nlines");
    expect(await by(wrong)).toBe("own_token_malformed");
  });

  test("is asked anew each time, with the token that is in the file then", async () => {
    const token = cluster.tokenOf(pod, "postern");
    writeFileSync(tokenFile, "rotated-away");
    expect(await byReview(token)).toBe("api_server_status_401");
    writeFileSync(tokenFile, cluster.ownToken);
    expect(await byReview(token)).toBeInstanceOf(Array);
  });
});
