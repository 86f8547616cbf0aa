// SPDX-License-Identifier: Apache-2.0
/**
 * Takes evidence that somebody presents: attests it, finds its agent, and writes down what came of it before saying so.
 *
 * Whoever presents evidence is told one of three words and no reason: what exactly is wrong would teach how to forge
 * it. The reason is in the log, and in the explanation, which only operators may ask for.
 */
import { createHash } from "node:crypto";
import type { AttestExplanation, AttestRequest, AttestResponse, ResourceOf } from "@postern/contract";
import { type AttestedEvidence, attestEvidence } from "../attestation/attest-evidence.ts";
import { makeTrustProvider } from "../attestation/make-trust-provider.ts";
import { matchAgent } from "../attestation/match-agent.ts";
import type { AttestRefusal, TrustProvider } from "../attestation/trust-provider.ts";
import { attestationEvent } from "../audit/attestation-event.ts";
import type { AuditEvent } from "../audit/event-frame.ts";
import type { PublishedState } from "../governance/control-plane.ts";
import type { Clock } from "../kernel/clock.ts";
import { fillTemplate, parseTemplate } from "@postern/identity/spiffe-id-template";
import { newId } from "../kernel/ids.ts";
import { nearestName } from "../kernel/nearest-name.ts";
import { type Result, ok, refuse } from "../kernel/result.ts";
import type { EvidenceStore } from "../store/evidence-store.ts";
import type { JoinTokenStore } from "../store/join-token-store.ts";

export interface AttestParts {
  readonly clock: Clock;
  readonly evidence: EvidenceStore;
  readonly joinTokens: JoinTokenStore;
  state(): PublishedState;
  /** While nobody can tell whether the state is still right. */
  isStale(): boolean;
  audit(event: AuditEvent): Promise<void>;
}

interface Finding {
  readonly outcome: AttestResponse["outcome"];
  readonly agent?: string;
  readonly explanation: AttestExplanation;
}

export class AttestDesk {
  readonly #parts: AttestParts;
  /** What a provider has learnt, such as an issuer's keys, lasts until its settings change. */
  readonly #providers = new Map<string, { readonly spec: string; readonly provider: TrustProvider }>();

  constructor(parts: AttestParts) {
    this.#parts = parts;
  }

  async attest(request: AttestRequest, operator: { uid: number }): Promise<Result<AttestResponse, string>> {
    const { clock, state } = this.#parts;
    const resource = state().resources.get("TrustProvider", request.provider);
    if (resource === undefined) return refuse(this.#unknown(request.provider));
    const provider = this.#providerOf(resource);
    if (provider === undefined)
      return refuse(
        `evidence of kind ${resource.spec.kind} comes from the kernel; start it with \`postern run\``,
      );
    const bytes = Buffer.from(request.evidence, "base64");
    const finding = await this.#find(resource, provider, bytes);
    const time = clock.now();
    const id = newId(time);
    const { agent, explanation, outcome } = finding;
    await this.#parts.audit(
      attestationEvent({
        ...{ id, time, outcome, agent, operatorUid: operator.uid },
        provider: request.provider,
        providerKind: resource.spec.kind,
        evidenceDigest: createHash("sha256").update(bytes).digest("hex"),
        reason: explanation.reason,
        detail: explanation.detail,
        selectors: explanation.selectors,
        expiresAt: explanation.expiresAt === undefined ? undefined : Date.parse(explanation.expiresAt),
      }),
    );
    return ok({
      ...{ id, outcome },
      ...(agent === undefined || outcome !== "matched" ? {} : { agent }),
      ...(request.explain ? { explanation } : {}),
    });
  }

  #unknown(name: string): string {
    const names = this.#parts.state().resources.all("TrustProvider");
    const nearest = nearestName(
      name,
      names.map(({ metadata }) => metadata.name),
    );
    return `there is no TrustProvider \`${name}\`${nearest === undefined ? "" : `; did you mean \`${nearest}\`?`}`;
  }

  #providerOf({ metadata, spec }: ResourceOf<"TrustProvider">): TrustProvider | undefined {
    const text = JSON.stringify(spec);
    const known = this.#providers.get(metadata.name);
    if (known?.spec === text) return known.provider;
    const provider = makeTrustProvider(spec, this.#parts);
    if (provider !== undefined) this.#providers.set(metadata.name, { spec: text, provider });
    return provider;
  }

  async #find(
    { metadata, spec }: ResourceOf<"TrustProvider">,
    provider: TrustProvider,
    bytes: Buffer,
  ): Promise<Finding> {
    const { clock, evidence } = this.#parts;
    const attested = await attestEvidence(provider, bytes, {
      kind: spec.kind,
      provider: metadata.name,
      clock,
      useOnce: (digest, expiresAt) => evidence.useOnce(digest, expiresAt),
    });
    return attested.ok ? this.#match(metadata.name, attested.value) : refused(attested.reason);
  }

  /** The agents of this provider only: another one could prove the same words about somebody else. */
  #match(provider: string, attested: AttestedEvidence): Finding {
    const { cut, resources } = this.#parts.state();
    if (this.#parts.isStale())
      return refused({ outcome: "unavailable", reason: "control_plane_unavailable" });
    const explanation = {
      attributes: attested.attributes,
      selectors: [...attested.selectors],
      expiresAt: new Date(attested.expiresAt).toISOString(),
    };
    const agents = resources
      .all("Agent")
      .filter(({ spec }) => spec.trustProvider === provider)
      .map(({ metadata, spec }) => ({ ...spec, name: metadata.name }));
    const matched = matchAgent([attested.selectors], agents);
    if (!matched.ok) {
      const { code, ...more } = matched.reason;
      return { outcome: "refused", explanation: { ...explanation, reason: code, ...more } };
    }
    const { expiresAt, name } = matched.value;
    const isOver = expiresAt !== undefined && Date.parse(expiresAt) <= this.#parts.clock.now();
    const reason = cut.has(name) ? "agent_cut" : isOver ? "agent_expired" : undefined;
    if (reason === undefined)
      return withSpiffeId(matched.value, attested.selectors, { agent: name, explanation });
    return { outcome: "refused", agent: name, explanation: { ...explanation, reason, agents: [name] } };
  }
}

/** The ID that the agent's template comes to; a fact that it needs and that was not proved refuses the whole. */
function withSpiffeId(
  { spiffeId }: { readonly spiffeId?: string | undefined },
  selectors: ReadonlySet<string>,
  { agent, explanation }: Pick<Finding, "agent" | "explanation"> & { agent: string },
): Finding {
  if (spiffeId === undefined) return { outcome: "matched", agent, explanation };
  const template = parseTemplate(spiffeId);
  const id = template.ok ? fillTemplate(template.value, selectors) : template;
  if (id.ok) return { outcome: "matched", agent, explanation: { ...explanation, spiffeId: id.value.uri } };
  const why = { reason: "spiffe_id_incomplete", detail: id.reason, agents: [agent] };
  return { outcome: "refused", agent, explanation: { ...explanation, ...why } };
}

const refused = ({ detail, outcome, reason }: AttestRefusal): Finding => ({
  outcome,
  explanation: { reason, attributes: {}, selectors: [], ...(detail === undefined ? {} : { detail }) },
});
