// SPDX-License-Identifier: Apache-2.0
/**
 * Takes evidence that somebody presents: attests it, finds its agent, and writes down what came of it before saying so.
 *
 * Whoever presents evidence is told one of three words and no reason: what exactly is wrong would teach how to forge
 * it. The reason is in the log, and in the explanation, which only operators may ask for.
 */
import { createHash } from "node:crypto";
import type {
  AttestExplanation,
  AttestRequest,
  AttestResponse,
  IssuedIdentity,
  ResourceOf,
  WantedIdentity,
} from "@postern/contract";
import { type AttestedEvidence, attestEvidence } from "../attestation/attest-evidence.ts";
import type { FederatedBundle } from "../attestation/spiffe/spiffe.ts";
import { makeTrustProvider } from "../attestation/make-trust-provider.ts";
import { matchAgent } from "../attestation/match-agent.ts";
import type { AttestRefusal, TrustProvider } from "../attestation/trust-provider.ts";
import { attestationEvent } from "../audit/attestation-event.ts";
import type { AuditEvent } from "../audit/event-frame.ts";
import type { PublishedState } from "../governance/control-plane.ts";
import type { Clock } from "../kernel/clock.ts";
import { readCertificateRequest } from "@postern/identity/certificate-request";
import type { SpiffeId } from "@postern/identity/spiffe-id";
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
  readonly federatedBundle?: FederatedBundle;
  audit(event: AuditEvent): Promise<void>;
  /** Absent where this server issues no identities. */
  readonly identities?: IdentitySource | undefined;
}

export interface IdentitySource {
  /** Resolves when what is handed out is in the log. */
  issueFor(entitled: Entitled, want: WantedIdentity): Promise<IssuedIdentity>;
}

export interface Entitled {
  readonly agent: string;
  readonly id: SpiffeId;
  /** Of the evidence. */
  readonly attestationId: string;
}

/** Who presents: an operator of this machine, or somebody at the gateway's address. */
export type Presenter = { readonly uid: number } | { readonly peer: string };

interface Finding {
  readonly spiffeId?: SpiffeId;
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

  /** For operators, who are told what is wrong with what they asked for. */
  async attest(request: AttestRequest, operator: { uid: number }): Promise<Result<AttestResponse, string>> {
    const resource = this.#parts.state().resources.get("TrustProvider", request.provider);
    if (resource === undefined) return refuse(this.#unknown(request.provider));
    const provider = this.#providerOf(resource);
    if (provider === undefined)
      return refuse(
        `evidence of kind ${resource.spec.kind} comes from the kernel and cannot be presented; ask on the Workload API`,
      );
    if (request.want !== undefined && this.#parts.identities === undefined)
      return refuse("this server issues no identities: start it with `postern up --trust-domain NAME`");
    return ok(await this.#answer(request, operator));
  }

  /** For strangers, who are told one word. */
  attestRemote(request: AttestRequest, peer: string): Promise<AttestResponse> {
    return this.#answer({ ...request, explain: false }, { peer });
  }

  async #answer(request: AttestRequest, presenter: Presenter): Promise<AttestResponse> {
    const { clock, state, identities } = this.#parts;
    const resource = state().resources.get("TrustProvider", request.provider);
    const bytes = Buffer.from(request.evidence, "base64");
    const finding = await this.#find(resource, bytes, request.want);
    const time = clock.now();
    const id = newId(time);
    const { agent, explanation, outcome } = finding;
    await this.#parts.audit(
      attestationEvent({
        ...{ id, time, outcome, agent },
        ...("uid" in presenter ? { operatorUid: presenter.uid } : presenter),
        provider: request.provider,
        providerKind: resource?.spec.kind ?? "unknown",
        evidenceDigest: createHash("sha256").update(bytes).digest("hex"),
        reason: explanation.reason,
        detail: explanation.detail,
        selectors: explanation.selectors,
        expiresAt: explanation.expiresAt === undefined ? undefined : Date.parse(explanation.expiresAt),
      }),
    );
    const more = request.explain ? { explanation } : {};
    if (agent === undefined || outcome !== "matched") return { id, outcome, ...more };
    const { want } = request;
    if (want === undefined || finding.spiffeId === undefined || identities === undefined)
      return { id, outcome, agent, ...more };
    const entitled = { agent, id: finding.spiffeId, attestationId: id };
    return { id, outcome, agent, ...more, identity: await identities.issueFor(entitled, want) };
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
    resource: ResourceOf<"TrustProvider"> | undefined,
    bytes: Buffer,
    want: WantedIdentity | undefined,
  ): Promise<Finding> {
    const { clock, evidence, identities } = this.#parts;
    const provider = resource === undefined ? undefined : this.#providerOf(resource);
    if (resource === undefined || provider === undefined)
      return refused({ outcome: "refused", reason: "provider_unknown" });
    // Before anything of it is used up.
    const problem = want === undefined ? undefined : wantProblem(want, identities !== undefined);
    if (problem !== undefined) return refused({ outcome: "refused", ...problem });
    const { metadata, spec } = resource;
    const attested = await attestEvidence(provider, bytes, {
      kind: spec.kind,
      provider: metadata.name,
      clock,
      useOnce: (digest, expiresAt) => evidence.useOnce(digest, expiresAt),
    });
    if (!attested.ok) return refused(attested.reason);
    if (!this.#isStill(resource)) return refused({ outcome: "unavailable", reason: "provider_changed" });
    const found = this.#match(metadata.name, attested.value);
    if (want === undefined || found.outcome !== "matched" || found.spiffeId !== undefined) return found;
    const explanation = { ...found.explanation, reason: "agent_without_spiffe_id" };
    return { ...found, outcome: "refused", explanation };
  }

  /** Whether evidence was attested by settings that hold: an operator may have changed them meanwhile, because of it. */
  #isStill(resource: ResourceOf<"TrustProvider">): boolean {
    const now = this.#parts.state().resources.get("TrustProvider", resource.metadata.name);
    return now === resource || JSON.stringify(now?.spec) === JSON.stringify(resource.spec);
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
      ...(attested.notes.length === 0 ? {} : { detail: attested.notes.join("; ") }),
    };
    const agents = resources
      .all("Agent")
      .filter(({ spec }) => spec.trustProvider === provider)
      .map(({ metadata, spec }) => ({ ...spec, name: metadata.name }));
    const matched = matchAgent([attested.selectors], agents);
    if (!matched.ok) {
      const { code, ...more } = matched.reason;
      // With what somebody could not be asked about, an agent might have been found.
      const outcome = code === "no_agent_matches" && attested.isIncomplete ? "unavailable" : "refused";
      return { outcome, explanation: { ...explanation, reason: code, ...more } };
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
  if (id.ok) {
    const matched = { outcome: "matched" as const, agent, spiffeId: id.value };
    return { ...matched, explanation: { ...explanation, spiffeId: id.value.uri } };
  }
  const why = { reason: "spiffe_id_incomplete", detail: id.reason, agents: [agent] };
  return { outcome: "refused", agent, explanation: { ...explanation, ...why } };
}

function wantProblem(
  { x509 }: WantedIdentity,
  isIssuing: boolean,
): { readonly reason: string; readonly detail?: string } | undefined {
  if (!isIssuing) return { reason: "no_identities_issued" };
  if (x509?.request === undefined) return undefined;
  const key = readCertificateRequest(Buffer.from(x509.request, "base64"));
  return key.ok ? undefined : { reason: "certificate_request_refused", detail: key.reason };
}

const refused = ({ detail, outcome, reason }: AttestRefusal): Finding => ({
  outcome,
  explanation: { reason, attributes: {}, selectors: [], ...(detail === undefined ? {} : { detail }) },
});
