// SPDX-License-Identifier: Apache-2.0
/** Everything that tests and the demo use to run the real product against stand-ins of the real services. */
export * from "./canary.ts";
export * from "./child-process.ts";
export * from "./outside-data.ts";
export * from "./leak-search.ts";
export * from "./postgres-server.ts";
export * from "./redis-server.ts";
export * from "./stand-in-resources.ts";
export * from "./scrape-metrics.ts";
export * from "./start-postern.ts";
export * from "./start-stand-ins.ts";
export * from "./test-authority.ts";
export * from "./stand-in/anthropic.ts";
export { findCredentials, type CarriedCredential } from "./stand-in/credential-carriers.ts";
export * from "./stand-in/gemini.ts";
export * from "./stand-in/git.ts";
export { hostileModel, MISBEHAVIOURS, type Misbehaviour } from "./stand-in/misbehaviour.ts";
export { OPENAI_MODELS, startOpenAiStandIn } from "./stand-in/openai.ts";
export * from "./stand-in/otlp-collector.ts";
export * from "./stand-in/token-issuer.ts";
export * from "./stand-in/kubernetes.ts";
export * from "./stand-in/oci-registry.ts";
export * from "./stand-in/sigstore.ts";
export * from "./stand-in/signed-images.ts";
export * from "./stand-in/aws-sts.ts";
export * from "./stand-in/trust-domain.ts";
export type { ReceivedRequest, StandIn, StandInOptions, StreamRecord } from "./stand-in/tls-stand-in.ts";
